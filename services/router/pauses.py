"""What a call teaches about its caller's pauses. No I/O."""

from math import log


class Pauses:
    """Mean length of the caller's pauses and odds that a pause is an end; begins with what callers do."""

    def __init__(self) -> None:
        self._sum_ms, self._count = 4 * 350.0, 4.0
        self._ends, self._resumes = 4.0, 4.0

    def resumed(self, pause_ms: int) -> None:
        """The caller went on after a pause."""
        self._sum_ms += min(pause_ms, 2000)
        self._count += 1
        self._resumes += 1

    def ended(self, pause_ms: int) -> None:
        """A turn was over."""
        self._ends += 1

    @property
    def mean_ms(self) -> float:
        """How long this caller pauses within a turn."""
        return min(max(self._sum_ms / self._count, 200.0), 700.0)

    @property
    def end_odds(self) -> float:
        """Log odds that a pause of this caller is the end of the turn, before anything else is known."""
        return min(max(log(self._ends / self._resumes), -1.0), 1.0)
