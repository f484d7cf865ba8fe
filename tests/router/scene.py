"""A call on the memory bus with small scripted workers, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from halfbeat import subjects
from halfbeat.audio import RATE_HZ, Samples, level_dbfs
from halfbeat.bus import Bus, Delivery
from halfbeat.bus.memory import MemoryBroker
from halfbeat.clock import LoopClock
from halfbeat.errors import EngineFailed
from halfbeat.subjects import Kind
from halfbeat.v1 import asr_pb2, common_pb2, dialogue_pb2, session_pb2, tts_pb2, turn_pb2
from halfbeat.worker import Worker
from services.router import edge
from services.router.call import Call
from services.router.calls import Calls
from services.router.cleaner import Cleaner
from services.router.config import RouterSettings


def tone(ms: int, rate_hz: int = RATE_HZ, amplitude: float = 8000.0) -> bytes:
    t = np.arange(rate_hz * ms // 1000) / rate_hz
    return (amplitude * np.sin(2 * np.pi * 300 * t)).astype("<i2").tobytes()


def silence(ms: int, rate_hz: int = RATE_HZ) -> bytes:
    return bytes(rate_hz * ms // 1000 * 2)


class LevelDetector:
    """Voice is what is loud."""

    def probability(self, window: Samples) -> float:
        return 0.95 if level_dbfs(window) > -40 else 0.02


class Detector:
    """Says what it is told; None fails."""

    def __init__(self, *opinions: float | None) -> None:
        self.opinions = list(opinions)
        self.asked: list[int] = []

    async def probability(self, turn: Samples) -> float:
        await asyncio.sleep(0.05)
        self.asked.append(turn.size)
        opinion = self.opinions.pop(0) if len(self.opinions) > 1 else self.opinions[0]
        if opinion is None:
            raise EngineFailed("no opinion")
        return opinion


@dataclass
class FakeModels:
    turn_detector: Detector | None = field(default_factory=lambda: Detector(0.95))
    cleaner: Cleaner | None = None

    def voice_detector(self) -> LevelDetector:
        return LevelDetector()


@dataclass
class Script:
    """What the workers do.

    Attributes:
        heard: what asr makes of the turns, in order; the last one repeats.
        answers: clauses of each answer, in order; the last one repeats.
        clause_s: how long the model thinks about each clause.
        ms_per_char: speed of the agent's speech.
        voice: makes a clause's audio and the times of its words; without it a tone is all there is.
        on_commit: what dialogue does instead of answering; it makes no drafts then.
        on_draft: what dialogue does with a draft instead of forming its answer.
    """

    heard: list[str] = field(default_factory=lambda: ["The trash was not picked up."])
    answers: list[list[str]] = field(default_factory=lambda: [["Okay,", "a truck comes tomorrow."]])
    opening: list[str] = field(default_factory=list)
    hangs_up_after: int | None = None
    asr_s: float = 0.1
    clause_s: float = 0.2
    ms_per_char: int = 40
    voice: Callable[[str], tuple[bytes, list[tts_pb2.WordTiming]]] | None = None
    on_commit: Callable[["FakeDialogue", turn_pb2.TurnCommitted], Awaitable[None]] | None = None
    on_draft: Callable[["FakeDialogue", turn_pb2.TurnDrafted], Awaitable[None]] | None = None


class _Fake:
    subjects: Sequence[Kind] = ()

    def __init__(self, bus: Bus, sid: str, script: Script) -> None:
        self.bus, self.sid, self.script = bus, sid, script
        self.tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)  # type: ignore[arg-type]
        task.add_done_callback(self.tasks.discard)  # type: ignore[arg-type]

    def stop(self) -> None:
        for task in list(self.tasks):
            task.cancel()

    async def aclose(self) -> None:
        self.stop()


class FakeAsr(_Fake):
    subjects = (subjects.ASR_AUDIO, subjects.ASR_CONTROL)

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.audio = bytearray()
        self.commands: list[tuple[str, int, int]] = []

    async def handle(self, delivery: Delivery) -> None:
        message = delivery.message
        if not isinstance(message, asr_pb2.AsrControl):
            self.audio += message.pcm  # type: ignore[attr-defined]
            return
        command, stamp = message.WhichOneof("command") or "", message.stamp
        self.commands.append((command, stamp.turn, stamp.revision))
        if command == "flush":
            self.start(self._answer(stamp, message.flush.offset_samples))

    async def _answer(self, stamp: common_pb2.Stamp, end: int) -> None:
        await asyncio.sleep(self.script.asr_s)
        heard = self.script.heard
        text = heard[min(stamp.turn, len(heard)) - 1]
        await self.bus.publish(
            subjects.ASR_FINAL,
            asr_pb2.Transcript(stamp=stamp, stable=text, is_final=True, end_samples=end),
        )


class FakeDialogue(_Fake):
    subjects = (
        *(subjects.TURN_DRAFT, subjects.TURN_COMMIT, subjects.TURN_ENDPOINT, subjects.TURN_HEARD),
        *(subjects.SESSION_EPOCH, subjects.TOOL_RESULT),
    )

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.drafts: list[turn_pb2.TurnDrafted] = []
        self.commits: list[turn_pb2.TurnCommitted] = []
        self.is_adopted = asyncio.Event()
        self.most_at_once = 0
        self.heard: list[turn_pb2.Heard] = []
        self.epoch = 0
        self.results: list[dialogue_pb2.ToolResult] = []
        self.answered = 0

    async def handle(self, delivery: Delivery) -> None:
        match delivery.message:
            case turn_pb2.TurnDrafted() as drafted:
                self.drafts.append(drafted)
                self.stop()
                self.is_adopted = asyncio.Event()
                if self.script.on_draft is not None:
                    self.start(self.script.on_draft(self, drafted))
                elif self.script.on_commit is None:
                    self.start(self.answer(drafted.stamp, self.is_adopted))
            case turn_pb2.Endpoint(kind=turn_pb2.ENDPOINT_KIND_RESUMED):
                self.stop()
            case turn_pb2.TurnCommitted() as commit:
                self.commits.append(commit)
                if commit.adopts_draft and self.tasks:
                    self.is_adopted.set()
                    return
                self.stop()
                if self.script.on_commit is not None:
                    self.start(self.script.on_commit(self, commit))
                elif commit.wants_answer:
                    self.start(self.answer(commit.stamp))
            case turn_pb2.Heard() as heard:
                self.heard.append(heard)
            case session_pb2.EpochAdvanced() as advanced:
                self.epoch = advanced.stamp.epoch
                self.stop()
            case dialogue_pb2.ToolResult() as result:
                self.results.append(result)

    async def answer(self, stamp: common_pb2.Stamp, is_adopted: asyncio.Event | None = None) -> None:
        """Answers a commit, or a draft: then only the first clause goes out before it is adopted."""
        script = self.script
        self.most_at_once = max(self.most_at_once, len(self.tasks))
        clauses = script.opening if stamp.turn == 0 else script.answers[min(self.answered, len(script.answers) - 1)]
        for index, text in enumerate(clauses):
            await asyncio.sleep(script.clause_s)
            if index and is_adopted is not None:
                await is_adopted.wait()
            is_draft = is_adopted is not None and not is_adopted.is_set()
            await self.say(stamp, index, text, is_draft=is_draft)
        if is_adopted is not None:
            await is_adopted.wait()
        self.answered += stamp.turn > 0
        await self.done(stamp, len(clauses), hangs_up=self.answered == script.hangs_up_after)

    async def say(self, stamp: common_pb2.Stamp, index: int, text: str, *, is_draft: bool = False) -> None:
        own = common_pb2.Stamp(sid=stamp.sid, epoch=stamp.epoch, turn=stamp.turn, revision=stamp.revision, seq=index)
        work_us = int(self.script.clause_s * 1e6)
        own.residence.append(common_pb2.Residence(hop="dialogue", queue_us=0, work_us=work_us))
        clause = dialogue_pb2.Clause(stamp=own, index=index, text=text, is_draft=is_draft)
        await self.bus.publish(subjects.DIALOGUE_CLAUSE, clause)

    async def done(self, stamp: common_pb2.Stamp, clauses: int, *, hangs_up: bool = False) -> None:
        own = common_pb2.Stamp(sid=stamp.sid, epoch=stamp.epoch, turn=stamp.turn, revision=stamp.revision)
        done = dialogue_pb2.AnswerDone(stamp=own, clauses=clauses, completion_tokens=7, hangs_up=hangs_up)
        await self.bus.publish(subjects.DIALOGUE_DONE, done)


class FakeTts(_Fake):
    subjects = (subjects.DIALOGUE_CLAUSE, subjects.SESSION_EPOCH)

    async def handle(self, delivery: Delivery) -> None:
        if isinstance(delivery.message, dialogue_pb2.Clause):
            self.start(self._speak(delivery.message))

    async def _speak(self, clause: dialogue_pb2.Clause) -> None:
        await asyncio.sleep(0.1)
        pcm, words = tone(len(clause.text) * self.script.ms_per_char), []
        if self.script.voice is not None:
            pcm, words = self.script.voice(clause.text)
        step = RATE_HZ // 5 * 2
        for at in range(0, len(pcm), step):
            stamp = common_pb2.Stamp()
            stamp.CopyFrom(clause.stamp)
            await self.bus.publish(
                subjects.TTS_AUDIO,
                tts_pb2.SpeechAudio(
                    stamp=stamp,
                    clause=clause.index,
                    offset_samples=at // 2,
                    pcm=pcm[at : at + step],
                    words=[w for w in words if at <= w.start_samples * 2 < at + step],
                    is_last=at + step >= len(pcm),
                ),
            )


class Scene:
    """A router with one worker of each kind; `async with`, then `dial`."""

    def __init__(self, script: Script | None = None, *, slots: int = 8, **settings: object) -> None:
        self.script = script or Script()
        self.broker = MemoryBroker()
        # A low threshold: a whole sentence and a sure opinion suffice, however the sources are weighed.
        settings = {"turn_threshold": 0.5, "hesitation_ms": 0} | settings
        self.settings = RouterSettings(name="router-1", **settings)  # type: ignore[arg-type]
        self.models = FakeModels()
        self.clock = LoopClock()
        self.slots = slots
        self.asr: list[FakeAsr] = []
        self.dialogue: list[FakeDialogue] = []
        self.tts: list[FakeTts] = []
        self.workers: dict[str, Worker] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.bus = await self._stack.enter_async_context(self.broker.connect("router"))
        for service, made, fake in (
            ("asr", self.asr, FakeAsr),
            ("dialogue", self.dialogue, FakeDialogue),
            ("tts", self.tts, FakeTts),
        ):
            bus = await self._stack.enter_async_context(self.broker.connect(service))

            async def open_session(
                request: session_pb2.OpenRequest, bus: Bus = bus, made: list[_Fake] = made, fake: type[_Fake] = fake
            ) -> _Fake:
                made.append(fake(bus, request.stamp.sid, self.script))
                return made[-1]

            worker = Worker(bus, service, open_session, name=f"{service}-1", slots=self.slots)
            self.workers[service] = await self._stack.enter_async_context(worker)
        self.calls = Calls(self.bus, self.settings, self.models, self.clock)
        self._stack.push_async_callback(self.calls.aclose)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def dial(self, fmt: edge.EdgeFormat | None = None, *, has_opening: bool = False) -> "Line":
        config = session_pb2.SessionConfig(caller_number="+15550100", has_opening=has_opening)
        call = await self.calls.open(config, fmt or edge.EdgeFormat(), edge="test")
        return Line(call, fmt or edge.EdgeFormat(), self.clock)


class Line:
    """The caller's end of a call: speaks in real time and notes what happens."""

    def __init__(self, call: Call, fmt: edge.EdgeFormat, clock: LoopClock) -> None:
        self.call, self.format, self.clock = call, fmt, clock
        self.events: list[tuple[float, edge.CallEvent]] = []
        self.task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for event in self.call.events():
            self.events.append((self.clock.now_ns() / 1e9, event))

    async def speak(self, ms: int) -> float:
        """Speaks; returns when the last sample was spoken."""
        await self._send(tone(ms, self.format.sample_rate_hz))
        return self.clock.now_ns() / 1e9

    async def pause(self, ms: int) -> None:
        await self._send(silence(ms, self.format.sample_rate_hz))

    async def _send(self, pcm: bytes) -> None:
        step = self.format.sample_rate_hz // 50 * 2
        for at in range(0, len(pcm), step):
            await asyncio.sleep(0.02)
            self.call.receive_audio(pcm[at : at + step])

    async def until(self, kind: type, ms: int = 5000, count: int = 1) -> edge.CallEvent:
        """Is silent until an event of this kind came."""
        for _ in range(ms // 20):
            found = self.of(kind)
            if len(found) >= count:
                return found[count - 1]
            await self.pause(20)
        raise AssertionError(f"no {kind.__name__} within {ms} ms; came: {[type(e).__name__ for _, e in self.events]}")

    def of(self, kind: type) -> list[edge.CallEvent]:
        return [event for _, event in self.events if isinstance(event, kind)]

    def when(self, kind: type) -> list[float]:
        return [at for at, event in self.events if isinstance(event, kind)]

    def audio(self) -> list[tuple[float, edge.AgentAudio]]:
        return [(at, event) for at, event in self.events if isinstance(event, edge.AgentAudio)]

    async def hang_up(self) -> None:
        self.call.end()
        async with asyncio.timeout(10):
            await self.task
