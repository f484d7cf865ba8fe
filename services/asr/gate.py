"""What keeps words out of the transcript that nobody said.

A recogniser that is given noise writes something. Two questions are put to every piece of audio: before decoding,
whether it sounds like a voice at all; after it, whether the engine was sure and wrote what speech looks like. README.md
has the measurements behind the numbers.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from services.asr.agreement import spoken, words_of
from services.asr.engine import NOTHING, SAMPLE_RATE, AsrEngine, Hint, Recognition, Samples


class Rejection(StrEnum):
    """Why no words came out; the label `reason` of `halfbeat_asr_rejected_total`."""

    QUIET = "quiet"
    STEADY = "steady"
    UNVOICED = "unvoiced"
    NO_SPEECH = "no_speech"
    UNSURE = "unsure"
    LOOPING = "looping"
    TOO_FAST = "too_fast"
    PHANTOM = "phantom"


@dataclass(frozen=True, slots=True)
class Sound:
    """What a piece of audio is like, without knowing words.

    Attributes:
        level_dbfs: level of its loud parts (95th percentile of 20 ms frames).
        range_db: how far its quiet parts (10th percentile) are below them; speech has pauses, a hum has none.
        voiced_s: how much of it has the period of a voice (60-400 Hz).
    """

    level_dbfs: float
    range_db: float
    voiced_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What was recognised, and why it is nothing if the gate decided that."""

    recognition: Recognition
    rejection: Rejection | None = None


_MIN_LEVEL_DBFS = -60.0
_MIN_RANGE_DB = 5.0
_MIN_VOICED_S = 0.06
# Loudness counts as voice only this near the loud parts.
_VOICED_WITHIN_DB = 25.0
_MIN_PERIODICITY = 0.5
_MIN_CONFIDENCE = 0.37
_MAX_NO_SPEECH = 0.6
_SURE = 0.7
_SPEECH_BELOW = 0.3
_MAX_WORDS_PER_S = 7.0
_SPARE_WORDS = 2
_MAX_REPEATS = 4
_MAX_LOOP_WORDS = 6
# What models trained on subtitles write for music and noise. Nobody on a phone says only that.
_PHANTOMS = frozenset({"you", "thank you for watching", "thanks for watching", "thank you for watching this video"})
# What they also write for it, but people do say; said by people, the engine is sure of it.
_DOUBTFUL = frozenset({"thank you", "thanks", "bye", "oh", "uh", "eh", "hmm", "mmhmm", "okay"})
_NOT_WORDS = re.compile(r"♪[^♪]*♪?|©.*|\[[^\]]*\]|\([^)]*\)")

_FRAME = SAMPLE_RATE // 50


def transcribe(engine: AsrEngine, pcm: Samples, hint: Hint, speech_s: float | None) -> Heard:
    """Recognises what sounds like speech; blocks.

    Args:
        engine: recogniser.
        pcm: one stretch, 16 kHz.
        hint: passed on to the engine.
        speech_s: how much of it VAD held for speech, if it said.
    """
    rejection = sounds_unlike_speech(listen(pcm))
    if rejection is not None:
        return Heard(NOTHING, rejection)
    recognition = engine.transcribe(pcm, hint)
    return judge(recognition, len(pcm) / SAMPLE_RATE if speech_s is None else speech_s)


