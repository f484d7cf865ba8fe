"""Says what the script says, exactly as fast as it says, for tests and load runs. Never a default."""

import time
from collections.abc import Sequence

import numpy as np

from services.asr.engine import NO_HINT, NOTHING, SAMPLE_RATE, Hint, Recognition, Samples, Word

# A frame louder than this counts as speech.
_SPEECH_DBFS = -50.0
_FRAME = SAMPLE_RATE // 50


class ScriptedEngine:
    """Turn n is heard as text n of the script; its words appear in proportion to how much speech the audio holds.

    Args:
        texts: one for each turn, from turn 1; they start again after the last.
        words_per_s: words revealed for each second of speech; a high number reveals the text at once.
        decode_ms: how long each decode takes, in ms.
    """

    name = "scripted"

    def __init__(self, texts: Sequence[str], *, words_per_s: float = 3.0, decode_ms: float = 0.0) -> None:
        if not texts or words_per_s <= 0 or decode_ms < 0:
            raise ValueError("a script needs texts, a positive words_per_s and a decode_ms that is not negative")
        self._texts = tuple(texts)
        self._words_per_s = words_per_s
        self._decode_s = decode_ms / 1000

    def load(self) -> None:
        """Has nothing to load."""

    def transcribe(self, pcm: Samples, hint: Hint = NO_HINT) -> Recognition:
        """See `AsrEngine.transcribe`; the same audio and turn always give the same words."""
        if self._decode_s:
            time.sleep(self._decode_s)
        frames = pcm[: len(pcm) // _FRAME * _FRAME].reshape(-1, _FRAME)
        is_loud = np.mean(np.square(frames), axis=1) > 10 ** (_SPEECH_DBFS / 10)
        speech_s = float(np.count_nonzero(is_loud)) * _FRAME / SAMPLE_RATE
        words = self._texts[(max(hint.turn, 1) - 1) % len(self._texts)].split()
        words = words[: round(speech_s * self._words_per_s)]
        if not words:
            return NOTHING
        begin_s = float(np.argmax(is_loud)) * _FRAME / SAMPLE_RATE
        step_s = 1 / self._words_per_s
        times = tuple(Word(w, begin_s + i * step_s, begin_s + (i + 1) * step_s) for i, w in enumerate(words))
        return Recognition(" ".join(words), words=times, confidence=1.0, no_speech=0.0)
