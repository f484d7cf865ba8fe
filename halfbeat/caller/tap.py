"""Reads along on the bus while a call is held: the conversation as the services see it, for showing and reporting."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from halfbeat import subjects, waterfall
from halfbeat.bus import Bus, Delivery, Subscription
from halfbeat.record import SessionRecord
from halfbeat.settings import NatsSettings

Show = Callable[[str, str], None]


class Tap:
    """Follows the first session that begins after it was opened."""

    def __init__(self, bus: Bus, subscription: Subscription, show: Show | None) -> None:
        self.record = SessionRecord("")
        self.deliveries: list[Delivery] = []
        self._bus, self._subscription, self._show = bus, subscription, show
        self._closed = asyncio.Event()

    @property
    def sid(self) -> str:
        """The session that is followed; empty before it began."""
        return self.record.sid

    async def follow(self) -> None:
        """Takes messages until cancelled."""
        async for delivery in self._subscription:
            if not self.record.sid:
                self.record.sid = delivery.sid
            if delivery.sid != self.record.sid:
                continue
            lines = self.record.take(delivery)
            if delivery.kind is subjects.SESSION_CLOSE:
                self._closed.set()
            if self._show is not None:
                for line in lines:
                    self._show(*line)

    async def settle(self, timeout_s: float = 5.0) -> None:
        """Waits until the session's end was seen."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._closed.wait()

    async def spans(self) -> list[waterfall.Span]:
        """Returns the session's spans."""
        found: list[waterfall.Span] = []
        async for payload in self._bus.spans(self.sid):
            found.extend(waterfall.decode(payload))
        return found


@asynccontextmanager
async def tapped(nats_url: str, show: Show | None) -> AsyncIterator[Tap | None]:
    """Opens a tap on the bus at this URL; None without a URL (a router elsewhere)."""
    if not nats_url:
        yield None
        return
    from halfbeat.bus.nats import NatsBus

    async with NatsBus(NatsSettings.from_environment(url=nats_url), name="halfbeat-tap", makes_storage=False) as bus:
        wanted = [kind.all for kind in subjects.KINDS if kind.is_logged]
        subscription = await bus.subscribe(wanted, ring_messages=4096)
        tap = Tap(bus, subscription, show)
        following = asyncio.create_task(tap.follow())
        try:
            yield tap
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            await subscription.aclose()
