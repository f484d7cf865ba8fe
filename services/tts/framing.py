"""From an engine's pieces to messages of the bus: 16 kHz mono s16 in whole 20 ms frames. No I/O."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from halfbeat.audio import BYTES_PER_SAMPLE, FRAME_SAMPLES, RATE_HZ, Resampler
from services.tts.engine import Chunk, WordTiming

_FRAME_BYTES = FRAME_SAMPLES * BYTES_PER_SAMPLE
_MESSAGE_BYTES = 10 * _FRAME_BYTES  # 200 ms, the most the protocol allows


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

    def __init__(self, rate_hz: int) -> None:
        """Takes the engine's rate."""
        self._rate_hz = rate_hz
        self._resampler = Resampler(rate_hz, RATE_HZ)
        self._left = bytearray()
        self._words: deque[WordTiming] = deque()
        self._offset_samples = 0

    def push(self, chunk: Chunk) -> list[Piece]:
        """Takes the engine's next piece; returns the whole frames that are ready."""
        pcm = np.rint(np.clip(chunk.samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()
        self._left += self._resampler.process(pcm)
        self._words.extend(
            WordTiming(w.char_start, w.char_end, self._at_bus(w.start_samples), self._at_bus(w.end_samples))
            for w in chunk.words
        )
        return self._cut(len(self._left) // _FRAME_BYTES * _FRAME_BYTES)

    def finish(self) -> list[Piece]:
        """Returns the rest, its last frame filled up with silence; the last piece is marked."""
        self._left += self._resampler.flush()
        self._left += bytes(-len(self._left) % _FRAME_BYTES)
        return self._cut(len(self._left), is_end=True) or [
            Piece(self._offset_samples, b"", tuple(self._words), is_last=True)
        ]

    def _cut(self, ready_bytes: int, *, is_end: bool = False) -> list[Piece]:
        pieces = []
        for start in range(0, ready_bytes, _MESSAGE_BYTES):
            pcm = bytes(self._left[start : min(start + _MESSAGE_BYTES, ready_bytes)])
            until = self._offset_samples + len(pcm) // BYTES_PER_SAMPLE
            is_last = is_end and start + len(pcm) == ready_bytes
            words = []
            while self._words and (is_last or self._words[0].start_samples < until):
                words.append(self._words.popleft())
            pieces.append(Piece(self._offset_samples, pcm, tuple(words), is_last))
            self._offset_samples = until
        del self._left[:ready_bytes]
        return pieces

    def _at_bus(self, samples: int) -> int:
        return samples * RATE_HZ // self._rate_hz
