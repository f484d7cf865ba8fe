"""A subscription: a ring with a consumer that waits on it, the same for every implementation of the bus."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Self

from google.protobuf.message import Message

from halfbeat.bus import Delivery
from halfbeat.bus.metrics import DWELL, count_drop
from halfbeat.bus.wire import TIMEOUT_HEADER, Raw, decode, error_reply
from halfbeat.drop import DropReason
from halfbeat.errors import AtCapacity, HalfbeatError, TimedOut, Unavailable
from halfbeat.ring import Broken, Closed, Ended, Ring, WouldBlock
from halfbeat.subjects import Lane

log = logging.getLogger(__name__)

_DWELL = {lane: DWELL.labels(lane.value) for lane in Lane}
MAX_AGE_MS = 5_000.0


class RingSubscription:
    """Implements `halfbeat.bus.Subscription`; the bus puts, one task iterates."""

    def __init__(
        self,
        ring_messages: int,
        *,
        max_age_ms: float | None = MAX_AGE_MS,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        unsubscribe: Callable[["RingSubscription"], Awaitable[None]] | None = None,
    ) -> None:
        """Takes the bounds of the ring and how to let go of the subjects."""
        self._ring: Ring[Raw] = Ring(ring_messages, _count_raw, max_age_ms=max_age_ms)
        self._clock_ns = clock_ns
        self._unsubscribe = unsubscribe
        self._waiter: asyncio.Future[None] | None = None
        self._is_closing = False

    def put(self, raw: Raw) -> None:
        """Takes a message from the bus; never waits."""
        self._ring.put(raw, raw.kind.lane, raw.received_ns)
        self._wake()

    def break_(self, cause: HalfbeatError) -> None:
        """Makes the iterator raise `cause`."""
        self._ring.break_(cause)
        self._wake()

    def end(self) -> None:
        """Lets the iterator end after what the ring still holds."""
        self._ring.close()
        self._wake()

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    async def __anext__(self) -> Delivery:
        raw = await self.take()
        try:
            return decode(raw)
        except HalfbeatError as e:
            count_drop(raw.kind, DropReason.MALFORMED)
            self.break_(e)
            raise

    async def take(self) -> Raw:
        """Waits for the next message, not decoded.

        Raises:
            StopAsyncIteration: the subscription was closed and its ring is empty.
            HalfbeatError: the subscription is broken.
        """
        while True:
            try:
                raw = self._ring.take(self._clock_ns())
            except WouldBlock:
                await self._wait()
            except (Ended, Closed):
                raise StopAsyncIteration from None
            except Broken as e:
                raise e.cause from None
            else:
                _DWELL[raw.kind.lane].observe(max(0, self._clock_ns() - raw.received_ns) / 1e9)
                return raw

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("a subscription is read by one task at a time")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Unsubscribes; the iterator ends after what the ring still holds. A second call does nothing."""
        if self._is_closing:
            return
        self._is_closing = True
        try:
            if self._unsubscribe is not None:
                await self._unsubscribe(self)
        finally:
            self.end()


def _count_raw(raw: Raw, reason: DropReason) -> None:
    count_drop(raw.kind, reason)


class Serving:
    """Answers the requests of one subscription, each in a task of its own."""

    def __init__(
        self,
        subscription: RingSubscription,
        handler: Callable[[Delivery], Awaitable[Message]],
        respond: Callable[[Raw, bytes], Awaitable[None]],
        *,
        max_in_flight: int = 256,
        drain_s: float = 5.0,
        on_close: Callable[["Serving"], None] | None = None,
    ) -> None:
        """Starts answering at once.

        Args:
            subscription: where requests come from; owned from now on.
            handler: makes the reply; an error it raises becomes the reply's `error`.
            respond: sends the encoded reply.
            max_in_flight: one more is refused "at capacity".
            drain_s: how long `aclose` lets running requests finish, in seconds.
            on_close: told by `aclose`.
        """
        self._subscription = subscription
        self._handler, self._respond = handler, respond
        self._max_in_flight, self._drain_s = max_in_flight, drain_s
        self._on_close = on_close
        self._running: set[asyncio.Task[None]] = set()
        self._loop = asyncio.create_task(self._serve(), name="bus-serve")

    def __aiter__(self) -> AsyncIterator[Delivery]:
        raise TypeError("requests are answered by the handler; there is nothing to iterate")

    async def aclose(self) -> None:
        """Takes no more requests, lets the running ones finish for a while, then cancels them."""
        if self._on_close is not None:
            self._on_close(self)
        await self._subscription.aclose()
        await asyncio.gather(self._loop, return_exceptions=True)
        if self._running:
            await asyncio.wait(self._running, timeout=self._drain_s)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _serve(self) -> None:
        while True:
            try:
                raw = await self._subscription.take()
            except StopAsyncIteration:
                return
            except HalfbeatError as e:
                log.error("no more requests are answered: %s", e)
                return
            has_room = len(self._running) < self._max_in_flight
            task = asyncio.create_task(
                self._answer(raw, has_room), name=f"bus-{raw.kind.kind}-{raw.kind.verb}-{raw.sid}"
            )
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _answer(self, raw: Raw, has_room: bool) -> None:
        try:
            reply = await self._reply(raw, has_room)
        except asyncio.CancelledError:
            await self._send(raw, error_reply(raw.kind, Unavailable("worker is stopping")))
            raise
        await self._send(raw, reply)

    async def _send(self, raw: Raw, reply: Message) -> None:
        if raw.reply:
            with suppress(HalfbeatError):  # the requester times out and asks another worker
                await self._respond(raw, reply.SerializeToString())

    async def _reply(self, raw: Raw, has_room: bool) -> Message:
        if not has_room:
            return error_reply(raw.kind, AtCapacity(f"{self._max_in_flight} requests are being answered"))
        try:
            delivery = decode(raw)
        except HalfbeatError as e:
            count_drop(raw.kind, DropReason.MALFORMED)
            return error_reply(raw.kind, e)
        try:
            async with asyncio.timeout(_timeout_s(raw)):
                return await self._handler(delivery)
        except TimeoutError:
            return error_reply(raw.kind, TimedOut("the requester's deadline passed"))
        except Exception as e:
            if not isinstance(e, HalfbeatError):
                log.exception("handler of %s.%s failed", raw.kind.kind, raw.kind.verb, extra={"sid": raw.sid})
            return error_reply(raw.kind, e)


def _timeout_s(raw: Raw) -> float | None:
    try:
        return int(raw.headers[TIMEOUT_HEADER]) / 1000
    except (KeyError, ValueError):
        return None
