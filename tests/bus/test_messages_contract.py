"""Messages and subscriptions: one contract for both buses."""

import asyncio
from collections.abc import Callable

import pytest
from bus_messages import eventually, frame, stamp, take, transcript
from bus_net import Net

from halfbeat import subjects
from halfbeat.errors import InvalidRequest, Unavailable
from halfbeat.v1 import turn_pb2

Dropped = Callable[[str, str], int]


async def test_a_message_arrives_as_it_was_sent(net: Net) -> None:
    sender, receiver = await net.connect(), await net.connect()
    subscription = await receiver.subscribe([subjects.ASR_PARTIAL.of("s1")])
    sent = transcript(seq=7, text="trash on Oak Street")
    assert await sender.publish(subjects.ASR_PARTIAL, sent)
    [got] = await take(subscription, 1)
    assert (got.kind, got.sid, got.message) == (subjects.ASR_PARTIAL, "s1", sent)
    assert got.received_ns > 0


async def test_the_first_400_messages_after_subscribing_all_arrive_in_order(net: Net) -> None:
    sender, receiver = await net.connect(), await net.connect()
    for i in range(400):
        sid = f"s{i}"
        subscription = await receiver.subscribe([subjects.ASR_PARTIAL.of(sid)])
        await sender.publish(subjects.ASR_PARTIAL, transcript(i, sid))
        [got] = await take(subscription, 1, within_s=2)
        assert got.message.stamp.seq == i
        await subscription.aclose()


async def test_a_burst_arrives_in_order(net: Net) -> None:
    sender, receiver = await net.connect(), await net.connect()
    subscription = await receiver.subscribe([subjects.TTS_AUDIO.of("s1"), subjects.ASR_PARTIAL.all], ring_messages=512)
    for i in range(400):
        await sender.publish(subjects.ASR_PARTIAL, transcript(i))
    assert [d.message.stamp.seq for d in await take(subscription, 400)] == list(range(400))


async def test_a_pattern_receives_every_session_of_its_kind_and_nothing_else(net: Net) -> None:
    sender, receiver = await net.connect(), await net.connect()
    subscription = await receiver.subscribe([subjects.ASR_PARTIAL.all])
    await sender.publish(subjects.ASR_FINAL, transcript(0, "a"))
    await sender.publish(subjects.ASR_PARTIAL, transcript(1, "a"))
    await sender.publish(subjects.ASR_PARTIAL, transcript(2, "b"))
    assert [(d.sid, d.message.stamp.seq) for d in await take(subscription, 2)] == [("a", 1), ("b", 2)]


async def test_a_queue_group_hands_each_message_to_exactly_one_member(net: Net) -> None:
    sender, first, second = await net.connect(), await net.connect(), await net.connect()
    members = [await bus.subscribe([subjects.ASR_PARTIAL.all], queue="q") for bus in (first, second)]
    got: list[int] = []

    async def consume(member: object) -> None:
        async for delivery in member:  # type: ignore[attr-defined]
            got.append(delivery.message.stamp.seq)

    tasks = [asyncio.create_task(consume(m)) for m in members]
    for i in range(100):
        await sender.publish(subjects.ASR_PARTIAL, transcript(i))
    await eventually(lambda: len(got) >= 100)
    for member in members:
        await member.aclose()
    await asyncio.gather(*tasks)
    assert sorted(got) == list(range(100))


async def test_a_full_ring_drops_the_oldest_frames_and_counts_them(net: Net, dropped: Dropped) -> None:
    sender, receiver = await net.connect(), await net.connect()
    subscription = await receiver.subscribe([subjects.ASR_AUDIO.of("s1")], ring_messages=10)
    for i in range(25):
        assert await sender.publish(subjects.ASR_AUDIO, frame(i))
    await eventually(lambda: dropped("asr.audio", "ring_full") == 15)
    assert [d.message.stamp.seq for d in await take(subscription, 10)] == list(range(15, 25))


async def test_a_frame_that_waited_too_long_for_its_consumer_is_dropped_as_late(net: Net, dropped: Dropped) -> None:
    sender, receiver = await net.connect(), await net.connect()
    subscription = await receiver.subscribe([subjects.ASR_AUDIO.of("s1"), subjects.ASR_CONTROL.of("s1")], max_age_ms=0)
    marker = await receiver.subscribe([subjects.TURN_DONE.of("s1")])
    await sender.publish(subjects.ASR_AUDIO, frame(0))
    await sender.publish(subjects.TURN_DONE, turn_pb2.TurnDone(stamp=stamp()))
    await take(marker, 1)
    await subscription.aclose()
    assert [d async for d in subscription] == []
    assert dropped("asr.audio", "late") == 1


