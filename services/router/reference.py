"""What sounded at a caller's end, and when: the reference of the echo canceller. No I/O."""

import numpy as np
from numpy.typing import NDArray

from halfbeat.audio import RATE_HZ, Floats, Resampler, samples_of
from halfbeat.clock import NS_PER_S

_RING = 4 * RATE_HZ
#: Frames that begin this close to the end of the one before go on where it ended: rounding.
_SEAM = 2


def position_of(at_ns: int) -> int:
    """Returns the sample at 16 kHz that a moment of the monotonic clock falls on."""
    return at_ns * RATE_HZ // NS_PER_S


class Reference:
    """The agent's voice on the router's clock, at 16 kHz; silence where nothing was sent. Keeps four seconds."""

    def __init__(self, rate_hz: int) -> None:
        """Takes the edge's rate."""
        self._resampler = Resampler(rate_hz, RATE_HZ)
        self._samples: Floats = np.zeros(_RING, dtype=np.float32)
        self._end = 0

    def write(self, pcm: bytes, begin: int) -> None:
        """Takes a frame and the position at which it sounds; what was there before is gone, and what came after it."""
        samples = samples_of(self._resampler.process(pcm)).astype(np.float32) / 32768
        if abs(begin - self._end) <= _SEAM:
            begin = self._end
        elif begin > self._end:
            silence: Floats = np.zeros(min(begin - self._end, _RING), dtype=np.float32)
            self._put(silence, begin - silence.size)
        self._put(samples, begin)
        self._end = begin + samples.size

    def read(self, begin: int, size: int) -> Floats:
        """Returns what sounded from a position on; silence for what is not known (yet, or any more)."""
        out: Floats = np.zeros(size, dtype=np.float32)
        first, last = max(begin, self._end - _RING), min(begin + size, self._end)
        if first < last:
            out[first - begin : last - begin] = self._samples[np.arange(first, last) % _RING]
        return out

    def _put(self, samples: NDArray[np.floating], begin: int) -> None:
        self._samples[np.arange(begin, begin + samples.size) % _RING] = samples