def listen(pcm: Samples) -> Sound:
    """Measures a piece of audio; about 1 ms for 4 s."""
    count = len(pcm) // _FRAME
    if count == 0:
        return Sound(-120.0, 0.0, 0.0)
    frames = pcm[: count * _FRAME].reshape(count, _FRAME)
    levels = 10 * np.log10(np.mean(np.square(frames), axis=1) + 1e-12)
    loud, quiet = np.percentile(levels, (95, 10))
    # Periodicity at 8 kHz in 40 ms frames: the normalised autocorrelation's highest value between 60 and 400 Hz.
    half = pcm[: len(pcm) // 4 * 4].reshape(-1, 2).mean(axis=1)
    size = 320
    blocks = half[: len(half) // size * size].reshape(-1, size)
    blocks = blocks - blocks.mean(axis=1, keepdims=True)
    energy = 10 * np.log10(np.mean(np.square(blocks), axis=1) + 1e-12)
    blocks = blocks[energy > loud - _VOICED_WITHIN_DB]
    spectrum = np.abs(np.fft.rfft(blocks, 2 * size, axis=1)) ** 2
    correlation = np.fft.irfft(spectrum, axis=1)
    lags = np.arange(8000 // 400, 8000 // 60)
    overlap = (size - lags) / size
    periodicity = (correlation[:, lags] / overlap / (correlation[:, :1] + 1e-9)).max(axis=1, initial=0.0)
    voiced_s = float(np.count_nonzero(periodicity > _MIN_PERIODICITY)) * size / 8000
    return Sound(float(loud), float(loud - quiet), voiced_s)


def sounds_unlike_speech(sound: Sound) -> Rejection | None:
    """Why this cannot be speech, or None if it may be."""
    if sound.level_dbfs < _MIN_LEVEL_DBFS:
        return Rejection.QUIET
    if sound.range_db < _MIN_RANGE_DB:
        return Rejection.STEADY
    if sound.voiced_s < _MIN_VOICED_S:
        return Rejection.UNVOICED
    return None


def judge(recognition: Recognition, speech_s: float) -> Heard:
    """Decides whether what the engine wrote was said; may shorten it.

    Args:
        recognition: the engine's answer.
        speech_s: how much speech there was at most.
    """
    text = " ".join(_NOT_WORDS.sub(" ", recognition.text).split())
    words = words_of(text)
    kept = without_loop(words)
    is_looping = len(kept) < len(words)
    sounds = " ".join(map(spoken, kept))
    rejection: Rejection | None = None
    if not kept:
        rejection = Rejection.PHANTOM if recognition.text else None
    elif sounds in _PHANTOMS:
        rejection = Rejection.PHANTOM
    elif (is_looping and len(kept) <= _MAX_LOOP_WORDS) or (is_looping and recognition.is_truncated):
        rejection = Rejection.LOOPING
    elif _is_unsure(recognition, sounds):
        rejection = Rejection.UNSURE
    elif (
        recognition.no_speech is not None
        and recognition.no_speech > _MAX_NO_SPEECH
        and (recognition.confidence or 0.0) < _SURE
    ):
        rejection = Rejection.NO_SPEECH
    elif len(kept) > _SPARE_WORDS + _MAX_WORDS_PER_S * speech_s:
        rejection = Rejection.TOO_FAST
    if rejection is not None:
        return Heard(NOTHING, rejection)
    if not is_looping and text == recognition.text:
        return Heard(recognition)
    times = recognition.words[: len(kept)] if len(recognition.words) >= len(kept) else ()
    return Heard(
        Recognition(" ".join(kept), times, recognition.confidence, recognition.no_speech, recognition.is_truncated)
    )


def _is_unsure(recognition: Recognition, sounds: str) -> bool:
    """Low confidence; an engine that is sure that somebody spoke may be unsure of a short word."""
    if recognition.no_speech is not None and recognition.no_speech < _SPEECH_BELOW:
        return False
    needed = _SURE if sounds in _DOUBTFUL else _MIN_CONFIDENCE
    return recognition.confidence is not None and recognition.confidence < needed


def without_loop(words: tuple[str, ...]) -> tuple[str, ...]:
    """Cuts the text where one to six words are said four times or more in a row; the first time is kept."""
    sounds = [spoken(w) for w in words]
    for at in range(len(sounds)):
        for length in range(1, min(_MAX_LOOP_WORDS, (len(sounds) - at) // _MAX_REPEATS) + 1):
            unit = sounds[at : at + length]
            if all(sounds[at + k * length : at + (k + 1) * length] == unit for k in range(1, _MAX_REPEATS)):
                return words[: at + length]
    return words
