"""Who owns a session: a record that expires unless its router renews it, and what another router would have to know."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from halfbeat import subjects
from halfbeat.bus import Bus, KeyValue
from halfbeat.clock import Clock
from halfbeat.errors import HalfbeatError

log = logging.getLogger(__name__)
OWNERS, SESSIONS = subjects.OWNERS.name, subjects.SESSIONS.name


async def prepare(bus: Bus) -> None:
    """Makes the buckets of all services, and asks its own once, so that no call waits for what that sets up."""
    for bucket in subjects.BUCKETS:
        opened = await bus.key_value(bucket.name)
        if bucket.name in (OWNERS, SESSIONS):
            await opened.get("none")


class Lease:
    """Keeps the records of one session. Failures are logged: a call does not die because its record does."""

    def __init__(
        self, bus: Bus, sid: str, owner: str, state: Callable[[], Mapping[str, object]], clock: Clock, ttl_s: float
    ) -> None:
        """Takes what to record.

        Args:
            bus: connected bus.
            sid: the session, the key.
            owner: name of this router.
            state: called at each renewal; JSON values.
            clock: paces the renewals.
            ttl_s: life of the records; they are renewed three times as often.
        """
        self._bus, self._sid, self._owner, self._state = bus, sid, owner, state
        self._clock, self._ttl_s = clock, ttl_s
        self._owners: KeyValue | None = None
        self._sessions: KeyValue | None = None
        self._revision: int | None = None

    async def keep(self) -> None:
        """Writes the records and renews them until cancelled; removes them then."""
        try:
            while True:
                with suppress(HalfbeatError):
                    await self._renew()
                await self._clock.sleep(self._ttl_s / 3)
        finally:
            await self._remove()

    async def _renew(self) -> None:
        if self._owners is None or self._sessions is None:
            self._owners = await self._bus.key_value(OWNERS)
            self._sessions = await self._bus.key_value(SESSIONS)
        owner = json.dumps({"router": self._owner}).encode()
        if self._revision is None:
            self._revision = await self._owners.create(self._sid, owner, ttl_s=self._ttl_s)
        else:
            self._revision = await self._owners.update(self._sid, owner, self._revision, ttl_s=self._ttl_s)
        if self._revision is None:
            log.warning("another router owns this session", extra={"sid": self._sid})
        await self._sessions.put(self._sid, json.dumps(dict(self._state())).encode(), ttl_s=self._ttl_s)

    async def _remove(self) -> None:
        with suppress(HalfbeatError, TimeoutError):
            async with asyncio.timeout(2):
                for bucket in (self._owners, self._sessions):
                    if bucket is not None:
                        await bucket.delete(self._sid)
