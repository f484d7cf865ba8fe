"""Audio is ready before it is needed: from the cache, made when nobody waits, and not for what became void."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY
from tts_stage import GatedEngine, Router, eventually, quick, running

from halfbeat.v1 import tts_pb2
from services.tts.config import TtsSettings
from services.tts.engines.scripted import Script, ScriptedEngine


def said(router: Router, turn: int) -> list[tuple[int, bytes, list[tuple[int, int, int, int]]]]:
    """All that was sent for one turn."""
    return [
        (m.offset_samples, m.pcm, [(w.char_start, w.char_end, w.start_samples, w.end_samples) for w in m.words])
        for m in router.audio
        if m.stamp.turn == turn
    ]


def looked_up(found: str) -> float:
    return REGISTRY.get_sample_value("halfbeat_tts_cache_total", {"found": found}) or 0.0


async def test_a_clause_that_was_spoken_before_comes_from_the_cache_without_the_engine() -> None:
    engine = GatedEngine()
    engine.gate.release(3)
    async with running(engine) as router:
        await router.open("a")
        await router.open("b")
        await router.say("a", "Okay, one moment.")
        await router.until(lambda: router.ended("a"))
        await eventually(lambda: engine.closed)
        hits = looked_up("hit")
        await router.say("b", "Okay, one moment.", turn=2)  # the gate is shut
        await router.until(lambda: router.ended("b"))
        assert said(router, 2) == said(router, 1)
        assert len(engine.made) == 3
        assert looked_up("hit") == hits + 1
        assert (REGISTRY.get_sample_value("halfbeat_tts_cache_bytes") or 0) > 3 * 6400


async def test_words_from_the_cache_are_timed_as_they_were() -> None:
    async with running(quick()) as router:
        await router.open("a")
        for turn in (1, 2):
            await router.say("a", "Your truck comes at 7 AM.", turn=turn)
            await router.until(lambda turn=turn: len(router.ended("a")) == turn)  # type: ignore[misc]
        assert said(router, 2) == said(router, 1)
        assert sum(len(words) for _, _, words in said(router, 2)) == 5


async def test_a_clause_that_was_cut_off_is_not_in_the_cache() -> None:
    engine = GatedEngine()
    async with running(engine) as router:
        await router.open("a")
        await router.say("a", "cut off")
        engine.gate.release()
        await router.until(lambda: router.audio)
        await router.advance("a", 2)
        engine.gate.release(10)
        await router.say("a", "cut off", epoch=2, turn=2)
        await router.until(lambda: router.ended("a"))
        assert len(said(router, 2)) >= 3
        assert engine.made.count("cut off") >= 4


async def test_what_was_prepared_is_spoken_without_the_engine() -> None:
    engine = GatedEngine(pieces=1)
    async with running(engine) as router:
        await router.open("a")
        engine.gate.release(2)
        await router.prepare("a", "Okay,", "Well,")
        await eventually(lambda: engine.closed == ["Okay,", "Well,"])
        assert router.audio == []
        await router.say("a", "Well,")
        await router.until(lambda: router.ended("a"))
        assert engine.made == ["Okay,", "Well,"]


async def test_what_is_to_be_heard_goes_before_what_is_prepared() -> None:
    engine = GatedEngine(pieces=2)
    async with running(engine) as router:
        await router.open("a")
        await router.open("b")
        await router.prepare("a", "Okay,", "Well,")
        await eventually(lambda: engine.hurried)  # the first is begun
        misses = looked_up("miss")
        await router.say("b", "urgent")
        await eventually(lambda: looked_up("miss") == misses + 1)
        await asyncio.sleep(0)  # it waits for the engine now
        engine.gate.release(20)
        await eventually(lambda: len(engine.closed) == 3)
        assert engine.made == ["Okay,", "urgent", "urgent", "Okay,", "Well,", "Well,"]


async def test_two_sessions_prepare_one_clause_after_the_other() -> None:
    engine = GatedEngine(pieces=2)
    async with running(engine, workers=2) as router:
        for sid in ("a", "b"):
            await router.open(sid)
            await router.prepare(sid, f"for {sid}")
        engine.gate.release(20)
        await eventually(lambda: len(engine.closed) == 2)
        assert engine.made == ["for a", "for a", "for b", "for b"]


async def test_a_session_that_closes_prepares_no_more() -> None:
    engine = GatedEngine(pieces=1)
    async with running(engine) as router:
        await router.open("a")
        await router.prepare("a", "one", "two")
        await eventually(lambda: engine.hurried)
        await router.close("a")
        await eventually(lambda: REGISTRY.get_sample_value("halfbeat_active_sessions", {"service": "tts"}) == 0)
        engine.gate.release(20)
        await eventually(lambda: engine.closed)
        assert engine.made == ["one"]


async def test_more_than_is_sensible_to_prepare_is_dropped_and_counted() -> None:
    def dropped(reason: str) -> float:
        labels = {"kind": "tts.prepare", "reason": reason}
        return REGISTRY.get_sample_value("halfbeat_dropped_total", labels) or 0.0

    before = dropped("ring_full"), dropped("too_large")
    engine = GatedEngine(pieces=1)
    async with running(engine) as router:
        await router.open("a")
        await router.prepare("a", "word " * 100, *(f"text {i}" for i in range(40)))
        await eventually(lambda: (dropped("ring_full"), dropped("too_large")) == (before[0] + 8, before[1] + 1))
        engine.gate.release(100)


async def test_the_openers_of_the_settings_are_ready_when_the_first_call_comes() -> None:
    engine = GatedEngine(pieces=1)
    engine.gate.release(2)
    async with running(engine, prepare=["Okay,", "Well,"]) as router:
        await eventually(lambda: engine.closed == ["Okay,", "Well,"])
        await router.open("a")
        await router.say("a", "Okay,")
        await router.until(lambda: router.ended("a"))
        assert engine.made == ["Okay,", "Well,"]


def test_a_worker_prepares_openers_unless_told_otherwise() -> None:
    assert "Okay," in TtsSettings().prepare


async def test_a_draft_is_not_rendered_further_when_the_caller_goes_on() -> None:
    engine = GatedEngine()
    async with running(engine) as router:
        await router.open("a")
        await router.say("a", "draft", turn=3)
        engine.gate.release()
        await router.until(lambda: router.audio)
        labels = {"kind": "dialogue.clause", "reason": "stale_revision"}
        before = REGISTRY.get_sample_value("halfbeat_dropped_total", labels) or 0.0
        stops = REGISTRY.get_sample_value("halfbeat_stop_seconds_count", {"service": "tts"}) or 0
        await router.resume("a", turn=3, revision=1)
        await eventually(lambda: REGISTRY.get_sample_value("halfbeat_dropped_total", labels) == before + 1)
        stopped = {"service": "tts"}
        await eventually(lambda: REGISTRY.get_sample_value("halfbeat_stop_seconds_count", stopped) == stops + 1)
        heard = len(router.audio)
        engine.gate.release(20)
        await eventually(lambda: engine.closed == ["draft"])
        assert engine.made.count("draft") <= 2  # the piece in progress may be finished, no other begun
        await router.say("a", "draft", turn=3, revision=1)
        await router.until(lambda: router.ended("a"))
        assert {m.stamp.revision for m in router.audio[heard:]} == {1}


async def test_with_little_of_the_budget_left_the_voice_hurries_and_says_so() -> None:
    engine = GatedEngine(pieces=2)
    engine.gate.release(20)
    async with running(engine, share_ms=100) as router:
        await router.open("a")
        for turn, left_ms in ((1, 600), (2, 40), (3, 0)):
            await router.say("a", f"in turn {turn}", turn=turn, budget_left_ms=left_ms)
            await router.until(lambda turn=turn: len(router.ended("a")) == turn)  # type: ignore[misc]
        assert engine.hurried == [False, True, False]
        assert [m.stamp.turn for m in router.audio if m.is_over_budget] == [2]


async def test_time_in_our_own_queue_counts_against_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = GatedEngine(pieces=1)
    engine.gate.release(5)
    later = SimpleNamespace(monotonic_ns=lambda: time.monotonic_ns() + 50_000_000, time_ns=time.time_ns)
    async with running(engine, share_ms=100) as router:
        await router.open("a")
        await router.say("a", "in time", turn=1, budget_left_ms=130)
        await router.until(lambda: len(router.ended("a")) == 1)
        monkeypatch.setattr("services.tts.service.time", later)  # it is begun 50 ms after it came
        await router.say("a", "after a wait", turn=2, budget_left_ms=130)
        await router.until(lambda: len(router.ended("a")) == 2)
        assert engine.hurried == [False, True]


async def test_what_is_in_the_cache_needs_no_hurry() -> None:
    engine = GatedEngine(pieces=1)
    engine.gate.release()
    async with running(engine, share_ms=100) as router:
        await router.open("a")
        await router.say("a", "Okay,", turn=1)
        await router.until(lambda: len(router.ended("a")) == 1)
        await router.say("a", "Okay,", turn=2, budget_left_ms=1)
        await router.until(lambda: len(router.ended("a")) == 2)
        assert not any(m.is_over_budget for m in router.audio)


async def test_the_scripted_voice_sounds_from_its_first_sample_on() -> None:
    import numpy as np

    async with running(ScriptedEngine(Script(), sleep=lambda _: None)) as router:
        await router.open("a")
        await router.say("a", "Okay,")
        await router.until(lambda: router.ended("a"))
        first: tts_pb2.SpeechAudio = router.audio[0]
        pcm = np.frombuffer(first.pcm, "<i2") / 32768
        assert np.flatnonzero(np.abs(pcm) > 10 ** (-45 / 20))[0] <= 0.010 * 16_000
