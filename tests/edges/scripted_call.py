"""A call whose events the test writes and that remembers what the edge asked of it; and `eventually`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from halfbeat.errors import HalfbeatError, InvalidRequest
from halfbeat.v1 import session_pb2
from services.router.edge import CallEvent, EdgeFormat, Ended


class ScriptedCall:
    """Implements `LiveCall`.

    Attributes:
        asked: every method called, in order, as (name, *arguments).
        failures: what a method raises, by its name.
    """

    def __init__(self, sid: str, config: session_pb2.SessionConfig, fmt: EdgeFormat, edge: str) -> None:
        self.sid, self.config, self.fmt, self.edge = sid, config, fmt, edge
        self.asked: list[tuple[Any, ...]] = []
        self.failures: dict[str, HalfbeatError] = {}
        self.audio = b""
        self.played_samples = 0
        self.ended_by: str | None = None
        self._events: asyncio.Queue[CallEvent] = asyncio.Queue()

    def emit(self, *events: CallEvent) -> None:
        """Lets these happen now."""
        for event in events:
            self._events.put_nowait(event)

    async def events(self) -> AsyncIterator[CallEvent]:
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, Ended):
                return

    def receive_audio(self, pcm: bytes) -> None:
        self._ask("receive_audio")
        if len(pcm) % 2:
            raise InvalidRequest(f"audio of {len(pcm)} bytes: one sample is cut in half")
        if len(pcm) > self.fmt.sample_rate_hz * 2 * 10:
            raise InvalidRequest("more than 10 s of audio at once")
        self.audio += pcm

    def played(self, samples: int) -> None:
        self._ask("played", samples)
        self.played_samples = samples

    def send_text(self, text: str) -> None:
        self._ask("send_text", text)

    def add_text(self, text: str) -> None:
        self._ask("add_text", text)

    def commit_input(self) -> None:
        self._ask("commit_input")
        if not self.audio:
            raise InvalidRequest("there is no audio to commit")

    def clear_input(self) -> None:
        self._ask("clear_input")
        self.audio = b""

    def create_response(self, instructions: str = "") -> None:
        self._ask("create_response", instructions)

    def interrupt(self) -> None:
        self._ask("interrupt")

    def truncate(self, turn: int, played_ms: int) -> None:
        self._ask("truncate", turn, played_ms)

    def return_tool(self, call_id: str, output_json: str) -> None:
        self._ask("return_tool", call_id, output_json)

    def update(self, config: session_pb2.SessionConfig, fmt: EdgeFormat) -> None:
        self._ask("update")
        self.config, self.fmt = config, fmt

    def end(self, by: str = "caller") -> None:
        if self.ended_by is None:
            self.ended_by = by
            self.emit(Ended(by))

    def _ask(self, name: str, *arguments: Any) -> None:
        if name in self.failures:
            raise self.failures[name]
        self.asked.append((name, *arguments))

    def did(self, name: str) -> list[tuple[Any, ...]]:
        """Calls of one method."""
        return [asked for asked in self.asked if asked[0] == name]


@dataclass
class ScriptedCalls:
    """Implements `Calls`."""

    calls: list[ScriptedCall] = field(default_factory=list)
    refusal: HalfbeatError | None = None

    async def open(
        self, config: session_pb2.SessionConfig, fmt: EdgeFormat, *, edge: str, sid: str = ""
    ) -> ScriptedCall:
        if self.refusal is not None:
            raise self.refusal
        call = ScriptedCall(sid or f"sid-{len(self.calls)}", config, fmt, edge)
        self.calls.append(call)
        return call

    @property
    def last(self) -> ScriptedCall:
        return self.calls[-1]


async def eventually(condition: Callable[[], object], *, within_s: float = 5.0) -> None:
    """Returns as soon as the condition holds; fails after `within_s`."""
    async with asyncio.timeout(within_s):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)
