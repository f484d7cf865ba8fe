"""Requests and who answers them: one contract for both buses."""

import asyncio
from collections.abc import Callable

import pytest
from bus_messages import eventually, open_request
from bus_net import Net

from halfbeat import subjects
from halfbeat.bus import Delivery
from halfbeat.bus.subscription import RingSubscription, Serving
from halfbeat.bus.wire import Raw
from halfbeat.errors import AtCapacity, TimedOut, Unavailable
from halfbeat.v1 import common_pb2, session_pb2


async def answer(delivery: Delivery) -> session_pb2.OpenReply:
    return session_pb2.OpenReply(worker="w1", free_slots=3)


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


async def test_more_requests_than_one_process_answers_are_refused_at_capacity() -> None:
    subscription = RingSubscription(10)
    replies: list[session_pb2.OpenReply] = []
    go = asyncio.Event()

    async def slow(delivery: Delivery) -> session_pb2.OpenReply:
        await go.wait()
        return session_pb2.OpenReply(worker="w1")

    async def respond(raw: Raw, payload: bytes) -> None:
        replies.append(session_pb2.OpenReply.FromString(payload))

    serving = Serving(subscription, slow, respond, max_in_flight=2)
    for i in range(3):
        request = open_request(f"s{i}").SerializeToString()
        subscription.put(Raw(subjects.ASR_OPEN, f"s{i}", request, 0, reply="inbox"))
    await eventually(lambda: len(replies) == 1)
    assert replies[0].error.code == common_pb2.ERROR_CODE_AT_CAPACITY
    go.set()
    await eventually(lambda: len(replies) == 3)
    await serving.aclose()
