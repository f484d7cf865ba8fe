"""Whether what is heard may be the agent's own echo. No I/O."""

from dataclasses import dataclass
from typing import Protocol


class EchoGuard(Protocol):
    """Says how long the agent must expect to hear itself.

    While the guard is on, the agent is not ducked, and only a longer sound is taken for the caller's voice. Today a
    timer ends it. A canceller that removes the echo will end it by what it measures: its echo return loss says when
    nothing audible is left, which may be at once, or, on a loudspeaker that it has not learned yet, later.
    """

    def is_on(self, sounding_ms: int) -> bool:
        """Whether echo is likely, this long after the first audible sample of the present answer."""


@dataclass(frozen=True, slots=True)
class TimedEchoGuard:
    """On for a fixed time at the beginning of each answer, in which an echo canceller at the caller's end adapts."""

    guard_ms: int

    def is_on(self, sounding_ms: int) -> bool:
        """See `EchoGuard`."""
        return sounding_ms < self.guard_ms
