"""No words that nobody said."""

import numpy as np
import pytest

from services.asr.engine import NO_HINT, Hint, Recognition, Samples
from services.asr.gate import Rejection, judge, listen, sounds_unlike_speech, transcribe, without_loop

RATE = 16_000
TIME = np.arange(3 * RATE) / RATE
RNG = np.random.default_rng(7)


def syllables(seconds: float = 2.0) -> Samples:
    """What a voice looks like to the gate: a buzz of 120 Hz, four times a second."""
    t = np.arange(int(seconds * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 12))
    return (0.1 * buzz * (np.sin(2 * np.pi * 4 * t) > 0)).astype(np.float32)


class Talker:
    """An engine that always hears the same."""

    name = "talker"

    def __init__(self) -> None:
        self.calls = 0

    def load(self) -> None:
        """Nothing to load."""

    def transcribe(self, pcm: Samples, hint: Hint = NO_HINT) -> Recognition:
        """Says a sentence whatever it is given."""
        self.calls += 1
        return Recognition("thank you for calling", confidence=0.9)


@pytest.mark.parametrize(
    ("what", "pcm", "why"),
    [
        ("silence", np.zeros(3 * RATE), Rejection.QUIET),
        ("a quiet line", RNG.normal(0, 0.0005, 3 * RATE), Rejection.QUIET),
        ("hiss", RNG.normal(0, 0.05, 3 * RATE), Rejection.STEADY),
        ("hum", 0.1 * np.sin(2 * np.pi * 100 * TIME), Rejection.STEADY),
        ("a chord", 0.1 * sum(np.sin(2 * np.pi * f * TIME) for f in (440, 554, 659)), Rejection.STEADY),
        ("gusts", RNG.normal(0, 0.05, 3 * RATE) * (1 + np.sin(2 * np.pi * 3 * TIME)), Rejection.UNVOICED),
        ("nothing at all", np.zeros(0), Rejection.QUIET),
    ],
)
def test_what_is_no_voice_never_reaches_the_engine(what: str, pcm: Samples, why: Rejection) -> None:
    engine = Talker()
    heard = transcribe(engine, pcm.astype(np.float32), NO_HINT, None)
    assert (heard.recognition.text, heard.rejection) == ("", why), what
    assert engine.calls == 0


def test_what_may_be_a_voice_reaches_the_engine() -> None:
    engine = Talker()
    assert sounds_unlike_speech(listen(syllables())) is None
    assert transcribe(engine, syllables(), NO_HINT, None).recognition.text == "thank you for calling"
    assert transcribe(engine, syllables() / 30, NO_HINT, None).recognition.text, "a quiet caller is heard too"


@pytest.mark.parametrize(
    ("recognition", "why"),
    [
        (Recognition("You", confidence=0.9), Rejection.PHANTOM),
        (Recognition("Thank you for watching!", confidence=0.9), Rejection.PHANTOM),
        (Recognition("♪♪ ♪", confidence=0.9), Rejection.PHANTOM),
        (Recognition("Thank you.", confidence=0.55), Rejection.UNSURE),
        (Recognition("[Music]", confidence=0.9), Rejection.PHANTOM),
        (Recognition("I'm sorry, I'm sorry, I'm sorry, I'm sorry, I", is_truncated=True), Rejection.LOOPING),
        (Recognition("The other is a.", confidence=0.25), Rejection.UNSURE),
        (Recognition("The other is a.", confidence=0.25, no_speech=0.4), Rejection.UNSURE),
        (Recognition("I know.", confidence=0.5, no_speech=0.9), Rejection.NO_SPEECH),
        (Recognition(" ".join(f"word{i}" for i in range(20)), confidence=0.9), Rejection.TOO_FAST),
    ],
)
def test_what_the_engine_makes_of_noise_is_nothing(recognition: Recognition, why: Rejection) -> None:
    heard = judge(recognition, speech_s=1.0)
    assert (heard.recognition.text, heard.rejection) == ("", why)


@pytest.mark.parametrize(
    "recognition",
    [
        Recognition("Yes.", confidence=0.8),
        Recognition("Yes.", confidence=0.3, no_speech=0.1),
        Recognition("No, no, no.", confidence=0.8),
        Recognition("Thank you.", confidence=0.7, no_speech=0.3),
        Recognition("Bye.", confidence=0.9, no_speech=0.7),
        Recognition("Can I text you?", confidence=0.6),
        Recognition("it was on Tuesday and nobody came", is_truncated=True, confidence=0.6),
        Recognition(""),
    ],
)
def test_what_was_said_passes_unchanged(recognition: Recognition) -> None:
    heard = judge(recognition, speech_s=1.0)
    assert heard.recognition == recognition
    assert heard.rejection is None


def test_a_sentence_that_ends_in_a_loop_is_cut_where_the_loop_begins() -> None:
    said = "please send me a text tonight and tomorrow"
    heard = judge(Recognition(said + " tomorrow" * 4, confidence=0.8), speech_s=3.0)
    assert heard.recognition.text == said
    assert without_loop(("no", "no", "no")) == ("no", "no", "no")
