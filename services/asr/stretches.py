"""The audio of one turn: stretches of speech in the caller's ring, less what is committed already."""

from dataclasses import dataclass

import numpy as np

from services.asr.engine import SAMPLE_RATE, Samples
from services.asr.ring import AudioRing

_STEP = SAMPLE_RATE // 50
_QUIET_STEPS = 5


@dataclass(slots=True)
class Stretch:
    """Speech from `start` to `end` (None while it goes on), in samples since the call began."""

    start: int
    end: int | None = None


class Stretches:
    """What was said in one turn, as audio. A turn has several stretches when a flush was followed by more speech.

    Attributes:
        decoded_from: what lies before is committed and never decoded again.
    """

    def __init__(self, ring: AudioRing, tail_samples: int) -> None:
        """Takes the caller's ring and how much audio to keep after a stretch: consonants end unvoiced."""
        self._ring = ring
        self._tail = tail_samples
        self._all: list[Stretch] = []
        self.decoded_from = 0

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def start(self) -> int:
        """Where the turn began."""
        return self._all[0].start if self._all else 0

    @property
    def is_open(self) -> bool:
        """Whether the last stretch still goes on."""
        return bool(self._all) and self._all[-1].end is None

    def open(self, offset: int) -> None:
        """Speech begins; ignored while it goes on already."""
        if not self.is_open:
            after = (self._all[-1].end or 0) if self._all else 0
            self._all.append(Stretch(max(offset, after)))

    def close(self, offset: int) -> None:
        """Speech ended there."""
        self._all[-1].end = max(offset, self._all[-1].start)

    def samples(self, end: int) -> int:
        """How much there is to decode up to `end`."""
        return sum(b - a for a, b in self._pieces(end))

    def read(self, end: int) -> Samples:
        """The audio to decode up to `end`, one stretch after the other."""
        parts = [self._ring.read(a, b) for a, b in self._pieces(end)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def cut(self, end: int, limit: int) -> int:
        """Where to divide too long a turn: between its last stretches, else at the quietest 100 ms.

        Args:
            end: position of the newest sample.
            limit: most samples before the cut; it lies in the second half of that.
        """
        pieces = self._pieces(end)
        if len(pieces) > 1:
            return pieces[-2][1]
        start, stop = pieces[0]
        first = start + limit // 2
        power = np.square(self._ring.read(first, min(stop - SAMPLE_RATE // 2, start + limit)))
        steps = power[: len(power) // _STEP * _STEP].reshape(-1, _STEP).mean(axis=1)
        if len(steps) < _QUIET_STEPS:
            return first
        quiet = np.convolve(steps, np.ones(_QUIET_STEPS), "valid")
        return first + int(quiet.argmin()) * _STEP + _QUIET_STEPS * _STEP // 2

    def _pieces(self, end: int) -> list[tuple[int, int]]:
        pieces: list[tuple[int, int]] = []
        for i, stretch in enumerate(self._all):
            stop = end
            if i + 1 < len(self._all):
                stop = min((stretch.end or end) + self._tail, self._all[i + 1].start, end)
            start = max(stretch.start, self.decoded_from)
            if start < stop:
                pieces.append((start, stop))
        return pieces
