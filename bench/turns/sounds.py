"""Sounds that are not speech, made from filtered noise: nothing recorded, the same seed gives the same sound.

They stand for what reaches a telephone beside a voice. Each follows the shape that makes the sound recognisable: a
cough is two bursts of coloured noise with a sharp onset, a door a low thump with a rattle, a keyboard a train of short
clicks, babble the sum of many noise bands that swell at the rate of syllables.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

RATE_HZ = 16_000
Floats = npt.NDArray[np.float32]
_Rng = np.random.Generator


def cough(rng: _Rng) -> Floats:
    """Two bursts of noise through a throat: 0.5-0.9 s, the first one louder; some voicing in the second."""
    out = np.zeros(int(rng.uniform(0.5, 0.9) * RATE_HZ), np.float32)
    for at, level in ((0.0, 1.0), (float(rng.uniform(0.3, 0.4)), 0.6)):
        length = int(rng.uniform(0.14, 0.22) * RATE_HZ)
        burst = _band(rng, length, 250, 1400) + 0.7 * _band(rng, length, 1800, 4200)
        time = np.arange(length) / RATE_HZ
        voicing = 0.4 * np.sign(np.sin(2 * np.pi * rng.uniform(100, 180) * time)) * (level < 1)
        shape = np.minimum(time / 0.008, 1) * np.exp(-time / 0.06)
        begin = int(at * RATE_HZ)
        end = min(len(out), begin + length)
        out[begin:end] += (level * shape * (burst + voicing * _band(rng, length, 100, 900)))[: end - begin]
    return out


def click(rng: _Rng) -> Floats:
    """A pen on a table: 30 ms."""
    time = np.arange(int(0.03 * RATE_HZ)) / RATE_HZ
    return np.asarray(_band(rng, len(time), 1500, 6000) * np.exp(-time / 0.004), np.float32)


def door(rng: _Rng) -> Floats:
    """A door slams: a low thump and a rattle, 0.5 s."""
    time = np.arange(int(0.5 * RATE_HZ)) / RATE_HZ
    thump = _band(rng, len(time), 40, 220) * np.exp(-time / 0.08)
    rattle = _band(rng, len(time), 500, 3000) * np.exp(-time / 0.03) * (1 + np.sin(2 * np.pi * 28 * time)) / 2
    return np.asarray(thump + 0.5 * rattle, np.float32)


def keyboard(rng: _Rng) -> Floats:
    """Typing for 1.2 s: clicks at 6-11 a second, each with its release."""
    out = np.zeros(int(1.2 * RATE_HZ), np.float32)
    at = 0.02
    while at < 1.1:
        for delay, level in ((0.0, float(rng.uniform(0.6, 1))), (float(rng.uniform(0.05, 0.07)), 0.35)):
            key = level * click(rng)
            begin = int((at + delay) * RATE_HZ)
            out[begin : begin + len(key)] += key[: len(out) - begin]
        at += float(rng.uniform(0.09, 0.17))
    return out


def babble(rng: _Rng, seconds: float = 3.0) -> Floats:
    """Many people far away: twelve bands of noise, each swelling at the rate of syllables (3-6 Hz)."""
    out = np.zeros(int(seconds * RATE_HZ), np.float32)
    time = np.arange(len(out)) / RATE_HZ
    for _ in range(12):
        low = float(rng.uniform(150, 2200))
        swell = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(3, 6) * time + rng.uniform(0, 6.3))
        out += (swell * _band(rng, len(out), low, low * 1.6)).astype(np.float32)
    return out


def street(rng: _Rng, seconds: float = 3.0) -> Floats:
    """A street through a window: noise that falls by 6 dB an octave, with slow waves of passing cars."""
    length = int(seconds * RATE_HZ)
    time = np.arange(length) / RATE_HZ
    slow = 0.7 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.2, 0.5) * time + rng.uniform(0, 6.3))
    return np.asarray(slow * (_band(rng, length, 60, 500) + 0.4 * _band(rng, length, 500, 2500)), np.float32)


SOUNDS: dict[str, Callable[[_Rng], Floats]] = {
    "cough": cough,
    "click": click,
    "door": door,
    "keyboard": keyboard,
    "babble": babble,
    "street": street,
}


def _band(rng: _Rng, length: int, low_hz: float, high_hz: float) -> Floats:
    """Noise of unit level between two frequencies."""
    spectrum = np.fft.rfft(rng.normal(size=length))
    at = np.fft.rfftfreq(length, 1 / RATE_HZ)
    # A soft edge of a third of an octave: a hard one rings.
    gain = 1 / (1 + (low_hz / np.maximum(at, 1)) ** 8) / (1 + (at / high_hz) ** 8)
    noise = np.fft.irfft(spectrum * gain, length)
    return (noise / max(float(np.sqrt(np.mean(np.square(noise)))), 1e-9)).astype(np.float32)
