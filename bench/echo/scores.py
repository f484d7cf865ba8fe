"""How well echo went and the caller stayed."""

import re
import warnings
from typing import Any

import jiwer
import numpy as np

from halfbeat import models
from halfbeat.audio import RATE_HZ, Floats
from halfbeat.errors import Unavailable
from services.asr.engines.moonshine import MoonshineEngine

_MAX_DELAY = RATE_HZ // 20
#: The first seconds in which a canceller learns are left out of what it reaches.
SETTLED_S = 3.0
#: So much of the echo gone, over this long, is converged.
_CONVERGED_DB, _SPAN_S = 15.0, 0.3
_AUDIBLE = 10 ** (-50 / 10)


def delay_of(out: Floats, near: Floats) -> int:
    """Returns by how many samples an output lags behind its truth, found by correlation."""
    size = 1 << (out.size + _MAX_DELAY).bit_length()
    crossed = np.fft.irfft(np.fft.rfft(out, size) * np.conj(np.fft.rfft(near[: out.size], size)), size)
    return int(np.argmax(crossed[:_MAX_DELAY]))


def aligned(out: Floats, delay: int) -> Floats:
    """Returns an output without its lag."""
    shifted: Floats = np.pad(out[delay:], (0, delay))
    return shifted


def erle_db(heard: Floats, out: Floats) -> float:
    """Echo return loss enhancement, after it has settled. ITU-T G.168 calls it ERLE."""
    begin = int(SETTLED_S * RATE_HZ)
    return float(10 * np.log10((_energy(heard[begin : out.size]) + 1e-9) / (_energy(out[begin:]) + 1e-9)))


def convergence_ms(heard: Floats, out: Floats) -> float | None:
    """From the first echo until so much of it is gone; None when that never comes."""
    span, step = int(_SPAN_S * RATE_HZ), RATE_HZ // 100
    sounding = np.flatnonzero(np.abs(heard[: out.size]) > 0.01)
    if not sounding.size:
        return None
    first = int(sounding[0])
    for at in range(first, out.size - span, step):
        before, after = _energy(heard[at : at + span]), _energy(out[at : at + span])
        if before / span > _AUDIBLE and after < before * 10 ** (-_CONVERGED_DB / 10):
            return (at - first) * 1000 / RATE_HZ
    return None


def si_sdr_db(out: Floats, near: Floats) -> float:
    """Scale-invariant signal to distortion ratio (Le Roux et al., 2019); of signals in line."""
    estimate, truth = out - out.mean(), near[: out.size] - near[: out.size].mean()
    scale = float(estimate @ truth) / float(truth @ truth + 1e-9)
    wanted = scale * truth
    return float(10 * np.log10(_energy(wanted) / (_energy(estimate - wanted) + 1e-12) + 1e-12))


def pesq_mos(out: Floats, near: Floats) -> float | None:
    """PESQ, wide band (ITU-T P.862.2); None without the package, which needs a C compiler."""
    try:
        import pesq
    except ImportError:
        return None
    try:
        return float(pesq.pesq(RATE_HZ, near[: out.size], out, "wb"))
    except pesq.PesqError:
        return None


def aecmos(scene_kind: str, heard: Floats, played: Floats, out: Floats) -> tuple[float, float]:
    """Microsoft's estimate of what listeners would say of the echo and of other degradation, 1 to 5 each."""
    try:
        from speechmos import aecmos as model
    except ImportError as e:
        raise Unavailable("speechmos is missing: `make bench-echo` installs it") from e
    talk = {"far_end": "st", "near_end": "nst", "double_talk": "dt"}[scene_kind]
    sample = {"lpb": played[: out.size], "mic": heard[: out.size], "enh": np.clip(out, -1, 1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said: dict[str, Any] = model.run(sample, sr=RATE_HZ, talk_type=talk)
    return float(said["echo_mos"]), float(said["deg_mos"])


class Listener:
    """The default recogniser."""

    def __init__(self) -> None:
        self._engine = MoonshineEngine(models.path("moonshine-tiny-en"))
        self._engine.load()

    def errors(self, out: Floats, text: str, near: Floats) -> tuple[float, int]:
        """Returns wrong words and words; the caller's sentences are taken out by their truth, as the floor would."""
        heard = " ".join(self._engine.transcribe(out[a:b]).text for a, b in _stretches(near[: out.size]))
        wanted, got = _plain(text), _plain(heard)
        words = len(wanted.split())
        return float(jiwer.wer(wanted, got or "-")) * words, words


def _stretches(near: Floats) -> list[tuple[int, int]]:
    """Where the caller speaks, with 200 ms around; gaps below 500 ms are part of it."""
    loud = np.flatnonzero(np.abs(near) > 0.01)
    if not loud.size:
        return []
    breaks = np.flatnonzero(np.diff(loud) > RATE_HZ // 2)
    begins, ends = np.concatenate(([loud[0]], loud[breaks + 1])), np.concatenate((loud[breaks], [loud[-1]]))
    pad = RATE_HZ // 5
    return [(max(0, int(a) - pad), int(b) + pad) for a, b in zip(begins, ends, strict=True)]


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9' ]+", " ", text.lower().replace("-", " ")).strip()


def _energy(x: Floats) -> float:
    return float(np.sum(x.astype(np.float64) ** 2))
