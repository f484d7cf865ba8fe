"""Who is there: every process tells what it runs in a key of the bucket `presence` that expires when it is gone."""

import asyncio
import json
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from halfbeat.bus import Bus, KeyValue
from halfbeat.errors import HalfbeatError
from halfbeat.subjects import PRESENCE

log = logging.getLogger(__name__)
BUCKET = PRESENCE.name
RENEW_S = 5.0
# Until the bucket is there: the router makes it, and the others may start before the router.
RETRY_S = 1.0
TTL_S = 15.0


@dataclass(frozen=True, slots=True)
class Present:
    """One process.

    Attributes:
        service: "router", "asr", "dialogue" or "tts".
        name: of the instance.
        version: of halfbeat.
        facts: what it runs, as its "ready" log line says.
    """

    service: str
    name: str
    version: str
    facts: Mapping[str, Any]


async def announce(bus: Bus, service: str, name: str, facts: Mapping[str, Any]) -> None:
    """Keeps this process's key until cancelled, then removes it. Failures never disturb the service.

    Args:
        bus: connected bus.
        service: of the process.
        name: of the instance.
        facts: JSON values.
    """
    key = f"{service}.{re.sub('[^A-Za-z0-9_-]', '-', name) or '-'}"
    value = json.dumps({"name": name, "version": version("halfbeat"), "facts": dict(facts)}, default=str).encode()
    bucket: KeyValue | None = None
    is_heard = True
    try:
        while True:
            try:
                bucket = bucket or await bus.key_value(BUCKET, ttl_s=TTL_S)
                await bucket.put(key, value)
                is_heard = True
            except HalfbeatError as e:
                if is_heard:
                    log.info("cannot tell others yet that this process runs: %s", e)
                is_heard = False
            await asyncio.sleep(RENEW_S if is_heard else RETRY_S)
    finally:
        if bucket is not None and bus.is_connected:
            with suppress(HalfbeatError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await bucket.delete(key)


async def present(bus: Bus) -> list[Present]:
    """Returns everybody who is there now, sorted by service and name.

    Raises:
        HalfbeatError: the bucket cannot be read; `Unavailable` while nobody has made it.
    """
    bucket, roster = await bus.key_value(BUCKET), Roster()
    for key in await bucket.keys():
        found = await bucket.get(key)
        if found is not None:
            roster.take(key, found[0])
    return roster.present


class Roster:
    """Everybody who is there, kept up to date by `follow`."""

    def __init__(self) -> None:
        self._present: dict[str, Present] = {}

    @property
    def present(self) -> list[Present]:
        """Sorted by service and name."""
        return [self._present[key] for key in sorted(self._present)]

    async def follow(self, bus: Bus, on_change: Callable[[], None] | None = None) -> None:
        """Follows the bucket until cancelled; survives a bus that is away.

        Args:
            bus: connected bus.
            on_change: called without arguments when somebody came, left or changed.
        """
        while True:
            try:
                bucket = await bus.key_value(BUCKET, ttl_s=TTL_S)
                async for change in bucket.watch():
                    if self.take(change.key, change.value) and on_change is not None:
                        on_change()
            except HalfbeatError as e:
                log.info("cannot see who is there: %s", e)
            await asyncio.sleep(RENEW_S)

    def take(self, key: str, value: bytes | None) -> bool:
        """Takes what the bucket says of a key; returns whether that changed anything."""
        before = self._present.get(key)
        if value is None:
            self._present.pop(key, None)
            return before is not None
        try:
            told = json.loads(value)
            now = Present(key.partition(".")[0], str(told["name"]), str(told["version"]), dict(told["facts"]))
        except (ValueError, TypeError, KeyError):
            return False
        self._present[key] = now
        return now != before
