"""One contract; it holds for the in-memory bus and for a real server alike."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest
from bus_messages import eventually, frame, open_request, stamp, take, transcript
from bus_net import Net

from halfbeat import subjects
from halfbeat.bus import Delivery
from halfbeat.errors import AtCapacity, InvalidRequest, TimedOut, Unavailable
from halfbeat.v1 import common_pb2, session_pb2, turn_pb2

Dropped = Callable[[str, str], int]


async def answer(delivery: Delivery) -> session_pb2.OpenReply:
    return session_pb2.OpenReply(worker="w1", free_slots=3)


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


async def test_a_message_larger_than_the_bus_takes_is_refused_and_the_connection_lives_on(net: Net) -> None:
    bus = await net.connect()
    with pytest.raises(InvalidRequest, match="bytes"):
        await bus.publish(subjects.ASR_PARTIAL, transcript(text="x" * 300_000))
    subscription = await bus.subscribe([subjects.ASR_PARTIAL.of("s1")])
    await bus.publish(subjects.ASR_PARTIAL, transcript(1))
    assert len(await take(subscription, 1)) == 1


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


async def test_a_request_is_answered_by_one_of_the_queue_group(net: Net) -> None:
    client, first, second = await net.connect(), await net.connect(), await net.connect()
    asked: list[str] = []

    def worker(name: str) -> Callable[[Delivery], object]:
        async def handle(delivery: Delivery) -> session_pb2.OpenReply:
            asked.append(delivery.sid)
            return session_pb2.OpenReply(worker=name)

        return handle

    await first.serve(subjects.ASR_OPEN.all, worker("one"), queue="asr")  # type: ignore[arg-type]
    await second.serve(subjects.ASR_OPEN.all, worker("two"), queue="asr")  # type: ignore[arg-type]
    for i in range(20):
        reply = await client.request(subjects.ASR_OPEN, open_request(f"s{i}"), session_pb2.OpenReply, timeout_s=2)
        assert reply.worker in ("one", "two")
    assert sorted(asked) == sorted(f"s{i}" for i in range(20))


async def test_a_request_without_a_responder_fails_at_once(net: Net) -> None:
    client = await net.connect()
    async with asyncio.timeout(1):
        with pytest.raises(Unavailable, match="nobody answers"):
            await client.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=30)


async def test_a_request_that_is_not_answered_times_out_and_its_handler_is_told(net: Net) -> None:
    client, worker = await net.connect(), await net.connect()
    ended = asyncio.Event()

    async def never(delivery: Delivery) -> session_pb2.OpenReply:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    await worker.serve(subjects.ASR_OPEN.all, never, queue="asr")
    with pytest.raises(TimedOut):
        await client.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=0.1)
    async with asyncio.timeout(2):
        await ended.wait()


async def test_an_error_of_the_handler_is_the_error_of_the_reply(net: Net) -> None:
    client, worker = await net.connect(), await net.connect()

    async def full(delivery: Delivery) -> session_pb2.OpenReply:
        raise AtCapacity("8 of 8 slots taken")

    await worker.serve(subjects.ASR_OPEN.all, full, queue="asr")
    reply = await client.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=2)
    assert reply.error.code == common_pb2.ERROR_CODE_AT_CAPACITY
    assert reply.error.retryable
    assert reply.error.message == "8 of 8 slots taken"


async def test_a_defect_of_the_handler_is_told_without_its_text_and_the_next_request_is_served(net: Net) -> None:
    client, worker = await net.connect(), await net.connect()

    async def broken(delivery: Delivery) -> session_pb2.OpenReply:
        raise ValueError("secret")

    await worker.serve(subjects.ASR_OPEN.all, broken, queue="asr")
    for _ in range(2):
        reply = await client.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=2)
        assert reply.error.code == common_pb2.ERROR_CODE_INTERNAL
        assert "secret" not in reply.error.message


async def test_requests_are_answered_at_the_same_time(net: Net) -> None:
    client, worker = await net.connect(), await net.connect()
    together = asyncio.Barrier(5)

    async def handle(delivery: Delivery) -> session_pb2.OpenReply:
        await together.wait()
        return await answer(delivery)

    await worker.serve(subjects.ASR_OPEN.all, handle, queue="asr")
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for i in range(5):
            group.create_task(
                client.request(subjects.ASR_OPEN, open_request(f"s{i}"), session_pb2.OpenReply, timeout_s=4)
            )


async def test_a_request_in_flight_is_answered_while_its_worker_closes(net: Net) -> None:
    client, worker = await net.connect(), await net.connect()
    began, go = asyncio.Event(), asyncio.Event()

    async def slow(delivery: Delivery) -> session_pb2.OpenReply:
        began.set()
        await go.wait()
        return await answer(delivery)

    serving = await worker.serve(subjects.ASR_OPEN.all, slow, queue="asr")
    asking = asyncio.create_task(client.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=4))
    await began.wait()
    closing = asyncio.create_task(serving.aclose())
    await asyncio.sleep(0)
    go.set()
    assert (await asking).worker == "w1"
    await closing
    with pytest.raises(Unavailable):
        await client.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=1)


async def test_a_malformed_request_is_answered_with_invalid(net: Net) -> None:
    client, worker = await net.connect(), await net.connect()
    await worker.serve(subjects.ASR_OPEN.all, answer, queue="asr")
    await net.publish_raw("hb.v1.asr.open.s1", b"\xff")  # nobody reads the answer; the worker must live on
    reply = await client.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=2)
    assert not reply.HasField("error")


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
