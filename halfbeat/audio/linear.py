"""The linear part of the echo canceller: finds the delay of the echo, then follows the path that it takes.

A Kalman filter in the frequency domain, in partitions of one hop (Enzner and Vary, "Frequency-domain adaptive Kalman
filter for acoustic echo control in hands-free telephones", 2006; partitioned by Kuech, Mabande and Enzner, 2014). Its
gain follows from how unsure it is of the path and how loud everything else is, so it neither needs a detector of double
talk nor diverges in one. The same code runs on NumPy for calls and on PyTorch for training.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from halfbeat.audio import RATE_HZ

#: 10 ms: audio comes, is filtered and leaves in steps of this many samples.
HOP = RATE_HZ // 100
#: A block is longer than it must be: what the filter gets wrong in the last 30 ms teaches more than the last 10 ms do.
_BLOCK = 4 * HOP
_BINS = _BLOCK // 2 + 1
_VALID = _BLOCK - HOP
#: Share of a block that is not spoilt by the ends of circular convolution.
_VALID_SHARE = _VALID / _BLOCK
#: The path may be 160 ms long.
PARTITIONS = 16
#: The echo may come up to 700 ms after the reference.
MAX_DELAY_HOPS = 70
_HISTORY = MAX_DELAY_HOPS + PARTITIONS
#: How far before the strongest lag the path may begin.
_LEAD_HOPS = 2

#: The search looks at 150 to 3,400 Hz: what a telephone lets through.
_BAND = slice(3, 69)
#: Forgetting of the search, per hop in which something was played: about half a second counts.
_SEARCH_MEMORY = 0.98
_SEARCH_EVERY = 5
#: The best lag stands out from the median lag by this factor, and from the present one by the second.
_PEAK, _BETTER = 3.0, 1.5
#: It does so this many times in a row: at first, and once a delay was found, which a melody may put in doubt.
_VOTES, _MORE_VOTES = 3, 8

#: How much of the path is the same one hop later; how unsure the filter is of an unknown one, and less of its tail.
_TRANSITION = 0.998
_UNSURE, _UNSURE_DECAY = 0.3, 0.7
#: How fast it becomes sure. Theory says 0.5; blocks that overlap and voices that hum teach less than noise would.
_SURER = 0.2
_NEAR_MEMORY = 0.6
#: Partitions whose circular part is removed in one hop, in turn.
_CONSTRAINED = 4
#: Power of a hop, as the mean of squares at full scale 1, from which it counts as sound: -60 dBFS.
_ACTIVE = 1e-6
_TINY = 1e-10
#: Errors are compared over about this much of the past, per hop. The filter that learns is trusted unless it errs more,
#: and begins anew where it errs much more than the trusted one; one that adds to what was heard has lost the path.
_TRUST_MEMORY = 0.92
_BETTER_ERROR, _DIVERGED, _LOST = 1.02, 4.0, 1.2


class Linear:
    """The filters of many calls, one row each. Samples are floats, full scale 1."""

    def __init__(self, rows: int, xp: Any = np, device: Any = None) -> None:
        """Makes `rows` filters that know nothing.

        Args:
            rows: how many calls there may be at once.
            xp: the array library, `numpy` or `torch`.
            device: of torch.
        """
        self._xp = xp
        self._at: dict[str, Any] = {} if device is None else {"device": device}
        real, spectrum = {"dtype": xp.float32, **self._at}, {"dtype": xp.complex64, **self._at}
        whole = {"dtype": xp.int64, **self._at}
        self._played = xp.zeros((rows, _BLOCK), **real)
        self._heard = xp.zeros((rows, _VALID), **real)
        self._reference = xp.zeros((rows, _HISTORY, _BINS), **spectrum)
        self._whitened = xp.zeros((rows, MAX_DELAY_HOPS, _BAND.stop - _BAND.start), **spectrum)
        self._crossed = xp.zeros((rows, MAX_DELAY_HOPS, _BAND.stop - _BAND.start), **spectrum)
        self._path = xp.zeros((rows, PARTITIONS, _BINS), **spectrum)
        self._trusted = xp.zeros((rows, PARTITIONS, _BINS), **spectrum)
        self._unsure = xp.zeros((rows, PARTITIONS, _BINS), **real)
        self._near = xp.zeros((rows, _BINS), **real)
        self._errors = xp.zeros((rows, 3), **real)
        self._since_played = xp.zeros((rows,), **whole)
        self._candidate = xp.zeros((rows,), **whole)
        self._votes = xp.zeros((rows,), **whole)
        self._needed = xp.zeros((rows,), **whole)
        self._proofs = xp.zeros((rows,), **whole)
        self._hops = xp.zeros((rows,), **whole)
        self.delay_hops = xp.zeros((rows,), **whole)
        ages = np.arange(PARTITIONS)
        prior = (_UNSURE * _UNSURE_DECAY**ages)[:, None] * np.ones((1, _BINS))
        self._prior = xp.asarray(prior, **real)
        self._ages = xp.asarray(ages, **whole)
        self._lags = xp.asarray(np.arange(MAX_DELAY_HOPS), **whole)
        self._unsure[:] = self._prior
        self._since_played[:] = _HISTORY
        self._needed[:] = _VOTES

    def reset(self, row: int) -> None:
        """Forgets a call; the row may serve another."""
        for state in (self._played, self._heard, self._reference, self._whitened, self._crossed, self._path):
            state[row] = 0
        for state in (self._trusted, self._near, self._errors, self._hops):
            state[row] = 0
        for state in (self._candidate, self._votes, self._proofs, self.delay_hops):
            state[row] = 0
        self._unsure[row] = self._prior
        self._since_played[row] = _HISTORY
        self._needed[row] = _VOTES

    def step(self, rows: Any, microphone: Any, reference: Any) -> tuple[Any, Any]:
        """Takes the next hop of some calls.

        Args:
            rows: which calls, an array of n different rows.
            microphone: what was heard, [n, HOP].
            reference: what was played then, [n, HOP]; its echo comes up to `MAX_DELAY_HOPS` later.

        Returns:
            What was heard without the echo, and the reference in line with the echo, both [n, HOP].
        """
        xp = self._xp
        head = self._hops[rows] % _HISTORY
        played = xp.concatenate((self._played[rows][:, HOP:], reference), -1)
        heard = xp.concatenate((self._heard[rows][:, HOP:], microphone), -1)
        self._played[rows], self._heard[rows] = played, heard
        self._reference[rows, head] = xp.fft.rfft(played)
        self._search(rows, heard[:, -2 * HOP :], played[:, -2 * HOP :])
        error, aligned = heard[:, -HOP:] + 0, xp.zeros_like(reference)
        # Where nothing was played for so long there is no echo, and the filter learns nothing.
        is_sounding = self._since_played[rows] < _HISTORY
        if is_sounding.any():
            error[is_sounding], aligned[is_sounding] = self._cancel(
                rows[is_sounding], heard[is_sounding], head[is_sounding]
            )
        quiet = rows[~is_sounding]
        if len(quiet):
            self._unsure[quiet] = _less_sure(self._unsure[quiet], self._path[quiet])
        self._hops[rows] = self._hops[rows] + 1
        return error, aligned

    def is_found(self, rows: Any) -> Any:
        """Whether an echo was heard at the delay in force, for each of the calls."""
        return self._proofs[rows] >= _VOTES

    def _cancel(self, rows: Any, heard: Any, head: Any) -> tuple[Any, Any]:
        ages = (head[:, None] - self.delay_hops[rows][:, None] - self._ages) % _HISTORY
        spectra = self._reference[rows[:, None], ages]
        return self._filter(rows, heard, spectra), self._xp.fft.irfft(spectra[:, 0])[:, -HOP:]

    def _filter(self, rows: Any, heard: Any, spectra: Any) -> Any:
        xp = self._xp
        path, unsure = self._path[rows], self._unsure[rows]
        both = xp.stack(((path * spectra).sum(1), (self._trusted[rows] * spectra).sum(1)), 1)
        errors = heard[:, None] - xp.fft.irfft(both)[..., -_VALID:]
        wrong = xp.fft.rfft(xp.concatenate((xp.zeros_like(errors[:, 0, :HOP]), errors[:, 0]), -1))
        power = _power(spectra)
        expected = _VALID_SHARE * (unsure * power).sum(1)
        # What the filter cannot explain is somebody who speaks, or noise.
        self._near[rows] = near = _NEAR_MEMORY * self._near[rows] + (1 - _NEAR_MEMORY) * _power(wrong)
        gain = unsure / (expected + near + _TINY)[:, None]
        path = path + gain * spectra.conj() * wrong[:, None]
        unsure = (1 - _SURER * gain * power).clip(0, 1) * unsure
        unsure = _less_sure(unsure, path)
        each = xp.arange(len(rows), **self._at)[:, None]
        turn = (self._hops[rows] * _CONSTRAINED % PARTITIONS)[:, None] + self._ages[:_CONSTRAINED]
        taps = xp.fft.irfft(path[each, turn])
        taps[..., HOP:] = 0
        path[each, turn] = xp.fft.rfft(taps)
        self._path[rows], self._unsure[rows] = path, unsure
        self._trust(rows, heard[:, -HOP:], errors[..., -HOP:])
        return errors[:, 1, -HOP:]

    def _trust(self, rows: Any, microphone: Any, errors: Any) -> None:
        """Two filters (Ochiai, Araseki and Ogihara, 1977): one learns; the other, which is heard, follows."""
        xp = self._xp
        now = (xp.concatenate((errors, microphone[:, None]), 1) ** 2).mean(-1)
        self._errors[rows] = recent = _TRUST_MEMORY * self._errors[rows] + (1 - _TRUST_MEMORY) * now
        learning, trusted, heard = recent[:, 0], recent[:, 1], recent[:, 2]
        better = rows[learning < _BETTER_ERROR * trusted]
        if len(better):
            self._trusted[better] = self._path[better]
            self._errors[better, 1] = self._errors[better, 0]
        lost = rows[trusted > _LOST * heard + _TINY]
        if len(lost):
            self._trusted[lost] = 0
            self._errors[lost, 1] = self._errors[lost, 2]
        lost = rows[learning > _DIVERGED * xp.minimum(trusted, heard) + _TINY]
        if len(lost):
            self._path[lost], self._unsure[lost] = self._trusted[lost], self._prior
            self._errors[lost, 0] = self._errors[lost, 1]

    # --- the delay --------------------------------------------------------------------------------------------------

    def _search(self, rows: Any, heard: Any, played: Any) -> None:
        """Correlates, band by band, what is heard with what was played up to `MAX_DELAY_HOPS` ago.

        Phases alone count (Knapp and Carter, "The generalized correlation method for estimation of time delay", 1976),
        so that neither the colour of the loudspeaker nor loud vowels decide.
        """
        xp = self._xp
        is_playing = (played**2).mean(-1) > _ACTIVE
        self._since_played[rows] = since = xp.where(is_playing, 0, self._since_played[rows] + 1)
        slot = self._hops[rows] % MAX_DELAY_HOPS
        self._whitened[rows, slot] = _whitened(xp.fft.rfft(played)[:, _BAND]) * is_playing[:, None]
        is_active = (since < MAX_DELAY_HOPS) & ((heard**2).mean(-1) > _ACTIVE)
        active = rows[is_active]
        if not len(active):
            return
        ages = (slot[is_active][:, None] - self._lags) % MAX_DELAY_HOPS
        now = _whitened(xp.fft.rfft(heard[is_active])[:, _BAND])
        crossed = now[:, None] * self._whitened[active[:, None], ages].conj()
        self._crossed[active] = crossed = _SEARCH_MEMORY * self._crossed[active] + (1 - _SEARCH_MEMORY) * crossed
        is_due = self._hops[active] % _SEARCH_EVERY == 0
        if is_due.any():
            self._decide(active[is_due], _power(crossed[is_due]).sum(-1))

    def _decide(self, rows: Any, scores: Any) -> None:
        xp = self._xp
        each = xp.arange(len(rows), **self._at)
        best = scores.argmax(-1)
        here = (self.delay_hops[rows] + _LEAD_HOPS).clip(0, MAX_DELAY_HOPS - 1)
        top, middle = scores[each, best], _sorted(scores)[:, MAX_DELAY_HOPS // 2]
        is_clear, is_here = top > _PEAK * middle, abs(best - here) <= 1
        is_same = abs(best - self._candidate[rows]) <= 1
        self._candidate[rows] = best
        # Once found it stays so: an echo that is gone from the search is still at that place.
        proofs = self._proofs[rows]
        self._proofs[rows] = xp.where(is_clear & is_here, proofs + 1, xp.where(proofs < _VOTES, 0, proofs))
        is_better = is_clear & (top > _BETTER * scores[each, here]) & ~is_here
        self._votes[rows] = votes = xp.where(is_better, xp.where(is_same, self._votes[rows] + 1, 1), 0)
        for i in _where(votes >= self._needed[rows]):
            self._move(int(rows[i]), max(0, int(best[i]) - _LEAD_HOPS))

    def _move(self, row: int, delay_hops: int) -> None:
        """The filter keeps what it knows of the path where old and new delay overlap."""
        shift = delay_hops - int(self.delay_hops[row])
        for state, unknown in ((self._path, 0), (self._trusted, 0), (self._unsure, self._prior)):
            known = state[row] + 0
            state[row] = unknown
            if 0 <= shift < PARTITIONS:
                state[row, : PARTITIONS - shift] = known[shift:]
            elif -PARTITIONS < shift < 0:
                state[row, -shift:] = known[:shift]
        self.delay_hops[row], self._needed[row], self._proofs[row] = delay_hops, _MORE_VOTES, 0


def _power(spectra: Any) -> Any:
    return spectra.real**2 + spectra.imag**2


def _less_sure(unsure: Any, path: Any) -> Any:
    """One hop later the path is not quite the same."""
    return _TRANSITION**2 * unsure + (1 - _TRANSITION**2) * _power(path)


def _whitened(spectra: Any) -> Any:
    return spectra / (abs(spectra) + 1e-4)


def _sorted(values: Any) -> Any:
    return np.sort(values) if isinstance(values, np.ndarray) else values.sort().values


def _where(flags: Any) -> Sequence[int]:
    return [int(i) for i in flags.nonzero()[0]] if isinstance(flags, np.ndarray) else flags.nonzero()[:, 0].tolist()
