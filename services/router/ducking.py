"""How loud the agent is while the caller makes a sound; ramps from one level to the next leave no click. No I/O."""

from enum import Enum

import numpy as np

from halfbeat.audio import Floats, samples_of

#: A ramp of this length is not heard as a click and ends within one frame.
RAMP_MS = 10


class Level(Enum):
    """How loud the agent is."""

    FULL = "full"
    DUCKED = "ducked"
    MUTED = "muted"


class Fader:
    """Applies a level to frames of at least `RAMP_MS`."""

    def __init__(self, rate_hz: int, *, duck_db: float) -> None:
        """Takes the rate and how far below full level "ducked" is, in dB."""
        self._ramp_samples = rate_hz * RAMP_MS // 1000
        self._gains = {Level.FULL: 1.0, Level.DUCKED: 10 ** (-abs(duck_db) / 20), Level.MUTED: 0.0}
        self._gain = 1.0
        self.level = Level.FULL

    def reset(self) -> None:
        """Full level at once: nothing is being heard."""
        self.level, self._gain = Level.FULL, 1.0

    def apply(self, pcm: bytes) -> bytes:
        """Returns the next frame at the level, faded from that of the frame before."""
        goal = self._gains[self.level]
        if self._gain == goal == 1.0:
            return pcm
        samples = samples_of(pcm)
        curve: Floats = np.full(samples.size, goal, dtype=np.float32)
        if self._gain != goal:
            curve[: self._ramp_samples] = np.linspace(self._gain, goal, self._ramp_samples, dtype=np.float32)
            self._gain = goal
        quieter: bytes = np.rint(samples * curve).astype("<i2").tobytes()
        return quieter
