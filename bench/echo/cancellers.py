"""What is compared. Each takes 10 ms of microphone and loudspeaker at a time, full scale 1, and returns 10 ms."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from halfbeat.audio import RATE_HZ, Floats
from halfbeat.audio.echo import EchoCanceller
from halfbeat.audio.linear import HOP
from halfbeat.errors import Unavailable

NONE, AEC3, LINEAR, OURS = "none", "aec3", "linear", "ours"


class Canceller(Protocol):
    """One call's."""

    def step(self, heard: Floats, played: Floats) -> tuple[Floats, Floats]:
        """Takes the next hop; returns what decides and what a recogniser gets."""


class Nothing:
    """The microphone as it is."""

    def step(self, heard: Floats, played: Floats) -> tuple[Floats, Floats]:
        """See `Canceller`."""
        return heard, heard


class Aec3:
    """WebRTC's, with its high-pass filter, as browsers have it; its noise suppression off."""

    def __init__(self) -> None:
        try:
            import pywebrtc_audio
        except ImportError as e:
            raise Unavailable("pywebrtc-audio is missing: `make bench-echo` installs it") from e
        self._canceller: Any = pywebrtc_audio.EchoCanceller(sample_rate=RATE_HZ)

    def step(self, heard: Floats, played: Floats) -> tuple[Floats, Floats]:
        """See `Canceller`."""
        out: Floats = self._canceller.process(heard, played)
        return out, out


class Halfbeat:
    """The router's own."""

    def __init__(self, *, suppresses: bool) -> None:
        self._canceller = EchoCanceller(1, suppresses=suppresses)
        self._rows = np.array([self._canceller.open()])

    def step(self, heard: Floats, played: Floats) -> tuple[Floats, Floats]:
        """See `Canceller`."""
        cleaned = self._canceller.step(self._rows, heard[None], played[None])
        return cleaned.samples[0], cleaned.words[0]


CANCELLERS: Mapping[str, Callable[[], Canceller]] = {
    NONE: Nothing,
    AEC3: Aec3,
    LINEAR: lambda: Halfbeat(suppresses=False),
    OURS: lambda: Halfbeat(suppresses=True),
}


def run(canceller: Canceller, heard: Floats, played: Floats) -> tuple[Floats, Floats, list[float]]:
    """Returns what a new canceller makes of a recording, for decisions and for words, and the ms of each hop."""
    out, words, cost = [], [], []
    for at in range(0, min(heard.size, played.size) - HOP + 1, HOP):
        began = time.perf_counter()
        made = canceller.step(heard[at : at + HOP], played[at : at + HOP])
        out.append(made[0])
        words.append(made[1])
        cost.append((time.perf_counter() - began) * 1000)
    return np.concatenate(out), np.concatenate(words), cost


def batched_ms(calls: int, hops: int = 300) -> list[float]:
    """Returns the milliseconds of hops of so many calls at once, by the router's own."""
    canceller = EchoCanceller(calls)
    rows = np.array([canceller.open() for _ in range(calls)])
    rng = np.random.default_rng(1)
    sound = (0.1 * rng.standard_normal((2, calls, HOP))).astype(np.float32)
    cost = []
    for _ in range(hops):
        began = time.perf_counter()
        canceller.step(rows, sound[0], sound[1])
        cost.append((time.perf_counter() - began) * 1000)
    return cost[20:]
