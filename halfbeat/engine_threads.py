"""An engine and its own threads: what is needed soonest is computed first, and none of it in the event loop.

An engine serves several calls by turns, a piece of work at a time. First come, first served would let one call's long
answer delay another's first word, so the earliest deadline goes first. A piece that has begun cannot be stopped.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

#: Deadline of work that nobody waits for yet: it goes when nothing else wants to.
WHENEVER_S = float("inf")


class Engine(Protocol):
    """What every engine has, whatever it computes."""

    @property
    def name(self) -> str:
        """What metrics and logs call it."""

    def load(self) -> None:
        """Loads the model and uses it once; blocks."""


E = TypeVar("E", bound=Engine)
T = TypeVar("T")


class EngineThreads(Generic[E]):
    """An engine, shared by the sessions of this process. One event loop."""

    def __init__(self, engine: E, *, workers: int) -> None:
        """Takes the engine, not loaded yet, and how many pieces of work it may do at the same time."""
        self.engine = engine
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=f"{engine.name}-engine")
        self._free = workers
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    async def load(self) -> None:
        """Loads and warms the engine on one of its threads. Raises what `load` of the engine does."""
        await self.run(self.engine.load)

    async def run(self, work: Callable[[], T], *, deadline_s: float = 0.0) -> T:
        """Does a piece of work on one of the threads, after everything with an earlier deadline; returns its result.

        Cancellation while it waits gives its place up. Work that has begun runs to its end and keeps its place until
        then, its result is lost.

        Args:
            work: blocks; what it raises is raised here.
            deadline_s: when it is needed, on the loop's clock; `WHENEVER_S` for what nobody waits for.
        """
        await self._place(deadline_s)
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except BaseException:
            self._release()
            raise
        running.add_done_callback(lambda _: self._release())
        return await asyncio.shield(running)

    def tidy(self, work: Callable[[], object]) -> None:
        """Does a short piece of cleaning-up on one of the threads; nobody waits for it. Not after `aclose`."""
        with suppress(RuntimeError):  # the threads are gone, and with them what was to be cleaned up
            self._threads.submit(work)

    async def aclose(self) -> None:
        """Waits for the work in progress; none can be done afterwards."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def _place(self, deadline_s: float) -> None:
        if self._free:
            self._free -= 1
            return
        ready = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (deadline_s, next(self._order), ready))
        try:
            await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled():
                self._release()  # the place was ours already
            raise

    def _release(self) -> None:
        while self._waiting:
            _, _, ready = heapq.heappop(self._waiting)
            if not ready.done():
                ready.set_result(None)
                return
        self._free += 1
