"""A voice with exact timing and no model: for tests and for load runs. Never a default."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from halfbeat.errors import EngineFailed
from services.tts.engine import Chunk, WordTiming
from services.tts.normalise import normalise


@dataclass(frozen=True)
class Script:
    """How the voice behaves.

    Attributes:
        first_audio_ms: from the request to the first piece.
        realtime_factor: seconds of work for a second of audio after that.
        word_ms: how long each written word sounds.
        pause_ms: silence after the last word.
        chunk_ms: audio in one piece.
        fails_on: a clause that holds this text raises `EngineFailed` after its first piece.
    """

    first_audio_ms: float = 80.0
    realtime_factor: float = 0.05
    word_ms: int = 280
    pause_ms: int = 120
    chunk_ms: int = 200
    fails_on: str = ""


class ScriptedEngine:
    """Speaks a tone per word, its pitch following the word's length, so that tests can tell words apart."""

    name = "scripted"
    sample_rate = 16_000

    def __init__(self, script: Script | None = None, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Takes the timing, and the sleep that spends it (seconds)."""
        self._script = script or Script()
        self._sleep = sleep

    def load(self) -> None:
        """Nothing to load."""

    def synthesize(
        self, text: str, *, voice: str = "", speed: float = 1.0, is_hurried: bool = False
    ) -> Iterator[Chunk]:
        """See `TtsEngine`; `voice` is not looked at."""
        script = self._script
        per_word = math.ceil(script.word_ms * self.sample_rate / 1000 / speed)
        items = normalise(text)
        if not items:
            return
        t = np.arange(per_word, dtype=np.float32) / self.sample_rate
        window = np.sin(np.pi * np.arange(per_word, dtype=np.float32) / per_word)
        tones = [
            0.3 * window * np.sin(2 * np.pi * (180 + 20 * (item.char_end - item.char_start)) * t) for item in items
        ]
        silence = np.zeros(script.pause_ms * self.sample_rate // 1000, dtype=np.float32)
        audio = np.concatenate([*tones, silence]).astype(np.float32)
        words = [
            WordTiming(item.char_start, item.char_end, i * per_word, (i + 1) * per_word) for i, item in enumerate(items)
        ]
        size = script.chunk_ms * self.sample_rate // 1000
        for start in range(0, len(audio), size):
            piece = audio[start : start + size]
            work_s = (
                script.first_audio_ms / 1000 if start == 0 else len(piece) / self.sample_rate * script.realtime_factor
            )
            self._sleep(work_s)
            yield Chunk(piece, tuple(w for w in words if start <= w.start_samples < start + len(piece)))
            if script.fails_on and script.fails_on in text:
                raise EngineFailed("the scripted voice was told to fail here")
