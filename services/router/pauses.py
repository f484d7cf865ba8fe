"""What a call teaches about its caller's pauses. No I/O."""

from math import log

#: What callers do before one is known, and how many pauses that counts as: the third pause of a slow caller is
#: waited for already. `bench/turns/speech.py` draws its pauses with this mean.
_PRIOR_MS, _PRIOR_COUNT = 500.0, 4.0
#: A longer pause counts as this long: one search for a letter says nothing of the next pause.
_MAX_PAUSE_MS = 1500
#: Nobody is taken for quicker or slower than this.
_MEAN_MS = (350.0, 850.0)
#: A shorter pause is a breath between words: no turn ends in it, and it is no sign of a caller who hesitates.
_BREATH_MS = 350
#: The log odds move no further than this.
_MAX_ODDS = 0.5


class Pauses:
    """How long a caller pauses within a turn, and how often a pause is the end of one."""

    def __init__(self) -> None:
        self._sum_ms, self._count = _PRIOR_MS * _PRIOR_COUNT, _PRIOR_COUNT
        self._resumed = self._ended = _PRIOR_COUNT

    def resumed(self, pause_ms: int) -> None:
        """The caller went on after a pause."""
        if pause_ms >= _BREATH_MS:
            self._sum_ms += min(pause_ms, _MAX_PAUSE_MS)
            self._count += 1
            self._resumed += 1

    def ended(self, pause_ms: int) -> None:
        """A pause was the end. How long it lasted says nothing of pauses within a turn."""
        self._ended += 1

    @property
    def mean_ms(self) -> float:
        """Mean length of the caller's pauses within a turn."""
        return min(max(self._sum_ms / self._count, _MEAN_MS[0]), _MEAN_MS[1])

    @property
    def end_odds(self) -> float:
        """How much a pause of this caller is more likely an end than one of others; log odds."""
        return min(max(log(self._ended / self._resumed), -_MAX_ODDS), _MAX_ODDS)
