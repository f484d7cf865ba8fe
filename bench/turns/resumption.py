"""Where an agent that was silenced for a moment went on: the recording against the answer as it was made. No I/O.

The clean answer is known (the scripted voice says the same words in the same way each time). What was heard just before
the silence and just after it is looked for in it; the distance says whether words are lost or said twice, and whether
the agent went on at the start of a word. Positions in samples at 16 kHz.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from halfbeat.audio import RATE_HZ, Samples
from halfbeat.caller.phone import AUDIBLE

#: Shorter silences are the voice's own, between words and clauses.
MIN_SILENCE_MS = 160
#: What is looked for: so much sound next to the silence.
PROBE_MS = 250
#: The agent may go on so far from the start of a word and still be said to go on there.
NEAR_MS = 30
#: A word is not repeated from further back.
MAX_BACK_MS = 2000
_ALIKE = 0.85
_EVEN = RATE_HZ // 100
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Resumption:
    """How the agent went on.

    Attributes:
        silence_ms: how long it was silent.
        back_ms: how far it went back; negative when words were lost.
        off_word_ms: distance of the place where it went on from the nearest start of a word.
    """

    silence_ms: float
    back_ms: float
    off_word_ms: float

    @property
    def is_at_word(self) -> bool:
        """Whether it went on at the start of a word, with nothing lost."""
        return abs(self.off_word_ms) <= NEAR_MS and -NEAR_MS <= self.back_ms <= MAX_BACK_MS


def resumption(heard: Samples, clean: Samples, word_starts: Sequence[int]) -> Resumption | None:
    """Looks how an agent went on after its longest silence.

    Args:
        heard: what was heard around an aside: from before it to after it.
        clean: the whole answer.
        word_starts: where its words begin in `clean`.

    Returns:
        None when it was not silent, did not go on, or cannot be found in the answer.
    """
    loud = np.flatnonzero(np.abs(heard.astype(np.int32)) > AUDIBLE)
    if loud.size < 2:
        return None
    gaps = np.diff(loud)
    at = int(np.argmax(gaps))
    if gaps[at] < MIN_SILENCE_MS * RATE_HZ // 1000:
        return None
    begin, end = int(loud[at]) + 1, int(loud[at + 1])
    probe = PROBE_MS * RATE_HZ // 1000
    before = _find(heard[max(0, begin - probe) : begin], clean, None)
    if before is None:
        return None
    left = before + min(probe, begin)
    after = _find(heard[end : end + probe], clean, left)
    if after is None:
        return None
    off = min((after - start for start in word_starts), key=abs, default=after)
    return Resumption(_ms(end - begin), round(_ms(left - after), 1), round(_ms(off), 1))


def _find(probe: Samples, clean: Samples, near: int | None) -> int | None:
    """Position of the probe in the clean answer, at any level; of several that are alike the one nearest to `near`."""
    if probe.size < RATE_HZ // 20 or clean.size < probe.size:
        return None
    wanted, whole = _even(probe), _even(clean)
    size = 1 << (whole.size + wanted.size).bit_length()
    product = np.fft.irfft(np.fft.rfft(whole, size) * np.conj(np.fft.rfft(wanted, size)), size)
    product = product[: whole.size - wanted.size + 1]
    energy = np.concatenate([[0.0], np.cumsum(np.square(whole))])
    local = np.sqrt(np.maximum(energy[wanted.size :] - energy[: -wanted.size], 1e-9))
    alike = product / (local * max(float(np.linalg.norm(wanted)), 1e-9))
    best = float(alike.max())
    if best < _ALIKE:
        return None
    candidates = np.flatnonzero(alike >= best - 0.02)
    if near is None:
        return int(np.argmax(alike))
    return int(candidates[np.argmin(np.abs(candidates - near))])


def _even(samples: Samples) -> Floats:
    """Brings every 10 ms to one level: a probe may be ducked in part, or fade."""
    power = np.square(samples.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(power)])
    at = np.arange(samples.size)
    begin, end = np.maximum(at - _EVEN // 2, 0), np.minimum(at + _EVEN // 2, samples.size)
    local = np.sqrt((sums[end] - sums[begin]) / (end - begin))
    return np.asarray(samples / np.maximum(local, AUDIBLE / 8), np.float64)


def _ms(samples: int) -> float:
    return samples * 1000 / RATE_HZ
