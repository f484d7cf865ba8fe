"""The neural part of the echo canceller: what the linear filter leaves of the echo, and noise, fades behind a mask.

A small recurrent network sees, every 10 ms, the powers of four signals in 64 bands: what was heard, what the linear
filter left of it, what that took away, and what was played. It answers with a gain for each frequency of what was left.
Frames are 32 ms long with a window that rises slowly and falls fast; what is put together again is 20 ms long (after
Mauler and Martin, "A low delay, variable resolution, perfect reconstruction spectral analysis-synthesis system", 2007):
the resolution of 32 ms, the delay of 10 ms behind the hop. `train/echo` trains the network and says on what.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfbeat.audio import RATE_HZ, Floats
from halfbeat.audio.linear import HOP
from halfbeat.errors import EngineFailed

FRAME = 512
BINS = FRAME // 2 + 1
BANDS = 64
HIDDEN = 128
LAYERS = 2
#: Signals that the network sees: heard, left by the linear filter, taken away by it, played.
SIGNALS = 4
_LOW = 16
_SYNTHESIS = 2 * HOP


def _windows() -> tuple[Floats, Floats]:
    """The window of a frame, and the one of its last 20 ms on the way back; their product is a Hann window."""
    rise, fall = FRAME - HOP, HOP
    up = np.sin(np.pi / 2 * (np.arange(rise) + 0.5) / rise)
    down = np.cos(np.pi / 2 * (np.arange(fall) + 0.5) / fall)
    analysis = np.concatenate((up, down))
    hann = np.sin(np.pi * (np.arange(_SYNTHESIS) + 0.5) / _SYNTHESIS) ** 2
    return analysis.astype(np.float32), (hann / analysis[-_SYNTHESIS:]).astype(np.float32)


ANALYSIS, SYNTHESIS = _windows()


def bands() -> Floats:
    """Returns how much each frequency counts in each band, [BINS, BANDS]: triangles, as wide as hearing's bands."""

    def scale(hz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 21.4 * np.log10(1 + 0.00437 * hz)  # ERB-rate (Glasberg and Moore, 1990)

    # The lowest bands would be narrower than a frequency of the transform: there each frequency has a band of its own.
    hz = np.linspace(0, RATE_HZ / 2, BINS)
    rest = scale(hz[_LOW:])
    high = _LOW + (rest - rest[0]) / (rest[-1] - rest[0]) * (BANDS - 1 - _LOW)
    at = np.concatenate((np.arange(_LOW), high))
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(BANDS)))
    share: Floats = (weights / np.maximum(weights.sum(0), 1e-6)).astype(np.float32)
    return share


class Suppressor:
    """The network for many calls, one row each."""

    def __init__(self, file: Path, rows: int) -> None:
        """Loads the network.

        Raises:
            EngineFailed: the file cannot be used.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as e:
            raise EngineFailed(f"the echo suppressor cannot be loaded from {file}: {e}") from e
        self._signals = np.zeros((rows, 3, FRAME), dtype=np.float32)
        self._hidden = np.zeros((LAYERS, rows, HIDDEN), dtype=np.float32)
        self._overlap = np.zeros((rows, HOP), dtype=np.float32)

    def reset(self, row: int) -> None:
        """Forgets a call; the row may serve another."""
        self._signals[row] = self._hidden[:, row] = self._overlap[row] = 0

    def step(self, rows: NDArray[np.int64], heard: Floats, left: Floats, played: Floats) -> Floats:
        """Takes the next hop of some calls, [n, HOP] each; returns the cleaned hop before it."""
        signals = self._signals[rows]
        signals[..., :-HOP] = signals[..., HOP:]
        signals[:, 0, -HOP:], signals[:, 1, -HOP:], signals[:, 2, -HOP:] = heard, left, played
        self._signals[rows] = signals
        spectra = np.fft.rfft(signals * ANALYSIS)
        powers = np.empty((len(rows), SIGNALS, BINS), dtype=np.float32)
        powers[:, :2], powers[:, 3] = _power(spectra[:, :2]), _power(spectra[:, 2])
        powers[:, 2] = _power(spectra[:, 0] - spectra[:, 1])
        mask, self._hidden[:, rows] = self._session.run(None, {"powers": powers, "state": self._hidden[:, rows]})
        sound = np.fft.irfft(spectra[:, 1] * mask)[:, -_SYNTHESIS:].astype(np.float32) * SYNTHESIS
        cleaned: Floats = self._overlap[rows] + sound[:, :HOP]
        self._overlap[rows] = sound[:, HOP:]
        return cleaned


def _power(spectra: NDArray[np.complexfloating]) -> Floats:
    power: Floats = (spectra.real**2 + spectra.imag**2).astype(np.float32, copy=False)
    return power
