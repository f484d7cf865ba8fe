"""The router's side of a dialogue, for tests: opens sessions, commits turns, keeps what comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from halfbeat import subjects
from halfbeat.application import Application
from halfbeat.bus.memory import MemoryBroker, MemoryBus
from halfbeat.v1 import common_pb2, dialogue_pb2, session_pb2, turn_pb2
from services.dialogue.config import DialogueSettings
from services.dialogue.engine import LlmEngine
from services.dialogue.service import DialogueService

SID = "call-1"


class Router:
    """Publishes as the router does and records the dialogue's messages."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.messages: list[Any] = []
        self._changed = asyncio.Event()

    async def open(self, **config: Any) -> session_pb2.OpenReply:
        request = session_pb2.OpenRequest(
            stamp=common_pb2.Stamp(sid=SID), config=session_pb2.SessionConfig(has_opening=True, **config)
        )
        return await self.bus.request(subjects.DIALOGUE_OPEN, request, session_pb2.OpenReply, timeout_s=5)

    async def commit(self, turn: int, said: str, *, epoch: int = 0, revision: int = 0, **fields: Any) -> None:
        stamp = common_pb2.Stamp(sid=SID, epoch=epoch, turn=turn, revision=revision)
        is_opening = turn == 0 and "prompt_cause" not in fields
        fields = (
            {"wants_answer": True} | fields | ({"prompt_cause": turn_pb2.PROMPT_CAUSE_OPENING} if is_opening else {})
        )
        await self.bus.publish(subjects.TURN_COMMIT, turn_pb2.TurnCommitted(stamp=stamp, transcript=said, **fields))

    async def draft(
        self,
        turn: int,
        said: str,
        *,
        epoch: int = 0,
        revision: int = 0,
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> None:
        stamp = common_pb2.Stamp(sid=SID, epoch=epoch, turn=turn, revision=revision)
        message = turn_pb2.TurnDrafted(stamp=stamp, transcript=said, **fields)
        await self.bus.publish(subjects.TURN_DRAFT, message, headers=headers or {})

    async def resume(self, turn: int, revision: int, *, epoch: int = 0) -> None:
        stamp = common_pb2.Stamp(sid=SID, epoch=epoch, turn=turn, revision=revision)
        endpoint = turn_pb2.Endpoint(stamp=stamp, kind=turn_pb2.ENDPOINT_KIND_RESUMED)
        await self.bus.publish(subjects.TURN_ENDPOINT, endpoint)

    async def heard(self, turn: int, **fields: Any) -> None:
        stamp = common_pb2.Stamp(sid=SID, turn=turn)
        await self.bus.publish(subjects.TURN_HEARD, turn_pb2.Heard(stamp=stamp, **fields))

    async def barge_in(self, epoch: int) -> None:
        await self.bus.publish(
            subjects.SESSION_EPOCH, session_pb2.EpochAdvanced(stamp=common_pb2.Stamp(sid=SID, epoch=epoch))
        )

    async def close(self) -> None:
        await self.bus.publish(
            subjects.SESSION_CLOSE, session_pb2.SessionClosed(stamp=common_pb2.Stamp(sid=SID), by="caller")
        )

    async def until(self, condition: Callable[[], Any], limit_s: float = 5) -> None:
        async with asyncio.timeout(limit_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def say(self, turn: int, said: str, *, limit_s: float = 5, **fields: Any) -> str:
        """Commits a turn, waits for its answer and has all of it heard."""
        await self.commit(turn, said, **fields)
        await self.until(lambda: self.done(turn), limit_s)
        await self.heard(turn, is_complete=True)
        return self.words(turn)

    def of(self, kind: type[Any], turn: int | None = None) -> list[Any]:
        return [m for m in self.messages if isinstance(m, kind) and turn in (None, m.stamp.turn)]

    def words(self, turn: int) -> str:
        return " ".join(clause.text for clause in self.of(dialogue_pb2.Clause, turn))

    def done(self, turn: int) -> list[dialogue_pb2.AnswerDone]:
        return self.of(dialogue_pb2.AnswerDone, turn)

    async def record(self) -> None:
        said = [subjects.DIALOGUE_CLAUSE, subjects.DIALOGUE_DONE, subjects.DIALOGUE_VOID, subjects.DIALOGUE_STATUS]
        kinds = [*said, subjects.TTS_PREPARE, subjects.TOOL_CALL, subjects.TOOL_RESULT]
        subscription = await self.bus.subscribe([kind.of(SID) for kind in kinds])
        async for delivery in subscription:
            self.messages.append(delivery.message)
            self._changed.set()


@asynccontextmanager
async def dialogue(engine: LlmEngine, app: Application, **settings: Any) -> AsyncIterator[Router]:
    """A dialogue service on an in-memory bus, and a router beside it."""
    broker = MemoryBroker()
    async with MemoryBus(broker) as bus, MemoryBus(broker) as other:
        service = DialogueService(DialogueSettings(**settings), bus, engine, app)
        async with service:
            router = Router(other)
            recording = asyncio.create_task(router.record())
            await asyncio.sleep(0)
            try:
                yield router
            finally:
                recording.cancel()
                await asyncio.gather(recording, return_exceptions=True)
