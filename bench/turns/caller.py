"""The caller's end of one call over gRPC: plays a scenario in real time, keeps both directions on one timeline."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from bench.turns.scenario import Role, Scenario, Step
from bench.turns.score import Happened, Played, Recording
from halfbeat.audio import RATE_HZ, Samples
from halfbeat.caller.phone import FRAME_MS, Line, Phone, first_audible, last_audible
from halfbeat.caller.transports import GrpcCall, to_samples
from halfbeat.client import VoiceClient
from halfbeat.errors import HalfbeatError
from halfbeat.v1 import session_pb2, voice_pb2

#: After an aside the agent may be muted for a moment; it is not finished before this much silence.
ASIDE_PATIENCE_MS = 1600
#: Silence after which the agent's next sound is a new beginning.
GAP_MS = 300
#: An agent that was heard this short a time ago is speaking.
SOUNDING_MS = 60
#: After the last step the call goes on for so long.
LINGER_MS = 600

#: Told before a clip is played: the session, the step, its first sample on the caller's timeline.
Tell = Callable[[str, Step, int], None]
#: Told how late each 20 ms tick was, in ms.
Late = Callable[[float], None]


class ListeningCall(GrpcCall):
    """Also keeps what the router says happened, with the position at which it was heard."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.happened: list[Happened] = []
        self._answering: int | None = None

    @property
    def is_answering(self) -> bool:
        """Whether an answer has begun to sound and the router has not told that it is over."""
        return self._answering is not None

    async def listen(self) -> None:
        """Takes what the router sends until it hangs up."""
        try:
            async for event in self._conversation:
                match event:
                    case voice_pb2.AgentAudio():
                        known = self.phone.played_samples + self.phone.waiting_samples
                        self._skipped = event.offset_samples - known
                        self.phone.receive(to_samples(event.pcm))
                    case voice_pb2.Event():
                        name = voice_pb2.EventKind.Name(event.kind).removeprefix("EVENT_KIND_").lower()
                        self.happened.append(Happened(self.phone.position, name, event.turn, event.detail_json))
                        if event.kind == voice_pb2.EVENT_KIND_INTERRUPTED:
                            self.phone.clear()
                        elif event.kind == voice_pb2.EVENT_KIND_ANSWER_STARTED:
                            self._answering = event.turn
                        elif event.kind == voice_pb2.EVENT_KIND_ANSWER_DONE and event.turn == self._answering:
                            self._answering = None
                    case voice_pb2.Caption(speaker=voice_pb2.SPEAKER_AGENT):
                        self.happened.append(Happened(self.phone.position, "agent_said", event.turn, event.text))
        finally:
            self.ended.set()


@asynccontextmanager
async def dial(target: str, scenario: Scenario) -> AsyncIterator[tuple[str, ListeningCall]]:
    """Calls the router at host:port; yields the session id and the call."""
    config = session_pb2.SessionConfig(caller_number=scenario.number, has_opening=scenario.has_opening)
    phone = Phone(RATE_HZ)
    async with (
        VoiceClient(target) as client,
        client.converse(config, sample_rate_hz=RATE_HZ, reports_playout=True) as conversation,
    ):
        call = ListeningCall(conversation, phone)
        listening = asyncio.create_task(call.listen())
        try:
            yield conversation.sid, call
        finally:
            await call.hang_up()
            with suppress(TimeoutError, HalfbeatError):
                async with asyncio.timeout(5):
                    await listening


@dataclass
class _Ears:
    """When the agent sounded, as heard so far. Positions in samples."""

    onsets: list[int] = field(default_factory=list)
    last: int | None = None

    def hear(self, position: int, frame: Samples) -> None:
        first = first_audible(frame)
        if first is None:
            return
        if self.last is None or position + first - self.last >= _samples(GAP_MS):
            self.onsets.append(position + first)
        self.last = position + last_audible(frame)

    def began_after(self, position: int) -> int | None:
        """Where the agent first began to sound from a position on."""
        return next((onset for onset in self.onsets if onset >= position), None)

    def quiet_ms(self, position: int) -> float:
        return (position - (self.last or 0)) * 1000 / RATE_HZ


