"""Who calls when: curves of calls per second, and callers drawn from them by seed."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lengths:
    """How long calls are: log-normal, as times between people are.

    The 311 demonstration's calls take 40-50 s; a caller with more to say takes minutes, which is the long tail.
    """

    mean_s: float = 45.0
    sigma: float = 0.5

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """Returns so many lengths in s, none below 3 s."""
        return np.maximum(rng.lognormal(math.log(self.mean_s) - self.sigma**2 / 2, self.sigma, count), 3.0)


@dataclass(frozen=True)
class Curve:
    """Calls per second over a time; what happens has a name."""

    name: str
    lasts_s: int
    calls_per_s: Callable[[float], float]

    def draw(self, rng: np.random.Generator) -> Floats:
        """Returns the moments at which callers dial, in order: a Poisson process with this rate."""
        rates = np.array([self.calls_per_s(second + 0.5) for second in range(self.lasts_s)])
        seconds = np.repeat(np.arange(self.lasts_s), rng.poisson(rates))
        return np.sort(seconds + rng.random(len(seconds)))


def storm_night(usual_per_s: float, factor: float = 10.0, ramp_s: float = 120.0) -> Curve:
    """Half an hour as usual; `factor` times as many within `ramp_s`; after 15 min an ebb that halves each 25."""
    begins_s, holds_s, half_life_s = 1800.0, 900.0, 1500.0

    def rate(at_s: float) -> float:
        grown = min(max((at_s - begins_s) / ramp_s, 0.0), 1.0)
        ebb = 0.5 ** (max(at_s - begins_s - ramp_s - holds_s, 0.0) / half_life_s)
        return usual_per_s * (1 + (factor - 1) * grown * ebb)

    return Curve("storm night", 4 * 3600, rate)


def normal_day(usual_per_s: float) -> Curve:
    """24 hours: hardly a call at four at night, the usual rate at noon and again at five in the afternoon."""

    def rate(at_s: float) -> float:
        hour = at_s / 3600
        day = math.exp(-(((hour - 11.5) / 2.8) ** 2)) + 0.95 * math.exp(-(((hour - 17.0) / 2.2) ** 2))
        return usual_per_s * (0.06 + 0.94 * min(day, 1.0))

    return Curve("normal day", 24 * 3600, rate)


def step(usual_per_s: float, factor: float = 3.0) -> Curve:
    """10 minutes as usual, then `factor` times as much from one second to the next, for 40 minutes."""
    return Curve("step", 4200, lambda at_s: usual_per_s * (factor if 600 <= at_s < 3000 else 1.0))
