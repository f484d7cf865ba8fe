"""Time as a thing that is handed in: monotonic, or virtual: it jumps when nothing is left to do."""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """What paces and measures."""

    def now_ns(self) -> int:
        """Nanoseconds since some fixed moment; never falls."""

    async def sleep(self, seconds: float) -> None:
        """Waits; not at all for zero or less."""


class MonotonicClock:
    """`time.monotonic_ns` and `asyncio.sleep`."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)


class LoopClock:
    """The time of the running event loop: virtual inside `run_virtual`."""

    def now_ns(self) -> int:
        return round(asyncio.get_running_loop().time() * NS_PER_S)

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits for a timer: moves the clock to it. Still waits for sockets and threads when no timer is left."""

    virtual_s = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self.virtual_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as every task waits. For tests."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._jumping.virtual_s


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on a `VirtualLoop`; all of asyncio's timers are virtual inside."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
