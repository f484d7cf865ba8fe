"""What the tests of the bus share: the same contract on the in-memory bus and on a real server."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, Protocol

import pytest
from bus_messages import eventually
from prometheus_client import REGISTRY

from halfbeat.bus import Bus
from halfbeat.bus.memory import MemoryBroker
from halfbeat.bus.nats import NatsBus
from halfbeat.nats_server import EmbeddedServer
from halfbeat.settings import NatsSettings


class Net(Protocol):
    """A broker with connections to it."""

    is_real: bool

    async def connect(self, name: str = "test") -> Bus: ...

    async def cut(self) -> None:
        """Every connection is lost."""

    async def heal(self) -> None:
        """Every connection is back."""

    async def pass_time(self, seconds: float) -> None:
        """Lets time to live pass."""

    async def interests(self) -> int:
        """The broker's own count of subscriptions."""

    async def publish_raw(self, subject: str, payload: bytes) -> None:
        """Publishes what no bus of ours would."""


class MemoryNet:
    is_real = False

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack, self._now = stack, 0.0
        self.broker = MemoryBroker(clock=lambda: self._now)
        self._buses: list[Any] = []

    async def connect(self, name: str = "test") -> Bus:
        bus = await self._stack.enter_async_context(self.broker.connect(name))
        self._buses.append(bus)
        return bus

    async def cut(self) -> None:
        for bus in self._buses:
            bus.disconnect()

    async def heal(self) -> None:
        for bus in self._buses:
            bus.reconnect()

    async def pass_time(self, seconds: float) -> None:
        self._now += seconds
        self.broker.tick()

    async def interests(self) -> int:
        return self.broker.interests

    async def publish_raw(self, subject: str, payload: bytes) -> None:
        self.broker.send(subject, payload, {})


class NatsNet:
    is_real = True

    def __init__(self, stack: AsyncExitStack, server: EmbeddedServer) -> None:
        self._stack, self.server = stack, server
        self._buses: list[NatsBus] = []

    async def connect(self, name: str = "test") -> Bus:
        bus = await self._stack.enter_async_context(NatsBus(NatsSettings(url=self.server.url), name=name))
        self._buses.append(bus)
        return bus

    async def cut(self) -> None:
        await self.server.stop()
        await eventually(lambda: not any(b.is_connected for b in self._buses))

    async def heal(self) -> None:
        await self.server.start()
        await eventually(lambda: all(b.is_connected for b in self._buses))

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)  # a real server's clock cannot be set

    async def interests(self) -> int:
        return int((await monitor(self.server, "varz"))["subscriptions"])

    async def publish_raw(self, subject: str, payload: bytes) -> None:
        import nats

        client = await nats.connect(self.server.url)
        await client.publish(subject, payload)
        await client.flush()
        await client.flush()
        await client.close()


async def monitor(server: EmbeddedServer, page: str) -> dict[str, Any]:
    """Reads one of the server's monitoring pages."""

    def read() -> dict[str, Any]:
        with urllib.request.urlopen(f"{server.monitoring_url}/{page}", timeout=5) as response:
            return dict(json.load(response))

    return await asyncio.to_thread(read)


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer() as embedded:
        yield embedded


@pytest.fixture(params=["memory", "nats"])
async def net(request: pytest.FixtureRequest) -> AsyncIterator[Net]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield MemoryNet(stack)
        else:
            yield NatsNet(stack, await stack.enter_async_context(EmbeddedServer()))


@pytest.fixture
def dropped() -> Callable[[str, str], int]:
    """Counts drops of one kind and reason since the test began."""

    def value(kind: str, reason: str) -> float:
        return REGISTRY.get_sample_value("halfbeat_dropped_total", {"kind": kind, "reason": reason}) or 0.0

    start = {
        (s.labels["kind"], s.labels["reason"]): s.value
        for metric in REGISTRY.collect()
        if metric.name == "halfbeat_dropped"
        for s in metric.samples
        if s.name == "halfbeat_dropped_total"
    }
    return lambda kind, reason: int(value(kind, reason) - start.get((kind, reason), 0.0))


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halfbeat.bus.memory.GRACE_S", 0.1)
    monkeypatch.setattr("halfbeat.bus.connection.GRACE_S", 0.1)
