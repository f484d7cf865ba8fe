"""Rings once, at the moment that was set last."""

import asyncio
from collections.abc import Callable

from halfbeat.clock import NS_PER_S

#: A loop rings by up to its clock's resolution early; who looks then that it is not yet time would be rung for ever.
_EARLY_S = 2e-6


class Alarm:
    """For moments a few ms away: setting it again costs nothing when the moment is the same."""

    def __init__(self, on_due: Callable[[], None]) -> None:
        self._on_due = on_due
        self._due_ns: int | None = None

    def set(self, due_ns: int | None, now_ns: int) -> None:
        """Rings at `due_ns`, monotonic, in place of any moment set before; None: not at all."""
        if due_ns is not None and due_ns != self._due_ns:
            delay_s = (due_ns - now_ns) / NS_PER_S + _EARLY_S
            asyncio.get_running_loop().call_later(delay_s, self._ring, due_ns)
        self._due_ns = due_ns

    def _ring(self, due_ns: int) -> None:
        if due_ns == self._due_ns:  # kept: a moment that has passed is not rung for twice
            self._on_due()
