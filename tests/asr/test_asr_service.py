"""The asr service on an in-memory bus: audio and controls in, transcripts out."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from asr_talk import FRAME, SOUND_FRAMES, STEP, WORD_FRAMES, read_words, words
from prometheus_client import REGISTRY

from halfbeat import subjects
from halfbeat.bus.memory import MemoryBroker, MemoryBus
from halfbeat.v1 import asr_pb2, audio_pb2, common_pb2, session_pb2
from services.asr import gate
from services.asr.config import AsrSettings
from services.asr.engine import NO_HINT, Hint, Recognition, Samples
from services.asr.engines.scripted import ScriptedEngine
from services.asr.gate import Heard
from services.asr.service import AsrService


class Reader:
    """Reads the words off the samples; waits for the gate if it is closed, fails when told to."""

    name = "reader"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.fails = False
        self.calls = 0

    def load(self) -> None:
        """Nothing to load."""

    def transcribe(self, pcm: Samples, hint: Hint = NO_HINT) -> Recognition:
        self.calls += 1
        assert self.gate.wait(10)
        if self.fails:
            from halfbeat.errors import EngineFailed

            raise EngineFailed("reader failed")
        return read_words(pcm)


@pytest.fixture(autouse=True)
def _open_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's words are steps of constant level, which the gate rightly takes for no voice."""
    monkeypatch.setattr(gate, "sounds_unlike_speech", lambda sound: None)


class Router:
    """The other side."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.partials: list[asr_pb2.Transcript] = []
        self.finals: list[asr_pb2.Transcript] = []
        self.statuses: list[session_pb2.WorkerStatus] = []
        self.spoken = 0
        self.at = 0
        self._seq = 0
        self._grown = asyncio.Event()

    async def listen(self) -> None:
        kinds = (subjects.ASR_PARTIAL, subjects.ASR_FINAL, subjects.ASR_STATUS)
        subscription = await self.bus.subscribe([k.all for k in kinds])

        async def keep() -> None:
            async for delivery in subscription:
                match delivery.message:
                    case asr_pb2.Transcript() as transcript:
                        (self.finals if transcript.is_final else self.partials).append(transcript)
                    case session_pb2.WorkerStatus() as status:
                        self.statuses.append(status)
                self._grown.set()

        self._task = asyncio.create_task(keep())

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def open(self, sid: str, language: str = "") -> session_pb2.OpenReply:
        request = session_pb2.OpenRequest(
            stamp=common_pb2.Stamp(sid=sid, epoch=1), config=session_pb2.SessionConfig(language=language)
        )
        return await self.bus.request(subjects.ASR_OPEN, request, session_pb2.OpenReply, timeout_s=2)

    async def close(self, sid: str) -> None:
        closed = session_pb2.SessionClosed(stamp=common_pb2.Stamp(sid=sid), by="caller")
        await self.bus.publish(subjects.SESSION_CLOSE, closed)

    async def frame(self, sid: str, level: int, *, epoch: int = 1, pcm: bytes | None = None) -> None:
        frame = audio_pb2.AudioFrame(
            stamp=self._stamp(sid, epoch, 0, 0),
            offset_samples=self.at,
            pcm=np.full(FRAME, level * STEP, "<i2").tobytes() if pcm is None else pcm,
            is_speech=level > 0,
        )
        self.at += FRAME
        await self.bus.publish(subjects.ASR_AUDIO, frame)
        # The consumer runs between frames, as it would with 20 ms of time.
        for _ in range(5):
            await asyncio.sleep(0)

    async def say(self, sid: str, count: int, *, epoch: int = 1) -> None:
        for _ in range(count):
            self.spoken += 1
            for i in range(WORD_FRAMES):
                await self.frame(sid, self.spoken if i < SOUND_FRAMES else 0, epoch=epoch)

    async def silence(self, sid: str, ms: int) -> None:
        for _ in range(ms // 20):
            await self.frame(sid, 0)

    async def start(self, sid: str, *, epoch: int = 1, turn: int = 1, revision: int = 0, offset: int = -1) -> None:
        control = asr_pb2.AsrControl(stamp=self._stamp(sid, epoch, turn, revision))
        control.speech_started.offset_samples = self.at if offset < 0 else offset
        await self.bus.publish(subjects.ASR_CONTROL, control)
        await self.settle()

    async def flush(self, sid: str, *, epoch: int = 1, turn: int = 1, revision: int = 0, back_ms: int = 0) -> None:
        stamp = self._stamp(sid, epoch, turn, revision)
        stamp.residence.add(hop="router", work_us=1234)
        control = asr_pb2.AsrControl(stamp=stamp)
        control.flush.offset_samples = self.at - back_ms * 16
        await self.bus.publish(subjects.ASR_CONTROL, control)

    async def reset(self, sid: str, *, turn: int = 1) -> None:
        control = asr_pb2.AsrControl(stamp=self._stamp(sid, 1, turn, 0))
        control.reset.SetInParent()
        await self.bus.publish(subjects.ASR_CONTROL, control)
        await self.settle()

    async def settle(self) -> None:
        """Audio and controls are separate subscriptions: lets what was sent be taken."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], object], *, within_s: float = 10) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                self._grown.clear()
                await self._grown.wait()

    def _stamp(self, sid: str, epoch: int, turn: int, revision: int) -> common_pb2.Stamp:
        self._seq += 1
        return common_pb2.Stamp(sid=sid, epoch=epoch, turn=turn, revision=revision, seq=self._seq)


