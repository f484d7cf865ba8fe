"""The router's real models on made speech, and on what is none."""

import time
from pathlib import Path

import numpy as np
import pytest

from halfbeat import models
from halfbeat.audio import MU_LAW, RATE_HZ, Resampler, Samples, samples_of
from halfbeat.errors import EngineFailed, TimedOut
from services.router.config import RouterSettings
from services.router.edge import Cleaning
from services.router.endpoint import Voice, VoiceActivity, VoiceSettings
from services.router.engine import WINDOW_SAMPLES
from services.router.models import RouterModels
from services.router.smart_turn import SmartTurn
from services.router.vad import Silero
from services.tts.engines.vits import VitsEngine

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def silero() -> Silero:
    return Silero(models.path("silero-vad"))


@pytest.fixture(scope="module")
def smart_turn() -> SmartTurn:
    with SmartTurn(models.path("smart-turn-v3")) as detector:
        yield detector


@pytest.fixture(scope="module")
def speech() -> Samples:
    engine = VitsEngine(models.path("piper-en-us-joe-medium"))
    engine.load()
    chunks = list(engine.synthesize("The trash was not picked up on my street this morning."))
    pcm = np.concatenate([chunk.samples for chunk in chunks])
    return samples_of(Resampler(engine.sample_rate, RATE_HZ).process((pcm * 20_000).astype("<i2").tobytes()))


def over_the_phone(pcm: Samples) -> Samples:
    down, up = Resampler(RATE_HZ, 8000), Resampler(8000, RATE_HZ)
    return samples_of(up.process(MU_LAW.decode(MU_LAW.encode(down.process(pcm.tobytes())))))


def voices(silero: Silero, pcm: Samples) -> list[Voice]:
    detector, activity = silero.detector(), VoiceActivity(VoiceSettings())
    return [
        activity.push(detector.probability(pcm[at : at + WINDOW_SAMPLES]), pcm[at : at + WINDOW_SAMPLES], at + 512)
        for at in range(0, len(pcm) - WINDOW_SAMPLES + 1, WINDOW_SAMPLES)
    ]


@pytest.mark.parametrize("is_phone", [False, True])
def test_speech_is_voice_from_its_first_to_its_last_sample(silero: Silero, speech: Samples, is_phone: bool) -> None:
    pad = np.zeros(RATE_HZ // 2, dtype=np.int16)
    pcm = np.concatenate((pad, speech, pad))
    heard = voices(silero, over_the_phone(pcm) if is_phone else pcm)
    loud = np.flatnonzero(np.abs(speech) > 600)
    active = [v for v in heard if v.is_active]
    assert active[0].start_samples == pytest.approx(8000 + loud[0], abs=RATE_HZ * 0.1)
    assert active[-1].last_voiced_samples == pytest.approx(8000 + loud[-1], abs=RATE_HZ * 0.06)


def test_hiss_hum_and_silence_are_no_voice(silero: Silero) -> None:
    t = np.arange(5 * RATE_HZ)
    hiss = np.random.default_rng(1).normal(size=t.size) * 600
    hum = 2000 * np.sin(2 * np.pi * 100 * t / RATE_HZ)
    for sound in (hiss, hum, np.zeros(t.size)):
        assert not any(v.is_active for v in voices(silero, sound.astype(np.int16)))


def test_calls_do_not_share_state(silero: Silero, speech: Samples) -> None:
    alone, disturbed, other = silero.detector(), silero.detector(), silero.detector()
    rest = np.zeros(WINDOW_SAMPLES, dtype=np.int16)
    for at in range(0, 20 * WINDOW_SAMPLES, WINDOW_SAMPLES):
        window = speech[at : at + WINDOW_SAMPLES]
        expected = alone.probability(window)
        other.probability(rest)
        assert disturbed.probability(window) == expected


@pytest.mark.parametrize("is_phone", [False, True])
def test_a_finished_sentence_sounds_finished(smart_turn: SmartTurn, speech: Samples, is_phone: bool) -> None:
    end = int(np.flatnonzero(np.abs(speech) > 600)[-1])
    pause = np.zeros(RATE_HZ // 5, dtype=np.int16)
    turn = np.concatenate((speech[:end], pause))
    assert smart_turn.judge(over_the_phone(turn) if is_phone else turn) > 0.7


async def test_a_busy_detector_gives_up_at_its_deadline() -> None:
    with SmartTurn(models.path("smart-turn-v3"), deadline_s=0.05) as detector:
        detector.judge = lambda turn: time.sleep(0.2) or 0.5  # type: ignore[method-assign,assignment,func-returns-value]
        with pytest.raises(TimedOut):
            await detector.probability(np.zeros(RATE_HZ, dtype=np.int16))


def test_a_corrupt_file_is_a_clear_error(tmp_path: object) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")  # type: ignore[operator]
    for load in (Silero, SmartTurn):
        with pytest.raises(EngineFailed, match="cannot be loaded"):
            load(tmp_path)  # type: ignore[arg-type]


def test_a_router_for_tests_needs_no_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HALFBEAT_CACHE", str(tmp_path))
    settings = RouterSettings(voice_detector="loudness", turn_detector="none", cleaning=Cleaning.NOTHING)
    loaded = RouterModels(settings)
    detector = loaded.voice_detector()
    assert detector.probability(np.zeros(WINDOW_SAMPLES, np.int16)) < 0.1
    assert detector.probability(np.full(WINDOW_SAMPLES, 3000, np.int16)) > 0.9
    loaded.close()
