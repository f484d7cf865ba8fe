"""Who may use the engine next: the session whose caller would run out of sound first.

An engine makes speech several times faster than real time, so one engine serves several sessions by turns, a piece at a
time. First come, first served would let a long answer delay somebody's first word.
"""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turnstile:
    """Lets a fixed number through at a time, earliest deadline first. One event loop."""

    def __init__(self, places: int) -> None:
        """Takes the number of engine threads."""
        self._free = places
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, deadline_s: float) -> AsyncIterator[None]:
        """Waits for a place and holds it for the block.

        Cancellation while waiting gives the place up to the next.

        Args:
            deadline_s: when the piece is needed, on the loop's clock.
        """
        if self._free:
            self._free -= 1
        else:
            ready = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (deadline_s, next(self._order), ready))
            try:
                await ready
            except asyncio.CancelledError:
                if ready.done() and not ready.cancelled():
                    self._release()  # it was our turn already
                raise
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        while self._waiting:
            _, _, ready = heapq.heappop(self._waiting)
            if not ready.done():
                ready.set_result(None)
                return
        self._free += 1