@asynccontextmanager
async def running(engine: object, **settings: object) -> AsyncIterator[Router]:
    """The service and a router on one broker."""
    broker = MemoryBroker()
    chosen = AsrSettings.model_validate({"name": "asr-1", **settings})
    async with MemoryBus(broker) as bus, MemoryBus(broker) as other, AsrService(chosen, bus, engine):  # type: ignore[arg-type]
        router = Router(other)
        await router.listen()
        try:
            yield router
        finally:
            await router.aclose()


def dropped(kind: str, reason: str) -> float:
    """The counter's value."""
    return REGISTRY.get_sample_value("halfbeat_dropped_total", {"kind": kind, "reason": reason}) or 0.0


async def test_a_turn_is_heard_with_partials_and_a_final_that_carries_where_its_time_went() -> None:
    async with running(Reader()) as router:
        await router.open("s1")
        await router.silence("s1", 500)
        await router.start("s1", revision=2)
        await router.say("s1", 6)
        await router.until(lambda: router.partials)
        await router.flush("s1", revision=2)
        await router.until(lambda: router.finals)
        (final,) = router.finals
        assert (final.stable, final.unstable, final.is_final) == (words(1, 6), "", True)
        assert (final.stamp.epoch, final.stamp.turn, final.stamp.revision) == (1, 1, 2)
        assert [r.hop for r in final.stamp.residence] == ["router", "asr"]
        assert final.start_samples == 8_000
        assert [p.stamp.seq for p in router.partials] == list(range(len(router.partials)))
        assert {(p.stamp.turn, p.stamp.revision) for p in router.partials} == {(1, 2)}


async def test_a_caller_who_goes_on_is_heard_again_from_the_start_of_the_turn() -> None:
    async with running(Reader()) as router:
        await router.open("s1")
        await router.start("s1")
        await router.say("s1", 3)
        await router.flush("s1")
        await router.until(lambda: len(router.finals) == 1)
        await router.start("s1", revision=1)
        await router.say("s1", 2)
        await router.flush("s1", revision=1)
        await router.until(lambda: len(router.finals) == 2)
        assert [(f.stable, f.stamp.revision) for f in router.finals] == [(words(1, 3), 0), (words(1, 5), 1)]


async def test_a_silent_call_never_reaches_the_engine() -> None:
    engine = Reader()
    async with running(engine) as router:
        await router.open("s1")
        await router.silence("s1", 20_000)
        await router.settle()
        assert engine.calls == 0
        assert router.partials == []


async def test_one_session_more_than_the_slots_is_refused_at_capacity_and_a_closed_one_frees_its_slot() -> None:
    async with running(Reader(), slots=1) as router:
        assert not (await router.open("s1")).HasField("error")
        refused = await router.open("s2")
        assert refused.error.code == common_pb2.ERROR_CODE_AT_CAPACITY
        assert refused.error.retryable
        await router.close("s1")
        await router.until(lambda: any(s.is_closed for s in router.statuses))
        assert not (await router.open("s2")).HasField("error")


async def test_a_language_that_the_worker_does_not_hear_is_refused() -> None:
    async with running(Reader()) as router:
        assert (await router.open("s1", "de-DE")).error.code == common_pb2.ERROR_CODE_INVALID
        assert not (await router.open("s2", "en-US")).HasField("error")


async def test_stale_controls_and_audio_are_dropped_and_counted() -> None:
    async with running(Reader()) as router:
        await router.open("s1")
        await router.start("s1", turn=2)
        before = dropped("asr.control", "stale_turn"), dropped("asr.audio", "stale_epoch")
        await router.reset("s1", turn=1)
        await router.say("s1", 2, epoch=2)
        await router.frame("s1", 5, epoch=1)
        await router.flush("s1", turn=2, epoch=2)
        await router.until(lambda: router.finals)
        assert router.finals[0].stable == words(1, 2)
        assert dropped("asr.control", "stale_turn") == before[0] + 1
        assert dropped("asr.audio", "stale_epoch") == before[1] + 1


