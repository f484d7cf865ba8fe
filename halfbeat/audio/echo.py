"""Cancels echo and noise for all calls of a process: the linear filter, then the network, a hop of many calls at once.

    heard ──> Linear ──left──> Suppressor ──> cleaned, 10 ms behind
    played ──────┴──in line──────┘

Nothing here waits, and nothing knows where the audio comes from; `services.router.cleaner` connects it to calls.
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from halfbeat.audio import Floats
from halfbeat.audio.linear import HOP, MAX_DELAY_HOPS, Linear
from halfbeat.audio.suppressor import Suppressor
from halfbeat.errors import AtCapacity

#: Of the cleaned audio behind the hop that comes in, in samples.
DELAY = HOP
#: Power of a hop that can be heard, as the mean of squares at full scale 1: -50 dBFS.
_AUDIBLE = 1e-5
#: An echo is gone when it is this much fainter than it was heard, in power: 15 dB.
_GONE = 10**-1.5
#: Powers are compared over about this much of what was played, per hop.
_MEMORY = 0.95
#: Played sound needed before an echo is known to be gone, 250 ms, and before there is none: it may come late.
_LEAST_HOPS = 25
_NONE_HOPS = MAX_DELAY_HOPS + _LEAST_HOPS
#: Of what the network takes away, a recogniser gets this share back: it minds holes in a voice more than a faint echo.
#: Words wrong in double talk: 27 % with none of it, 16 % with 0.1 or 0.2, 20 % with all (`python -m bench.echo`).
_GIVEN_BACK = 0.15


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Hops without echo, and whether it has gone.

    Attributes:
        samples: [n, HOP], full scale 1; the hop before the one that came in.
        words: the same for a recogniser, with a little of what the network took away.
        is_clear: whether each call's echo is known to be gone, or never was there, [n].
    """

    samples: Floats
    words: Floats
    is_clear: NDArray[np.bool_]


class Filter(Protocol):
    """What is left to do behind the linear filter; `Suppressor`, or nothing."""

    def reset(self, row: int) -> None:
        """Forgets a call."""

    def step(self, rows: NDArray[np.int64], heard: Floats, left: Floats, played: Floats) -> Floats:
        """Takes the next hop of some calls; returns the cleaned hop before it."""


class Unsuppressed:
    """Leaves what the linear filter leaves."""

    def __init__(self, rows: int) -> None:
        self._last = np.zeros((rows, HOP), dtype=np.float32)

    def reset(self, row: int) -> None:
        """See `Filter`."""
        self._last[row] = 0

    def step(self, rows: NDArray[np.int64], heard: Floats, left: Floats, played: Floats) -> Floats:
        """See `Filter`."""
        last = self._last[rows]
        self._last[rows] = left
        return last


def weights() -> Path:
    """Returns the network's file, which comes with halfbeat; `train/echo` made it."""
    return Path(str(files("halfbeat.audio").joinpath("suppressor.onnx")))


class EchoCanceller:
    """The cancellers of one process, a row for each call."""

    def __init__(self, rows: int, *, suppresses: bool = True) -> None:
        """Loads the network.

        Args:
            rows: calls at a time.
            suppresses: False for the linear filter alone.

        Raises:
            EngineFailed: the network cannot be used.
        """
        self._linear = Linear(rows)
        self._suppressor: Filter = Suppressor(weights(), rows) if suppresses else Unsuppressed(rows)
        self._free = list(range(rows))[::-1]
        self._left = np.zeros((rows, HOP), dtype=np.float32)
        # Of what was heard and of what is left of it.
        self._powers = np.zeros((rows, 2), dtype=np.float32)
        self._sounding = np.zeros(rows, dtype=np.int64)
        self._is_clear = np.zeros(rows, dtype=np.bool_)
        self._delays = np.zeros(rows, dtype=np.int64)

    @property
    def delay_hops(self) -> NDArray[np.int64]:
        """Where the echo of each row is looked for, [rows]."""
        delays: NDArray[np.int64] = self._linear.delay_hops
        return delays

    def open(self) -> int:
        """Returns a row for a call.

        Raises:
            AtCapacity: all are taken.
        """
        if not self._free:
            raise AtCapacity("no echo canceller is free")
        return self._free.pop()

    def close(self, row: int) -> None:
        """Forgets a call and frees its row."""
        self._linear.reset(row)
        self._suppressor.reset(row)
        for state in (self._left, self._powers, self._sounding, self._is_clear, self._delays):
            state[row] = 0
        self._free.append(row)

    def step(self, rows: NDArray[np.int64], heard: Floats, played: Floats) -> Cleaned:
        """Takes the next 10 ms of some calls.

        Args:
            rows: different ones, n of them.
            heard: what came from the callers, [n, HOP], full scale 1.
            played: what was sent to them at that time, or up to 700 ms after it in their echo, [n, HOP].
        """
        left, aligned = self._linear.step(rows, heard, played)
        cleaned = self._suppressor.step(rows, heard, left, aligned)
        words = cleaned + _GIVEN_BACK * (self._left[rows] - cleaned)
        self._left[rows] = left
        return Cleaned(cleaned, words, self._judge(rows, heard, aligned, cleaned))

    def _judge(self, rows: NDArray[np.int64], heard: Floats, aligned: Floats, cleaned: Floats) -> NDArray[np.bool_]:
        """Once clear, a call stays so until the path of its echo changes: a caller who speaks is not echo."""
        now = np.stack((np.mean(heard**2, -1), np.mean(cleaned**2, -1)), -1)
        is_sounding = np.mean(aligned**2, -1) > _AUDIBLE
        memory = np.where(is_sounding, _MEMORY, 1.0)[:, None].astype(np.float32)
        self._powers[rows] = powers = memory * self._powers[rows] + (1 - memory) * now
        delays = self.delay_hops[rows]
        has_moved = delays != self._delays[rows]
        self._delays[rows] = delays
        self._sounding[rows] = sounding = np.where(has_moved, 0, self._sounding[rows] + is_sounding)
        is_little = (powers[:, 0] < _AUDIBLE) | (powers[:, 1] < _GONE * powers[:, 0])
        # What goes before an echo was found was noise, and the echo may be on its way.
        least = np.where(self._linear.is_found(rows), _LEAST_HOPS, _NONE_HOPS)
        is_gone = is_little & (sounding >= least)
        is_clear: NDArray[np.bool_] = (self._is_clear[rows] & ~has_moved) | is_gone
        self._is_clear[rows] = is_clear
        return is_clear
