"""The last seconds of the caller's audio, addressed by position in the call."""

import numpy as np
import numpy.typing as npt

from halfbeat.audio import Samples as Pcm16


class AudioRing:
    """Holds the newest `capacity_samples`; what was lost on the way is silence, so positions never shift.

    Attributes:
        end: position just after the newest sample, in samples since the session began.
        lost_samples: how many were filled with silence so far.
    """

    def __init__(self, capacity_samples: int) -> None:
        if capacity_samples <= 0:
            raise ValueError(f"capacity is {capacity_samples}, must be positive")
        self._samples = np.zeros(capacity_samples, np.int16)
        self._begin: int | None = None
        self.end = 0
        self.lost_samples = 0

    @property
    def begin(self) -> int:
        """Position of the oldest sample still held."""
        return self.end if self._begin is None else max(self._begin, self.end - len(self._samples))

    def write(self, offset: int, pcm: Pcm16) -> None:
        """Adds samples that begin at `offset`; the part that is already held is ignored."""
        if self._begin is None and pcm.size:
            self._begin = self.end = offset
        pcm = pcm[max(0, self.end - offset) :]
        if not pcm.size:
            return
        gap = max(0, offset - self.end)
        if gap:
            self.lost_samples += gap
            self._put(np.zeros(min(gap, len(self._samples)), np.int16), at=offset - min(gap, len(self._samples)))
        self._put(pcm[-len(self._samples) :], at=max(self.end, offset) + max(0, len(pcm) - len(self._samples)))

    def read(self, start: int, end: int) -> npt.NDArray[np.float32]:
        """Returns a copy in -1..1; what is not held (any more, or yet) is left out at the sides."""
        start, end = max(start, self.begin), min(end, self.end)
        if start >= end:
            return np.zeros(0, np.float32)
        size = len(self._samples)
        first = start % size
        count = end - start
        joined = (
            self._samples[first : first + count]
            if first + count <= size
            else np.concatenate((self._samples[first:], self._samples[: first + count - size]))
        )
        return joined.astype(np.float32) / 32768.0

    def _put(self, pcm: Pcm16, at: int) -> None:
        size = len(self._samples)
        first = at % size
        head = min(len(pcm), size - first)
        self._samples[first : first + head] = pcm[:head]
        self._samples[: len(pcm) - head] = pcm[head:]
        self.end = at + len(pcm)