async def test_an_epoch_that_advances_while_the_caller_speaks_marks_what_follows() -> None:
    async with running(Reader()) as router:
        await router.open("s1")
        await router.start("s1")
        message = session_pb2.EpochAdvanced(stamp=common_pb2.Stamp(sid="s1", epoch=2))
        await router.bus.publish(subjects.SESSION_EPOCH, message)
        await router.settle()
        await router.say("s1", 3)
        await router.flush("s1", epoch=2)
        await router.until(lambda: router.finals)
        assert (router.finals[0].stamp.epoch, router.finals[0].stable) == (2, words(1, 3))


async def test_an_engine_that_fails_is_reported_and_the_call_goes_on() -> None:
    engine = Reader()
    async with running(engine) as router:
        await router.open("s1")
        await router.start("s1")
        engine.fails = True
        await router.say("s1", 1)
        await router.flush("s1")
        await router.until(lambda: router.finals)
        await router.silence("s1", 40)
        await router.until(lambda: any(s.error.code == common_pb2.ERROR_CODE_ENGINE for s in router.statuses))
        assert not any(s.is_closed for s in router.statuses)
        engine.fails = False
        await router.start("s1", turn=2)
        await router.say("s1", 2)
        await router.flush("s1", turn=2)
        await router.until(lambda: len(router.finals) == 2)
        assert [f.stable for f in router.finals] == ["", words(2, 3)]


@pytest.mark.parametrize("pcm", [b"\0" * 641, b"\0" * 40_000])
async def test_audio_that_is_wrong_is_an_error_of_its_session_only(pcm: bytes) -> None:
    async with running(Reader()) as router:
        await router.open("bad")
        await router.open("good")
        await router.frame("bad", 0, pcm=pcm)
        await router.until(lambda: any(s.error.code == common_pb2.ERROR_CODE_INVALID for s in router.statuses))
        router.at = 0
        await router.start("good")
        await router.say("good", 2)
        await router.flush("good")
        await router.until(lambda: router.finals)
        assert {s.stamp.sid for s in router.statuses if s.HasField("error")} == {"bad"}
        assert router.finals[0].stable == words(1, 2)


async def test_a_flush_goes_before_the_partials_of_other_calls() -> None:
    engine = Reader()
    async with running(engine) as router:
        for sid in ("busy", "waiting", "flushing"):
            await router.open(sid)
        engine.gate.clear()
        order: list[str] = []
        original = gate.transcribe

        def noting(engine_: object, pcm: Samples, hint: Hint, speech_s: float | None) -> Heard:
            order.append({1: "busy", 2: "waiting", 3: "flushing"}[hint.turn])
            return original(engine, pcm, hint, speech_s)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("services.asr.decoding.transcribe", noting)
            for turn, sid in ((1, "busy"), (2, "waiting")):
                router.at = 0
                await router.start(sid, turn=turn)
                await router.say(sid, 2)
            router.at = 0
            await router.start("flushing", turn=3)
            await router.say("flushing", 1)
            await router.flush("flushing", turn=3)
            await router.settle()
            engine.gate.set()
            await router.until(lambda: "waiting" in {p.stamp.sid for p in router.partials})
        assert order.index("flushing") < order.index("waiting")


async def test_nothing_is_left_running_when_a_call_closes_during_a_decode() -> None:
    engine = Reader()
    async with running(engine) as router:
        await router.open("s1")
        await router.start("s1")
        engine.gate.clear()
        await router.say("s1", 2)
        await router.flush("s1")
        await router.settle()
        await router.close("s1")
        await router.until(lambda: any(s.is_closed for s in router.statuses))
        assert not [t for t in asyncio.all_tasks() if t.get_name() == "asr-s1"]
        engine.gate.set()


async def test_the_scripted_engine_serves_a_turn_from_its_settings() -> None:
    engine = ScriptedEngine(["yes please"], words_per_s=20)
    async with running(engine) as router:
        await router.open("s1")
        router.spoken = 10  # loud enough to count as speech
        await router.start("s1")
        await router.say("s1", 2)
        await router.flush("s1")
        await router.until(lambda: router.finals)
        assert router.finals[0].stable == "yes please"


async def test_a_pause_is_decoded_before_the_partials_of_other_calls() -> None:
    engine = Reader()
    async with running(engine) as router:
        for sid in ("busy", "talking", "pausing"):
            await router.open(sid)
        engine.gate.clear()
        order: list[int] = []
        original = gate.transcribe

        def noting(engine_: object, pcm: Samples, hint: Hint, speech_s: float | None) -> Heard:
            order.append(hint.turn)
            return original(engine, pcm, hint, speech_s)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("services.asr.decoding.transcribe", noting)
            for turn, (sid, silent_ms) in enumerate((("busy", 0), ("talking", 0), ("pausing", 60)), start=1):
                router.at = 0
                await router.start(sid, turn=turn)
                for _ in range(30 if not silent_ms else 5):
                    await router.frame(sid, 1)
                await router.silence(sid, silent_ms)
            await router.settle()
            engine.gate.set()
            await router.until(lambda: "talking" in {p.stamp.sid for p in router.partials})
        assert order == [1, 3, 2]
