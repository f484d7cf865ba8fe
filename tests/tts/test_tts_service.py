"""The tts service on an in-memory bus: clauses in, frames out, and nothing of what became void."""

import asyncio
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY
from tts_stage import GatedEngine, eventually, quick, running

from halfbeat.clock import run_virtual
from halfbeat.engine_threads import EngineThreads
from halfbeat.v1 import common_pb2
from services.tts.cache import AudioCache
from services.tts.engine import Chunk, TtsEngine
from services.tts.engines.scripted import Script, ScriptedEngine
from services.tts.voice import Voice


class BrokenEngine(ScriptedEngine):
    """Raises what an engine's library might."""

    def synthesize(
        self, text: str, *, voice: str = "", speed: float = 1.0, is_hurried: bool = False
    ) -> Iterator[Chunk]:
        if "bad" in text:
            raise ValueError("shape mismatch in layer 7")
        yield from super().synthesize(text, voice=voice, speed=speed, is_hurried=is_hurried)


async def test_a_clause_becomes_frames_with_its_words_and_an_end() -> None:
    async with running(quick()) as router:
        assert not (await router.open("a")).HasField("error")
        await router.say("a", "Your truck comes at 7 AM.")
        await router.until(lambda: router.ended("a"))
        audio = router.audio
        offset = 0
        for seq, message in enumerate(audio):
            assert (message.stamp.seq, message.offset_samples) == (seq, offset)
            assert (message.stamp.epoch, message.stamp.turn, message.clause) == (1, 1, 0)
            assert len(message.pcm) % 640 == 0
            assert len(message.pcm) <= 6400
            offset += len(message.pcm) // 2
        assert offset == 16_000 * (5 * 300 + 100) // 1000
        words = [w for m in audio for w in m.words]
        text = "Your truck comes at 7 AM."
        assert [text[w.char_start : w.char_end] for w in words] == ["Your", "truck", "comes", "at", "7 AM."]
        assert [w.start_samples for w in words] == [0, 4800, 9600, 14_400, 19_200]


async def test_the_first_frame_tells_what_each_hop_has_spent() -> None:
    async with running(quick()) as router:
        await router.open("a")
        await router.say("a", "Okay, one moment please.")
        await router.until(lambda: router.ended("a"))
        assert [r.hop for r in router.audio[0].stamp.residence] == ["dialogue", "tts"]
        assert not any(m.stamp.residence for m in router.audio[1:])


async def test_clauses_are_spoken_one_after_the_other() -> None:
    async with running(quick(), workers=2) as router:
        await router.open("a")
        for index in range(5):
            await router.say("a", "One two three four.", index)
        await router.until(lambda: len(router.ended("a")) == 5)
        assert router.ended("a") == [0, 1, 2, 3, 4]
        spoken = [m.clause for m in router.audio]
        assert spoken == sorted(spoken)


async def test_one_session_too_many_is_refused_as_at_capacity_and_a_free_slot_is_given_again() -> None:
    async with running(quick(), slots=1) as router:
        assert not (await router.open("a")).HasField("error")
        refused = await router.open("b")
        assert refused.error.code == common_pb2.ERROR_CODE_AT_CAPACITY
        assert refused.error.retryable
        await router.close("a")
        await eventually(lambda: REGISTRY.get_sample_value("halfbeat_active_sessions", {"service": "tts"}) == 0)
        assert not (await router.open("b")).HasField("error")


async def test_a_newer_epoch_stops_the_engine_and_nothing_older_is_heard_after_it() -> None:
    engine = GatedEngine()
    async with running(engine) as router:
        await router.open("a")
        await router.say("a", "old", 0)
        await router.say("a", "waiting", 1)
        engine.gate.release()
        await router.until(lambda: router.audio)
        dropped = REGISTRY.get_sample_value
        labels = {"kind": "dialogue.clause", "reason": "stale_epoch"}
        before = dropped("halfbeat_dropped_total", labels) or 0
        stops = dropped("halfbeat_stop_seconds_count", {"service": "tts"}) or 0
        await router.advance("a", 2)
        await router.say("a", "new", 0, epoch=2, turn=2)
        await eventually(lambda: (dropped("halfbeat_dropped_total", labels) or 0) >= before + 2)
        engine.gate.release(10)
        await router.until(lambda: router.ended("a"))
        assert {m.stamp.epoch for m in router.audio[1:]} == {2}
        assert dropped("halfbeat_stop_seconds_count", {"service": "tts"}) == stops + 1
        assert engine.made.count("old") <= 2  # the piece in progress may be finished, no other begun
        assert "waiting" not in engine.made
        assert engine.closed[0] == "old"
        assert next(m.stamp.seq for m in router.audio if m.stamp.epoch == 2) == 0


