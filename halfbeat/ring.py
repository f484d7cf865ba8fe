"""A bounded ring between the bus and one consumer: what happens under pressure is decided here, without I/O.

    open ──close()──> ended      what is held can still be taken, then `Ended`
     │ └──shut()────> closed     what is held is thrown away; taking raises `Closed`
     └──break_()────> broken     taking raises `Broken` with the cause, at once

Real-time messages push out the oldest of their lane. A control message that does not fit breaks the ring: a session
that lost one cannot be trusted any more.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Generic, TypeVar

from halfbeat.drop import DropReason
from halfbeat.errors import HalfbeatError, Unavailable
from halfbeat.subjects import Lane

T = TypeVar("T")


class WouldBlock(Exception):
    """Nothing is there yet."""


class Ended(Exception):
    """The sender's side was closed and everything was taken."""


class Closed(Exception):
    """The consumer's side was closed."""


class Broken(Exception):
    """The ring cannot be trusted any more; `cause` says why."""

    def __init__(self, cause: HalfbeatError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class State(Enum):
    """See the drawing above."""

    OPEN = "open"
    ENDED = "ended"
    BROKEN = "broken"
    CLOSED = "closed"


class Ring(Generic[T]):
    """A queue of at most `capacity` messages of two lanes, taken in the order they were put."""

    def __init__(
        self,
        capacity: int,
        on_drop: Callable[[T, DropReason], None],
        *,
        max_age_ms: float | None = None,
    ) -> None:
        """Takes the bounds.

        Args:
            capacity: messages of both lanes together, at least 1.
            on_drop: told every message that is given up, with the reason.
            max_age_ms: a real-time message that waited longer is dropped when its turn comes; None keeps it.
        """
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}, must be at least 1")
        self._capacity = capacity
        self._on_drop = on_drop
        self._max_age_ns = None if max_age_ms is None else int(max_age_ms * 1e6)
        # One queue a lane, each message with its number, so that making room costs the same however full it is.
        self._realtime: deque[tuple[int, int, T]] = deque()
        self._control: deque[tuple[int, int, T]] = deque()
        self._count = 0
        self._cause: HalfbeatError | None = None
        self.state = State.OPEN

    def __len__(self) -> int:
        return len(self._realtime) + len(self._control)

    def put(self, item: T, lane: Lane, now_ns: int) -> None:
        """Adds one message; on a ring that is not open it is ignored.

        Args:
            item: the message.
            lane: what to do when there is no room.
            now_ns: monotonic time of its arrival.
        """
        if self.state is not State.OPEN:
            return
        if len(self) >= self._capacity:
            if self._realtime:
                self._on_drop(self._realtime.popleft()[2], DropReason.RING_FULL)
            elif lane is Lane.REALTIME:
                self._on_drop(item, DropReason.RING_FULL)
                return
            else:
                self._on_drop(item, DropReason.RING_FULL)
                self.break_(Unavailable(f"consumer too slow: {self._capacity} control messages wait already"))
                return
        self._count += 1
        (self._realtime if lane is Lane.REALTIME else self._control).append((self._count, now_ns, item))

    def take(self, now_ns: int) -> T:
        """Removes and returns the oldest message.

        Raises:
            WouldBlock: there is none yet.
            Ended: there is none and none will come.
            Broken: the ring was broken.
            Closed: the consumer closed it.
        """
        if self._cause is not None:
            raise Broken(self._cause)
        if self.state is State.CLOSED:
            raise Closed
        while self._realtime or self._control:
            if not self._realtime or (self._control and self._control[0][0] < self._realtime[0][0]):
                return self._control.popleft()[2]
            _, arrived_ns, item = self._realtime.popleft()
            if self._max_age_ns is None or now_ns - arrived_ns <= self._max_age_ns:
                return item
            self._on_drop(item, DropReason.LATE)
        raise Ended if self.state is State.ENDED else WouldBlock

    def close(self) -> None:
        """No more will be put; what is held can still be taken."""
        if self.state is State.OPEN:
            self.state = State.ENDED

    def shut(self) -> None:
        """The consumer is gone; what is held is thrown away."""
        if self.state is not State.BROKEN:
            self.state = State.CLOSED
        self._clear()

    def break_(self, cause: HalfbeatError) -> None:
        """Makes every further `take` raise `Broken(cause)`; the first cause stays."""
        if self.state in (State.OPEN, State.ENDED):
            self.state, self._cause = State.BROKEN, cause
            self._clear()

    def _clear(self) -> None:
        self._realtime.clear()
        self._control.clear()
