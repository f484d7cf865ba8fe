"""What the tests of the bus share: the same contract on the in-memory bus and on a real server."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from bus_net import MemoryNet, NatsNet, Net
from prometheus_client import REGISTRY

from halfbeat.nats_server import EmbeddedServer


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
