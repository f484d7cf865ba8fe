import asyncio
import inspect
from collections.abc import Callable
from contextlib import asynccontextmanager

import pytest

from halfbeat import presence
from halfbeat.bus.memory import MemoryBroker
from halfbeat.bus.nats import NatsBus
from halfbeat.nats_server import EmbeddedServer
from halfbeat.presence import Present, Roster, announce
from halfbeat.settings import NatsSettings


@asynccontextmanager
async def memory():
    async with MemoryBroker().connect("test") as bus:
        yield bus


@asynccontextmanager
async def nats():
    async with EmbeddedServer() as server, NatsBus(NatsSettings(url=server.url), name="test") as bus:
        yield bus


@pytest.fixture(params=[memory, nats])
async def bus(request):
    async with request.param() as bus:
        yield bus


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while True:
            holds = condition()
            if await holds if inspect.isawaitable(holds) else holds:
                return
            await asyncio.sleep(0.01)


async def stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_announces_himself_is_seen_until_he_stops(bus):
    roster, changes = Roster(), []
    following = asyncio.create_task(roster.follow(bus, lambda: changes.append(len(roster.present))))
    asr = asyncio.create_task(announce(bus, "asr", "box.example:1", {"engine": "moonshine"}))
    tts = asyncio.create_task(announce(bus, "tts", "box", {"slots": 4}))
    await until(lambda: len(roster.present) == 2)
    assert [(p.service, p.name, p.facts) for p in roster.present] == [
        ("asr", "box.example:1", {"engine": "moonshine"}),
        ("tts", "box", {"slots": 4}),
    ]
    await stop(asr)
    await until(lambda: [p.service for p in roster.present] == ["tts"])
    assert changes == [1, 2, 1]
    await stop(tts, following)


async def test_who_came_before_is_seen_too(bus):
    asr = asyncio.create_task(announce(bus, "asr", "box", {}))
    bucket = await bus.key_value(presence.BUCKET)
    await until(bucket.keys)
    roster = Roster()
    following = asyncio.create_task(roster.follow(bus))
    await until(lambda: roster.present)
    await stop(asr, following)


async def test_renewing_is_no_change_and_rubbish_is_ignored(bus, monkeypatch):
    monkeypatch.setattr(presence, "RENEW_S", 0.01)
    roster, changes = Roster(), []
    following = asyncio.create_task(roster.follow(bus, lambda: changes.append(1)))
    bucket = await bus.key_value(presence.BUCKET)
    for rubbish in (b"\xff", b"5", b"{}", b'{"name": 1, "version": 2, "facts": 3}'):
        await bucket.put("asr.rubbish", rubbish)
    asr = asyncio.create_task(announce(bus, "asr", "box", {}))
    await until(lambda: roster.present)
    revision = (await bucket.get("asr.box"))[1]

    async def is_renewed() -> bool:
        return (await bucket.get("asr.box"))[1] >= revision + 3

    await until(is_renewed)
    assert roster.present == [Present("asr", "box", roster.present[0].version, {})]
    assert changes == [1]
    await stop(asr, following)
