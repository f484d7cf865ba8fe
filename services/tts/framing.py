"""From an engine's pieces to messages of the bus: 16 kHz mono s16 in whole 20 ms frames. No I/O."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import soxr

from services.tts.engine import Chunk, WordTiming

RATE = 16_000
FRAME_SAMPLES = 320  # 20 ms
MESSAGE_SAMPLES = 10 * FRAME_SAMPLES  # 200 ms


@dataclass(frozen=True)
class Piece:
    """One message's worth of a clause.

    Attributes:
        offset_samples: since the clause began, at 16 kHz.
        pcm: 16 kHz mono s16 little endian, whole frames; empty only where a clause made no sound.
        words: those that start within it, in samples at 16 kHz since the clause began.
        is_last: the clause ends here.
    """

    offset_samples: int
    pcm: bytes
    words: tuple[WordTiming, ...] = ()
    is_last: bool = False


class ClauseAudio:
    """Converts one clause, statefully: no click where the engine's pieces meet."""

    def __init__(self, rate: int) -> None:
        """Takes the engine's rate in Hz."""
        self._rate = rate
        # HQ holds 5 ms back; VHQ would hold 18, all of it added to the first sound.
        self._resampler = None if rate == RATE else soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality="HQ")
        self._left = np.zeros(0, dtype=np.int16)
        self._words: deque[WordTiming] = deque()
        self._offset_samples = 0

    @property
    def sent_samples(self) -> int:
        """How much has been handed out, at 16 kHz."""
        return self._offset_samples

    def push(self, chunk: Chunk) -> list[Piece]:
        """Takes the engine's next piece; returns the whole frames that are ready."""
        self._take(chunk, is_last=False)
        return self._cut(len(self._left) // FRAME_SAMPLES * FRAME_SAMPLES)

    def finish(self) -> list[Piece]:
        """Returns the rest, its last frame filled up with silence; the last piece is marked."""
        self._take(Chunk(np.zeros(0, dtype=np.float32)), is_last=True)
        missing = -len(self._left) % FRAME_SAMPLES
        self._left = np.concatenate([self._left, np.zeros(missing, dtype=np.int16)])
        pieces = self._cut(len(self._left), is_last=True)
        return pieces or [Piece(self._offset_samples, b"", tuple(self._words), is_last=True)]

    def _take(self, chunk: Chunk, *, is_last: bool) -> None:
        samples = chunk.samples
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(np.ascontiguousarray(samples, dtype=np.float32), last=is_last)
        pcm = np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2")
        self._left = np.concatenate([self._left, pcm])
        self._words.extend(
            WordTiming(w.char_start, w.char_end, self._at_bus(w.start_samples), self._at_bus(w.end_samples))
            for w in chunk.words
        )

    def _cut(self, ready_samples: int, *, is_last: bool = False) -> list[Piece]:
        pieces = []
        for start in range(0, ready_samples, MESSAGE_SAMPLES):
            end = min(start + MESSAGE_SAMPLES, ready_samples)
            until = self._offset_samples + end - start
            is_end = is_last and end == ready_samples
            words = []
            while self._words and (is_end or self._words[0].start_samples < until):
                words.append(self._words.popleft())
            pieces.append(Piece(self._offset_samples, self._left[start:end].tobytes(), tuple(words), is_end))
            self._offset_samples = until
        self._left = self._left[ready_samples:]
        return pieces

    def _at_bus(self, samples: int) -> int:
        return samples * RATE // self._rate
