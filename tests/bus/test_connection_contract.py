"""Lost connections and clean ends: one contract for both buses."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest
from bus_messages import eventually, frame, open_request, take, transcript
from bus_net import Net

from halfbeat import subjects
from halfbeat.bus import Delivery
from halfbeat.errors import InvalidRequest, Unavailable
from halfbeat.v1 import session_pb2

Dropped = Callable[[str, str], int]


async def answer(delivery: Delivery) -> session_pb2.OpenReply:
    return session_pb2.OpenReply(worker="w1", free_slots=3)


async def test_a_message_larger_than_the_bus_takes_is_refused_and_the_connection_lives_on(net: Net) -> None:
    bus = await net.connect()
    with pytest.raises(InvalidRequest, match="bytes"):
        await bus.publish(subjects.ASR_PARTIAL, transcript(text="x" * 300_000))
    subscription = await bus.subscribe([subjects.ASR_PARTIAL.of("s1")])
    await bus.publish(subjects.ASR_PARTIAL, transcript(1))
    assert len(await take(subscription, 1)) == 1


async def test_frames_are_dropped_and_counted_while_disconnected(net: Net, dropped: Dropped) -> None:
    bus = await net.connect()
    await net.cut()
    assert not bus.is_connected
    assert await bus.publish(subjects.ASR_AUDIO, frame()) is False
    assert dropped("asr.audio", "disconnected") == 1
    await bus.publish_spans("s1", b"x")
    assert dropped("trace.spans", "disconnected") == 1


async def test_control_and_requests_fail_while_disconnected(net: Net, short_grace: None) -> None:
    bus = await net.connect()
    await net.cut()
    with pytest.raises(Unavailable):
        await bus.publish(subjects.ASR_PARTIAL, transcript())
    async with asyncio.timeout(1):
        with pytest.raises(Unavailable):
            await bus.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=30)


async def test_control_published_within_the_grace_arrives_after_the_connection_is_back(net: Net) -> None:
    receiver = await net.connect()
    sender, line = await net.connect_fragile()
    subscription = await receiver.subscribe([subjects.ASR_PARTIAL.of("s1"), subjects.ASR_AUDIO.of("s1")])
    await line.cut()
    publishing = asyncio.create_task(sender.publish(subjects.ASR_PARTIAL, transcript(1)))
    assert await sender.publish(subjects.ASR_AUDIO, frame(0)) is False
    await line.heal()
    await publishing
    await sender.publish(subjects.ASR_PARTIAL, transcript(2))
    # Nothing of the time without connection comes as a stale burst.
    assert [(d.kind.verb, d.message.stamp.seq) for d in await take(subscription, 2)] == [
        ("partial", 1),
        ("partial", 2),
    ]


async def test_subscriptions_live_on_when_the_connection_is_back(net: Net) -> None:
    sender = await net.connect()
    receiver, line = await net.connect_fragile()
    subscription = await receiver.subscribe([subjects.ASR_PARTIAL.of("s1")])
    await line.cut()
    await sender.publish(subjects.ASR_PARTIAL, transcript(0))
    await line.heal()
    await sender.publish(subjects.ASR_PARTIAL, transcript(1))
    assert [d.message.stamp.seq for d in await take(subscription, 1)] == [1]


async def test_a_closed_bus_refuses(net: Net) -> None:
    bus = await net.connect()
    await bus.__aexit__(None, None, None)
    assert not bus.is_connected
    with pytest.raises(Unavailable):
        await bus.publish(subjects.ASR_PARTIAL, transcript())
    with pytest.raises(Unavailable):
        await bus.subscribe([subjects.ASR_PARTIAL.all])


async def test_leaving_the_bus_leaves_no_task_and_no_subscription(net: Net) -> None:
    watcher = await net.connect()
    await watcher.key_value("owners")  # a bucket is a stream, which the server itself subscribes for
    tasks, interests = asyncio.all_tasks(), await net.interests()
    bus = await net.connect()
    subscription = await bus.subscribe([subjects.ASR_PARTIAL.all, subjects.ASR_AUDIO.of("s1")])
    await bus.serve(subjects.ASR_OPEN.all, answer, queue="asr")
    await watcher.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=2)
    assert [d async for d in bus.log("s1")] == []
    kv = await bus.key_value("owners")
    await kv.put("k", b"v")
    async with aclosing(kv.watch()) as changes:  # type: ignore[type-var]
        await take(changes, 1)
    assert await net.interests() > interests
    await bus.__aexit__(None, None, None)
    with pytest.raises(StopAsyncIteration):
        await anext(aiter(subscription))
    await eventually(lambda: _is_back_at(net, interests))
    await eventually(lambda: not asyncio.all_tasks() - tasks)


async def _is_back_at(net: Net, count: int) -> bool:
    return await net.interests() == count