@dataclass
class Caller:
    """Decides when the next step begins (no I/O); `tick` gives 20 ms of the caller.

    `is_answering` says that the agent's answer is not over although it may be silent: nobody talks into a "Well, ...".
    """

    scenario: Scenario
    phone: Phone
    tell: Callable[[Step, int], None]
    is_answering: Callable[[], bool] = lambda: False
    played: list[Played] = field(default_factory=list)
    skipped: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._waiting = list(self.scenario.steps)
        self._ears = _Ears()
        self._began = 0  # the agent must sound after this to have answered
        self._room: Samples | None = None  # what is heard of the caller between clips

    @property
    def is_finished(self) -> bool:
        """Whether everything was said and what was to be heard was heard."""
        if self._waiting or self.phone.is_speaking or self.phone.is_audio_waiting:
            return False
        return self._is_free() and self._ears.quiet_ms(self.phone.position) >= LINGER_MS

    def tick(self) -> Samples:
        """Moves on by 20 ms; returns the frame to send."""
        if self._waiting and not self.phone.is_speaking:
            self._consider(self._waiting[0])
        position, is_between = self.phone.position, not self.phone.is_speaking
        sent = self.phone.tick()
        if is_between and self._room is not None:
            # The noise around a voice does not end with it. The frame is also the one in the recording.
            sent[:] = np.take(self._room, np.arange(position, position + sent.size), mode="wrap")
        self._ears.hear(position, self.phone.agent[-1])
        return sent

    def _consider(self, step: Step) -> None:
        position = self.phone.position
        if step.gap_ms is not None:
            is_due = self._ms_since(self._began) >= step.gap_ms
        elif step.over_ms is not None:
            onset = self._ears.began_after(self._reference())
            quiet_ms = self._ears.quiet_ms(position)
            is_due = onset is not None and self._ms_since(onset) >= step.over_ms and quiet_ms < SOUNDING_MS
            is_gone = onset is not None and quiet_ms >= self._patience_ms()
            if is_gone or (onset is None and self._ms_since(self._began) >= self.scenario.give_up_ms):
                self.skipped.append(self._waiting.pop(0))  # there is nothing to speak over
                return
        else:
            is_due = self._is_free()
        if is_due:
            self._waiting.pop(0)
            self.tell(step, position)
            self.phone.speak(Line(step.clip.text, step.clip.pcm))
            self._room = step.clip.room
            end = position + step.clip.pcm.size
            self.played.append(Played(step, position, end))
            self._began = end

    def _reference(self) -> int:
        """The agent's sound that a step over it waits for begins after this."""
        last = next((p for p in reversed(self.played) if p.step.role is not Role.ASIDE), None)
        return last.end if last else 0

    def _is_free(self) -> bool:
        """Whether the agent has answered and then been quiet for long enough, or will not answer any more."""
        before = self.played[-1].step if self.played else None
        quiet_ms = self._ears.quiet_ms(self.phone.position)
        if self.phone.is_audio_waiting or quiet_ms < self._patience_ms():
            return False
        if before is None and not self.scenario.has_opening:
            return self._ms_since(0) >= self.scenario.patience_ms
        if before is not None and before.role is Role.ASIDE:
            return quiet_ms >= ASIDE_PATIENCE_MS
        return (
            self._ears.began_after(self._began) is not None or self._ms_since(self._began) >= self.scenario.give_up_ms
        )

    def _patience_ms(self) -> int:
        """Silence of the agent after which it has finished."""
        return self.scenario.give_up_ms if self.is_answering() else self.scenario.patience_ms

    def _ms_since(self, position: int) -> float:
        return (self.phone.position - position) * 1000 / RATE_HZ


async def hold(target: str, scenario: Scenario, tell: Tell, late: Late, *, limit_s: float = 300.0) -> Recording:
    """Places the call, plays the scenario in real time and hangs up.

    Args:
        target: host:port of the router.
        scenario: what to do.
        tell: is told of every clip just before its first sample is sent.
        late: is told how late each tick was.
        limit_s: longest call.
    """
    async with dial(target, scenario) as (sid, call):
        caller = Caller(scenario, call.phone, lambda step, start: tell(sid, step, start), lambda: call.is_answering)
        began, ticks = time.monotonic(), 0
        while not caller.is_finished and not call.ended.is_set() and ticks * FRAME_MS < limit_s * 1000:
            await call.send(caller.tick())
            ticks += 1
            due = began + ticks * FRAME_MS / 1000
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            late((time.monotonic() - due) * 1000)
        while call.phone.is_audio_waiting:  # the agent's last words before it hung up
            caller.tick()
    stereo = call.phone.stereo()
    return Recording(
        sid=sid,
        scenario=scenario.name,
        caller=stereo[:, 0],
        agent=stereo[:, 1],
        played=tuple(caller.played),
        happened=tuple(call.happened),
        missed=len(caller._waiting) + len(caller.skipped),
    )


def _samples(ms: int) -> int:
    return ms * RATE_HZ // 1000
