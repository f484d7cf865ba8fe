"""Log-mel features as Whisper defines them (80 bands, 25 ms windows every 10 ms), in plain numpy.

Definition: Radford et al. 2022, section 2.2; the mel scale and its area norm are Slaney's (Auditory Toolbox, 1998).
"""

import numpy as np
import numpy.typing as npt

from halfbeat.audio import RATE_HZ, Floats

FFT_SAMPLES = 400
HOP_SAMPLES = 160
BANDS = 80


def _mel_of_hz(hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Slaney's scale: linear to 1 kHz (15 mel), then 27 mel for each factor of 6.4."""
    above = 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4)
    return np.where(hz < 1000, hz * 3 / 200, above)


def _hz_of_mel(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    above = 1000 * np.exp((np.maximum(mel, 15) - 15) * np.log(6.4) / 27)
    return np.where(mel < 15, mel * 200 / 3, above)


def _filterbank() -> Floats:
    """Triangles of unit area, `BANDS` by `FFT_SAMPLES / 2 + 1`."""
    corners = _hz_of_mel(np.linspace(0.0, _mel_of_hz(np.array([RATE_HZ / 2]))[0], BANDS + 2))
    bins = np.fft.rfftfreq(FFT_SAMPLES, 1 / RATE_HZ)
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising = (bins - low) / (middle - low)
    falling = (high - bins) / (high - middle)
    triangles = np.clip(np.minimum(rising, falling), 0, None)
    return (triangles * 2 / (high - low)).astype(np.float32)


_FILTERS = _filterbank()
_WINDOW = np.hanning(FFT_SAMPLES + 1)[:-1].astype(np.float32)


def log_mel(audio: Floats) -> Floats:
    """Returns the features of mono 16 kHz audio, `BANDS` by one column each 10 ms."""
    padded = np.pad(audio, FFT_SAMPLES // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::HOP_SAMPLES][:-1]
    spectrum = np.fft.rfft(frames * _WINDOW, axis=1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    bands = np.log10(np.maximum(_FILTERS @ power.T.astype(np.float32), 1e-10))
    scaled = (np.maximum(bands, bands.max() - 8.0) + 4.0) / 4.0
    features: Floats = scaled.astype(np.float32, copy=False)
    return features
