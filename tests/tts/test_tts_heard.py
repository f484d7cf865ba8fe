"""What is spoken is understood: the voice's speech, read back by the default recogniser.

The recogniser errs too, so the bars are on words over several lines, not on each line.
"""

import re

import jiwer
import numpy as np
import onnxruntime
import pytest
import soxr

from halfbeat import models
from halfbeat.audio import MU_LAW
from services.asr.engine import AsrEngine
from services.asr.engines.moonshine import MoonshineEngine
from services.tts.engine import Samples, TtsEngine
from services.tts.engines.vits import VitsEngine
from services.tts.normalise import spoken_text
from services.tts.voices import PitchedEngine, voice_named

pytestmark = pytest.mark.models

LINES = (
    "Hi, I see you're calling from Oak Street.",
    "Are you reporting today's missed trash pickup?",
    "A truck will come tomorrow between 7 and 11 AM.",
    "Your confirmation number is 48213.",
    "I'll send a text to 312-555-0134.",
    "Is there anything else I can help you with?",
    "You're welcome, goodbye!",
    "Hi, yes, my trash was not picked up this morning.",
    "Yes, please send a truck tomorrow morning.",
    "Can you send me a confirmation text?",
    "No, that is all. Thank you very much, goodbye.",
    "The recycling bin is still full.",
    "What time will the truck come?",
    "Could you repeat that please?",
)


@pytest.fixture(scope="module")
def voice() -> TtsEngine:
    # The draw that `halfbeat call` speaks with; by chance some draws swallow words.
    onnxruntime.set_seed(1)
    engine = VitsEngine(models.path("piper-en-us-joe-medium"))
    engine.load()
    return engine


@pytest.fixture(scope="module")
def asr() -> AsrEngine:
    engine = MoonshineEngine(models.path("moonshine-tiny-en"))
    engine.load()
    return engine


def spoken(engine: TtsEngine, text: str, rate_hz: int) -> Samples:
    """Speaks between two quarter seconds of silence, as on a line."""
    silence = np.zeros(engine.sample_rate // 4, dtype=np.float32)
    audio = np.concatenate([silence, *(c.samples for c in engine.synthesize(text)), silence])
    return soxr.resample(audio, engine.sample_rate, rate_hz).astype(np.float32)  # type: ignore[no-any-return]


def over_the_phone(audio_8k: Samples) -> Samples:
    pcm = (np.clip(audio_8k, -1, 1) * 32767).astype("<i2").tobytes()
    heard = np.frombuffer(MU_LAW.decode(MU_LAW.encode(pcm)), "<i2").astype(np.float32) / 32768
    return soxr.resample(heard, 8000, 16_000).astype(np.float32)  # type: ignore[no-any-return]


def plain(text: str) -> str:
    """Both sides in spoken words, so that "7" and "seven", "48213" and "4-8-2-1-3" are the same."""
    said = spoken_text(re.sub(r"(?<=\d)[-\s](?=\d)", "", text)).lower().replace("o'clock", "")
    return " ".join(re.sub(r"[^a-z' ]", " ", said).split())


def word_errors(asr: AsrEngine, pairs: list[tuple[str, Samples]]) -> float:
    heard = [(plain(text), plain(asr.transcribe(audio).text)) for text, audio in pairs]
    for wanted, got in heard:
        print(f"said  {wanted}\nheard {got}")
    return float(jiwer.wer([w for w, _ in heard], [g for _, g in heard]))


def test_the_agent_is_understood(voice: TtsEngine, asr: AsrEngine) -> None:
    assert word_errors(asr, [(t, spoken(voice, t, 16_000)) for t in LINES]) <= 0.15


def test_the_caller_is_understood_over_the_phone(voice: TtsEngine, asr: AsrEngine) -> None:
    caller = PitchedEngine(voice, voice_named("caller"))
    assert word_errors(asr, [(t, over_the_phone(spoken(caller, t, 8000))) for t in LINES]) <= 0.15
