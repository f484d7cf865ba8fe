"""The engine for tests is exact."""

import numpy as np
import pytest

from services.asr.engine import Hint
from services.asr.engines.scripted import ScriptedEngine

RATE = 16_000


def sound(seconds: float) -> np.ndarray:
    return np.full(int(seconds * RATE), 0.1, np.float32)


def test_words_appear_in_proportion_to_the_speech() -> None:
    engine = ScriptedEngine(["one two three four", "yes please"], words_per_s=2)
    assert engine.transcribe(sound(1.0), Hint(turn=1)).text == "one two"
    assert engine.transcribe(np.concatenate((sound(1.0), np.zeros(RATE, np.float32)))).text == "one two"
    assert engine.transcribe(sound(9.0), Hint(turn=1)).text == "one two three four"
    assert engine.transcribe(np.zeros(RATE, np.float32), Hint(turn=1)).text == ""


def test_each_turn_has_its_text_and_the_script_starts_again() -> None:
    engine = ScriptedEngine(["one", "two"], words_per_s=10)
    assert [engine.transcribe(sound(1.0), Hint(turn=t)).text for t in (1, 2, 3)] == ["one", "two", "one"]


def test_words_have_times() -> None:
    pcm = np.concatenate((np.zeros(RATE, np.float32), sound(1.0)))
    words = ScriptedEngine(["one two"], words_per_s=2).transcribe(pcm).words
    assert [(w.text, w.start_s, w.end_s) for w in words] == [("one", 1.0, 1.5), ("two", 1.5, 2.0)]


def test_a_script_without_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="texts"):
        ScriptedEngine([])
