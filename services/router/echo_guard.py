"""Whether what is heard may be the agent's own echo. No I/O."""

from dataclasses import dataclass


@dataclass(slots=True)
class EchoGuard:
    """Says how long the agent must expect to hear itself.

    While the guard is on, the agent is not ducked, and only a longer sound is taken for the caller's voice. Where the
    router cancels echo it ends by what the canceller measures, typically within the agent's first second in a call, and
    for good: it comes back only when the path of the echo changes. Elsewhere a timer ends it, in each answer, so that a
    canceller at the caller's end can adapt.

    Attributes:
        timer_ms: how long it is on where nothing measures the echo.
        limit_ms: how long it is on at most where the echo is measured: a caller must be able to interrupt.
        is_clear: the echo is known to be gone; None where nothing measures it.
    """

    timer_ms: int
    limit_ms: int
    is_clear: bool | None = None

    def is_on(self, sounding_ms: int) -> bool:
        """Whether echo is likely, this long after the first audible sample of the present answer."""
        if self.is_clear is None:
            return sounding_ms < self.timer_ms
        return not self.is_clear and sounding_ms < self.limit_ms