async def test_a_control_message_that_does_not_fit_breaks_the_subscription(net: Net, dropped: Dropped) -> None:
    sender, receiver = await net.connect(), await net.connect()
    subscription = await receiver.subscribe([subjects.ASR_PARTIAL.of("s1")], ring_messages=10)
    for i in range(11):
        await sender.publish(subjects.ASR_PARTIAL, transcript(i))
    await eventually(lambda: dropped("asr.partial", "ring_full") == 1)
    with pytest.raises(Unavailable, match="too slow"):
        await take(subscription, 1)


async def test_a_malformed_message_is_counted_and_breaks_the_subscription(net: Net, dropped: Dropped) -> None:
    sender, receiver = await net.connect(), await net.connect()
    subscription = await receiver.subscribe([subjects.ASR_PARTIAL.of("s1")])
    await sender.publish(subjects.ASR_PARTIAL, transcript(0))
    await net.publish_raw("hb.v1.asr.partial.s1", b"\xff\xff not protobuf")
    assert len(await take(subscription, 1)) == 1
    await sender.publish(subjects.ASR_PARTIAL, transcript(1))
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="malformed"):
            await take(subscription, 1)
    assert dropped("asr.partial", "malformed") == 1


async def test_a_message_whose_stamp_names_another_session_is_malformed(net: Net) -> None:
    receiver = await net.connect()
    subscription = await receiver.subscribe([subjects.ASR_PARTIAL.of("s1")])
    await net.publish_raw("hb.v1.asr.partial.s1", transcript(sid="other").SerializeToString())
    with pytest.raises(InvalidRequest, match="different sessions"):
        await take(subscription, 1)


async def test_an_unknown_kind_is_ignored_and_counted(net: Net, dropped: Dropped) -> None:
    sender, receiver = await net.connect(), await net.connect()
    subscription = await receiver.subscribe(["hb.v1.>"])
    await net.publish_raw("hb.v1.asr.mood.s1", b"from a newer version")
    await eventually(lambda: dropped("unknown", "unknown_kind") == 1)
    await sender.publish(subjects.ASR_PARTIAL, transcript(3))
    assert [d.message.stamp.seq for d in await take(subscription, 1)] == [3]


async def test_the_wrong_message_for_a_kind_is_refused_by_the_sender(net: Net) -> None:
    bus = await net.connect()
    with pytest.raises(InvalidRequest, match="carries Transcript"):
        await bus.publish(subjects.ASR_PARTIAL, frame())
    with pytest.raises(InvalidRequest, match="session id"):
        await bus.publish(subjects.ASR_PARTIAL, transcript(sid="a.b"))


async def test_closing_a_subscription_ends_its_iterator_after_what_it_holds(net: Net) -> None:
    sender, receiver = await net.connect(), await net.connect()
    subscription = await receiver.subscribe([subjects.ASR_PARTIAL.of("s1")])
    for i in range(3):
        await sender.publish(subjects.ASR_PARTIAL, transcript(i))
    marker = await receiver.subscribe([subjects.TURN_DONE.of("s1")])
    await sender.publish(subjects.TURN_DONE, turn_pb2.TurnDone(stamp=stamp()))
    await take(marker, 1)
    await subscription.aclose()
    await sender.publish(subjects.ASR_PARTIAL, transcript(3))
    assert [d.message.stamp.seq async for d in subscription] == [0, 1, 2]


async def test_cancelling_a_waiting_consumer_is_not_swallowed_and_loses_nothing(net: Net) -> None:
    sender, receiver = await net.connect(), await net.connect()
    subscription = await receiver.subscribe([subjects.ASR_PARTIAL.of("s1")])
    waiting = asyncio.ensure_future(anext(aiter(subscription)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await sender.publish(subjects.ASR_PARTIAL, transcript(5))
    assert [d.message.stamp.seq for d in await take(subscription, 1)] == [5]


async def test_control_messages_carry_the_trace_context_and_frames_do_not(net: Net) -> None:
    from opentelemetry.sdk.trace import TracerProvider

    sender, receiver = await net.connect(), await net.connect()
    subscription = await receiver.subscribe([subjects.ASR_PARTIAL.of("s1"), subjects.ASR_AUDIO.of("s1")])
    given = {"x": "y"}
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("turn") as span:
        await sender.publish(subjects.ASR_PARTIAL, transcript(), headers=given)
        await sender.publish(subjects.ASR_AUDIO, frame())
    control, audio = await take(subscription, 2)
    trace_id = f"{span.get_span_context().trace_id:032x}"
    assert control.headers["traceparent"].split("-")[1] == trace_id
    assert control.headers["x"] == "y"
    assert audio.headers == {}
    assert given == {"x": "y"}
