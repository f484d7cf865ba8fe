"""Features of the turn detector."""

import numpy as np
import pytest

from services.router.mel import log_mel
from services.router.smart_turn import SPAN_SAMPLES, features


def test_features_are_those_of_whisper() -> None:
    extractor = pytest.importorskip("faster_whisper.feature_extractor").FeatureExtractor(feature_size=80)
    audio = (np.random.default_rng(3).normal(size=48_000) * 0.1).astype(np.float32)
    audio[16_000:20_000] = 0
    expected = extractor(audio, padding=0)[:, :300]
    assert np.abs(log_mel(audio) - expected).max() < 1e-5


def test_short_turns_get_silence_before_them_and_long_ones_lose_their_beginning() -> None:
    turn = (np.random.default_rng(4).normal(size=10 * 16_000) * 3000).astype(np.int16)
    assert features(turn[:8000]).shape == features(turn).shape == (1, 80, 800)
    assert np.array_equal(features(turn), features(turn[-SPAN_SAMPLES:]))
    loud = features(turn[:8000])[0].mean(axis=0)
    assert loud[-40:].min() > loud[:700].max(), "the end of the span is the end of the turn"


def test_level_makes_no_difference() -> None:
    turn = (np.random.default_rng(5).normal(size=32_000) * 8000).astype(np.int16)
    assert np.abs(features(turn) - features((turn // 4).astype(np.int16))).max() < 0.05