async def test_an_answer_after_a_barge_in_does_not_wait_for_the_sound_of_the_one_it_cut() -> None:
    engine = GatedEngine(pieces=1, piece_s=5.5)  # just under what may be made ahead
    engine.gate.release(9)
    async with running(engine) as router:
        await router.open("a")
        await router.say("a", "a long answer")
        await router.until(lambda: len(router.ended("a")) == 1)
        await router.advance("a", 2)
        await router.say("a", "yes?", epoch=2, turn=2)
        await router.until(lambda: len(router.ended("a")) == 2, within_s=3)


async def test_a_clause_of_a_past_epoch_is_never_spoken() -> None:
    async with running(quick()) as router:
        await router.open("a", epoch=5)
        await router.say("a", "too old", epoch=4)
        await router.say("a", "current", epoch=5)
        await router.until(lambda: router.ended("a"))
        assert {m.stamp.epoch for m in router.audio} == {5}


async def test_a_voice_that_fails_says_so_and_speaks_the_next_clause() -> None:
    engine = ScriptedEngine(Script(fails_on="bad"), sleep=lambda _: None)
    async with running(engine) as router:
        await router.open("a")
        await router.say("a", "a bad one", 0)
        await router.say("a", "a good one", 1)
        await router.until(lambda: len(router.ended("a")) == 2)
        failed = [m for m in router.audio if m.HasField("error")]
        assert [(m.clause, m.is_last, m.error.code) for m in failed] == [(0, True, common_pb2.ERROR_CODE_ENGINE)]
        assert sum(len(m.pcm) for m in router.audio if m.clause == 1) > 0


async def test_what_an_engine_raises_stays_with_its_session() -> None:
    async with running(BrokenEngine(Script(), sleep=lambda _: None)) as router:
        await router.open("a")
        await router.open("b")
        await router.say("a", "a bad one")
        await router.say("b", "a good one")
        await router.until(lambda: router.ended("a") and router.ended("b"))
        (failed,) = [m for m in router.audio if m.HasField("error")]
        assert failed.stamp.sid == "a"
        assert failed.error.code == common_pb2.ERROR_CODE_ENGINE
        assert "layer 7" not in failed.error.message  # the cause is for the log


async def test_a_session_that_closes_mid_clause_frees_the_engine() -> None:
    engine = GatedEngine()
    async with running(engine) as router:
        await router.open("a")
        await router.say("a", "cut off")
        engine.gate.release()
        await router.until(lambda: router.audio)
        await router.close("a")
        await eventually(lambda: REGISTRY.get_sample_value("halfbeat_active_sessions", {"service": "tts"}) == 0)
        engine.gate.release(5)
        await eventually(lambda: engine.closed == ["cut off"])
        assert engine.made.count("cut off") <= 2


async def test_a_clause_that_cannot_be_said_still_ends() -> None:
    async with running(quick()) as router:
        await router.open("a")
        await router.say("a", "…")
        await router.until(lambda: router.ended("a"))
        assert router.audio[0].pcm == b""


def test_the_engine_works_ahead_of_real_time_by_no_more_than_the_setting() -> None:
    async def speak() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        engine: TtsEngine = ScriptedEngine(Script(word_ms=1000, pause_ms=0), sleep=lambda _: None)
        threads = EngineThreads(engine, workers=1)
        began_s, made_s, furthest_s = loop.time(), 0.0, 0.0
        async for piece in Voice(threads, AudioCache(0), ahead_s=2.0).speak("one two three four five six seven"):
            made_s += len(piece.pcm) / 32_000
            furthest_s = max(furthest_s, made_s - (loop.time() - began_s))
        await threads.aclose()
        return made_s, furthest_s

    made_s, furthest_s = run_virtual(speak())
    assert made_s == pytest.approx(7.0)
    assert 2.0 <= furthest_s <= 2.3
