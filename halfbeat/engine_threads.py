"""An engine and its own threads: what is needed soonest is computed first, and none of it in the event loop.

An engine serves several calls by turns, a piece of work at a time. First come, first served would let one call's long
answer delay another's first word, so the earliest deadline goes first. A piece that has begun cannot be stopped.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

#: Deadline of work that nobody waits for yet: it goes when nothing else wants to.
WHENEVER_S = float("inf")


@dataclass(slots=True)
class Deadline:
    """When work is needed; may be moved while the work waits.

    Attributes:
        at_s: on the loop's clock; 0 for at once, `WHENEVER_S` for what nobody waits for.
    """

    at_s: float = 0.0


@dataclass(slots=True, eq=False)
class _Waiting:
    """Work without a place."""

    deadline: Deadline
    ready: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


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
        self._waiting: list[_Waiting] = []  # in the order they came
        self._wanted, self._wanted_until_s = 0, 0.0  # by those who have a deadline

    @property
    def idle_s(self) -> float:
        """For how long nobody with a deadline has wanted the engine."""
        return 0.0 if self._wanted else asyncio.get_running_loop().time() - self._wanted_until_s

    async def load(self) -> None:
        """Loads and warms the engine on one of its threads. Raises what `load` of the engine does."""
        await self.run(self.engine.load)

    async def run(self, work: Callable[[], T], deadline: Deadline | None = None) -> T:
        """Does a piece of work on one of the threads, after everything with an earlier deadline; returns its result.

        Cancellation while it waits gives its place up. Work that has begun runs to its end and keeps its place until
        then, its result is lost.

        Args:
            work: blocks; what it raises is raised here.
            deadline: when it is needed; at once by default. What nobody waits for had better wait until the engine is
                idle (`idle_s`): it would go between two pieces of an answer.
        """
        deadline = deadline or Deadline()
        is_wanted = deadline.at_s < WHENEVER_S
        self._wanted += is_wanted
        try:
            await self._place(deadline)
            try:
                running = asyncio.get_running_loop().run_in_executor(self._threads, work)
            except BaseException:
                self._release()
                raise
            running.add_done_callback(lambda _: self._release())
            return await asyncio.shield(running)
        finally:
            self._wanted -= is_wanted
            if is_wanted:
                self._wanted_until_s = asyncio.get_running_loop().time()

    def tidy(self, work: Callable[[], object]) -> None:
        """Does a short piece of cleaning-up on one of the threads; nobody waits for it. Not after `aclose`."""
        with suppress(RuntimeError):  # the threads are gone, and with them what was to be cleaned up
            self._threads.submit(work)

    async def aclose(self) -> None:
        """Waits for the work in progress; none can be done afterwards."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def _place(self, deadline: Deadline) -> None:
        if self._free:
            self._free -= 1
            return
        waiting = _Waiting(deadline)
        self._waiting.append(waiting)
        try:
            await waiting.ready
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            else:
                self._release()  # the place was ours already
            raise

    def _release(self) -> None:
        # Who was cancelled in this very turn of the loop is still in the list, and can take no place any more.
        waiting = [w for w in self._waiting if not w.ready.done()]
        if waiting:
            soonest = min(waiting, key=lambda w: w.deadline.at_s)
            self._waiting.remove(soonest)
            soonest.ready.set_result(None)
        else:
            self._free += 1
