"""Key-value buckets: one contract for both buses."""

import asyncio
from contextlib import aclosing

import pytest
from bus_messages import eventually, take
from bus_net import Net

from halfbeat.bus import KeyChange, KeyValue
from halfbeat.errors import Unavailable


async def bucket(net: Net, ttl_s: float | None = None) -> KeyValue:
    return await (await net.connect()).key_value("owners", ttl_s=ttl_s)


async def test_a_value_is_read_back_with_its_revision(net: Net) -> None:
    kv = await bucket(net)
    assert await kv.get("s1") is None
    revision = await kv.put("s1", b"router-1")
    assert await kv.get("s1") == (b"router-1", revision)
    assert await kv.put("s1", b"router-2") > revision


async def test_connections_share_a_bucket(net: Net) -> None:
    first, second = await bucket(net), await bucket(net)
    await first.put("s1", b"a")
    assert (await second.get("s1") or (b"",))[0] == b"a"


async def test_only_the_first_creates_a_key(net: Net) -> None:
    first, second = await bucket(net), await bucket(net)
    made = await asyncio.gather(*(kv.create("s1", b"x") for kv in (first, second, first, second)))
    assert sum(revision is not None for revision in made) == 1


async def test_an_update_needs_the_revision_that_is_there(net: Net) -> None:
    kv = await bucket(net)
    revision = await kv.put("s1", b"1")
    newer = await kv.update("s1", b"2", revision)
    assert newer is not None
    assert await kv.update("s1", b"3", revision) is None
    assert await kv.get("s1") == (b"2", newer)


async def test_a_deleted_key_is_gone_and_can_be_created_again(net: Net) -> None:
    kv = await bucket(net)
    await kv.put("s1", b"1")
    await kv.put("s2", b"2")
    await kv.delete("s1")
    assert await kv.get("s1") is None
    assert await kv.keys() == ["s2"]
    assert await kv.create("s1", b"3") is not None
    assert await kv.keys() == ["s1", "s2"]


async def test_a_key_expires_its_watcher_hears_of_it_and_it_can_be_created_again(net: Net) -> None:
    kv = await bucket(net)
    await kv.put("s0", b"stays")
    async with aclosing(kv.watch()) as changes:  # type: ignore[type-var]
        assert [c.key for c in await take(changes, 1)] == ["s0"]
        revision = await kv.create("s1", b"router-1", ttl_s=1)
        assert revision is not None
        assert await take(changes, 1) == [KeyChange("s1", b"router-1", revision)]
        assert await kv.create("s1", b"router-2") is None
        await net.pass_time(1.0)
        [gone] = await take(changes, 1)
        assert (gone.key, gone.value) == ("s1", None)
    assert await kv.get("s1") is None
    assert await kv.update("s1", b"late", revision) is None
    assert await kv.keys() == ["s0"]
    assert await kv.create("s1", b"router-2") is not None


async def test_renewing_a_key_keeps_it_for_another_time_to_live_and_no_longer(net: Net) -> None:
    kv = await bucket(net, ttl_s=1)
    revision = await kv.create("s1", b"router-1")
    assert revision is not None
    for _ in range(3):
        await net.pass_time(0.6)
        revision = await kv.update("s1", b"router-1", revision)
        assert revision is not None, "expired although it was renewed in time"
    await net.pass_time(1.0)

    async def is_gone() -> bool:
        return await kv.get("s1") is None

    await eventually(is_gone)


async def test_a_key_without_time_to_live_stays(net: Net) -> None:
    kv = await bucket(net)
    await kv.put("s1", b"1", ttl_s=1)
    await kv.put("s1", b"2")
    await net.pass_time(1.5)
    assert (await kv.get("s1") or (b"",))[0] == b"2"


async def test_keys_fail_while_disconnected(net: Net, short_grace: None) -> None:
    kv = await bucket(net)
    await net.cut()
    async with asyncio.timeout(2):
        with pytest.raises(Unavailable):
            await kv.put("s1", b"1")
        with pytest.raises(Unavailable):
            await kv.get("s1")
