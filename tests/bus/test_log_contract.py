"""The log of a session and its spans: one contract for both buses."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from bus_messages import eventually, frame, take, transcript
from bus_net import Net

from halfbeat import subjects
from halfbeat.bus import Delivery


async def test_the_log_holds_what_is_logged_of_one_session_in_order_and_no_audio(net: Net) -> None:
    bus = await net.connect()
    for i in range(20):
        await bus.publish(subjects.ASR_AUDIO, frame(i))
        await bus.publish(subjects.ASR_PARTIAL, transcript(i))
        await bus.publish(subjects.ASR_PARTIAL, transcript(i, "other"))
    await bus.publish(subjects.ASR_FINAL, transcript(20))

    async def read() -> list[Delivery]:
        return [d async for d in bus.log("s1")]

    await eventually(lambda: _has(read, 21))
    log = await read()
    assert [d.message.stamp.seq for d in log] == list(range(21))
    assert log[-1].kind is subjects.ASR_FINAL
    assert [d.sequence for d in log] == sorted({d.sequence for d in log})


async def _has(read: Callable[[], object], count: int) -> bool:
    return len(await read()) == count  # type: ignore[misc, arg-type]


async def test_a_log_longer_than_one_batch_is_read_whole(net: Net) -> None:
    bus = await net.connect()
    for i in range(700):
        await bus.publish(subjects.ASR_PARTIAL, transcript(i))

    async def read() -> list[int]:
        return [d.message.stamp.seq async for d in bus.log("s1")]

    await eventually(lambda: _has(read, 700))
    assert await read() == list(range(700))


async def test_an_empty_log_ends_at_once(net: Net) -> None:
    bus = await net.connect()
    async with asyncio.timeout(2):
        assert [d async for d in bus.log("nobody")] == []


async def test_following_a_log_continues_with_what_comes(net: Net) -> None:
    bus = await net.connect()
    await bus.publish(subjects.ASR_PARTIAL, transcript(0))
    async with aclosing(bus.log("s1", follow=True)) as log:  # type: ignore[type-var]
        assert [d.message.stamp.seq for d in await take(log, 1)] == [0]
        for i in range(1, 4):
            await bus.publish(subjects.ASR_PARTIAL, transcript(i))
            assert [d.message.stamp.seq for d in await take(log, 1)] == [i]


async def test_spans_are_kept_by_session_and_told_live_for_all(net: Net) -> None:
    bus = await net.connect()
    async with aclosing(bus.spans("*")) as live:  # type: ignore[type-var]
        first = asyncio.ensure_future(anext(aiter(live)))

        async def is_told() -> bool:
            await bus.publish_spans("s1", b"one")
            return first.done()

        await eventually(is_told)  # nobody can know when it has begun to listen
        assert await first == b"one"
    await bus.publish_spans("s2", b"two")

    async def read() -> list[bytes]:
        return [p async for p in bus.spans("s2")]

    await eventually(lambda: _has(read, 1))
    assert await read() == [b"two"]
