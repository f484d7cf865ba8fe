import asyncio
from collections.abc import AsyncIterator, Callable
from typing import ClassVar

import pytest

from halfbeat import subjects
from halfbeat.bus import Bus, Delivery
from halfbeat.bus.memory import MemoryBroker, MemoryBus
from halfbeat.errors import EngineFailed, InvalidRequest, TimedOut, Unavailable
from halfbeat.v1 import audio_pb2, common_pb2, session_pb2
from halfbeat.worker import Worker


async def eventually(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


class Recorder:
    """A session that writes down what happens to it."""

    subjects: ClassVar = [subjects.ASR_AUDIO, subjects.ASR_CONTROL]

    def __init__(self) -> None:
        self.handled: list[Delivery] = []
        self.closed = 0
        self.fails_with: BaseException | None = None

    async def handle(self, delivery: Delivery) -> None:
        self.handled.append(delivery)
        if self.fails_with is not None:
            raise self.fails_with

    async def aclose(self) -> None:
        self.closed += 1


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    async with MemoryBroker().connect("test") as connected:
        yield connected


def stamp(sid: str, **fields: int) -> common_pb2.Stamp:
    return common_pb2.Stamp(sid=sid, **fields)


async def open_session(bus: Bus, sid: str) -> session_pb2.OpenReply:
    request = session_pb2.OpenRequest(stamp=stamp(sid))
    return await bus.request(subjects.ASR_OPEN, request, session_pb2.OpenReply, timeout_s=1)


def worker(bus: Bus, sessions: list[Recorder], slots: int = 2, idle_s: float = 150.0) -> Worker:
    async def make(_: session_pb2.OpenRequest) -> Recorder:
        sessions.append(Recorder())
        return sessions[-1]

    return Worker(bus, "asr", make, name="asr-1", slots=slots, idle_s=idle_s)


async def statuses(bus: Bus, sid: str) -> list[session_pb2.WorkerStatus]:
    seen: list[session_pb2.WorkerStatus] = []
    subscription = await bus.subscribe([subjects.ASR_STATUS.of(sid)])

    async def collect() -> None:
        async for delivery in subscription:
            assert isinstance(delivery.message, session_pb2.WorkerStatus)
            seen.append(delivery.message)

    task = asyncio.create_task(collect())
    task.add_done_callback(lambda _: None)
    seen_tasks.append(task)
    return seen


seen_tasks: list[asyncio.Task[None]] = []


@pytest.fixture(autouse=True)
async def _stop_collecting() -> AsyncIterator[None]:
    yield
    for task in seen_tasks:
        task.cancel()
    await asyncio.gather(*seen_tasks, return_exceptions=True)
    seen_tasks.clear()


async def test_what_is_published_right_after_open_reaches_the_session(bus: MemoryBus) -> None:
    sessions: list[Recorder] = []
    async with worker(bus, sessions):
        reply = await open_session(bus, "a")
        assert reply.worker == "asr-1"
        assert not reply.HasField("error")
        assert reply.free_slots == 1
        await bus.publish(subjects.ASR_AUDIO, audio_pb2.AudioFrame(stamp=stamp("a"), pcm=b"\0" * 640))
        await eventually(lambda: len(sessions[0].handled) == 1)


async def test_one_session_more_than_slots_is_refused_at_capacity(bus: MemoryBus) -> None:
    sessions: list[Recorder] = []
    async with worker(bus, sessions, slots=1):
        await open_session(bus, "a")
        refused = await open_session(bus, "b")
        assert refused.error.code == common_pb2.ERROR_CODE_AT_CAPACITY
        assert refused.error.retryable
        assert len(sessions) == 1


async def test_closing_frees_the_slot_and_is_reported(bus: MemoryBus) -> None:
    sessions: list[Recorder] = []
    seen = await statuses(bus, "a")
    async with worker(bus, sessions, slots=1):
        await open_session(bus, "a")
        await bus.publish(subjects.SESSION_CLOSE, session_pb2.SessionClosed(stamp=stamp("a"), by="caller"))
        await eventually(lambda: any(s.is_closed for s in seen))
        assert sessions[0].closed == 1
        assert not (await open_session(bus, "b")).HasField("error")


async def test_an_open_asked_twice_is_one_session(bus: MemoryBus) -> None:
    sessions: list[Recorder] = []
    async with worker(bus, sessions, slots=1):
        await open_session(bus, "a")
        again = await open_session(bus, "a")
        assert not again.HasField("error")
        assert len(sessions) == 1


async def test_an_error_of_ours_is_reported_and_the_session_goes_on(bus: MemoryBus) -> None:
    sessions: list[Recorder] = []
    seen = await statuses(bus, "a")
    async with worker(bus, sessions):
        await open_session(bus, "a")
        sessions[0].fails_with = EngineFailed("no")
        frame = audio_pb2.AudioFrame(stamp=stamp("a"))
        await bus.publish(subjects.ASR_AUDIO, frame)
        await eventually(lambda: any(s.error.code == common_pb2.ERROR_CODE_ENGINE for s in seen))
        await bus.publish(subjects.ASR_AUDIO, frame)
        await eventually(lambda: len(sessions[0].handled) == 2)
        assert sessions[0].closed == 0


async def test_a_defect_ends_that_session_alone(bus: MemoryBus) -> None:
    sessions: list[Recorder] = []
    seen = await statuses(bus, "a")
    async with worker(bus, sessions):
        await open_session(bus, "a")
        await open_session(bus, "b")
        sessions[0].fails_with = RuntimeError("defect")
        await bus.publish(subjects.ASR_AUDIO, audio_pb2.AudioFrame(stamp=stamp("a")))
        await eventually(lambda: any(s.is_closed for s in seen))
        assert next(s for s in seen if s.is_closed).error.code == common_pb2.ERROR_CODE_INTERNAL
        await bus.publish(subjects.ASR_AUDIO, audio_pb2.AudioFrame(stamp=stamp("b")))
        await eventually(lambda: len(sessions[1].handled) == 1)
        assert (sessions[0].closed, sessions[1].closed) == (1, 0)


async def test_draining_refuses_new_sessions_and_waits_for_the_last(bus: MemoryBus) -> None:
    sessions: list[Recorder] = []
    async with worker(bus, sessions) as held:
        await open_session(bus, "a")
        draining = asyncio.create_task(held.drain())
        await eventually(lambda: held._serving is None)
        with pytest.raises((Unavailable, TimedOut)):
            await open_session(bus, "b")
        assert not draining.done()
        await bus.publish(subjects.SESSION_CLOSE, session_pb2.SessionClosed(stamp=stamp("a")))
        async with asyncio.timeout(5):
            await draining


async def test_nothing_is_left_subscribed_after_sessions_and_worker_ended() -> None:
    broker = MemoryBroker()
    async with broker.connect("test") as bus:
        before = broker.interests
        sessions: list[Recorder] = []
        async with worker(bus, sessions):
            await open_session(bus, "a")
            assert broker.interests > before
        assert broker.interests == before
    assert sessions[0].closed == 1


async def test_a_malformed_message_ends_the_session_with_an_error(bus: MemoryBus) -> None:
    sessions: list[Recorder] = []
    seen = await statuses(bus, "a")
    async with worker(bus, sessions):
        await open_session(bus, "a")
        bus._broker.send(subjects.ASR_CONTROL.of("a"), b"\xff\xff\xff", {})
        await eventually(lambda: any(s.is_closed for s in seen))
        closed = next(s for s in seen if s.is_closed)
        assert closed.error.code == InvalidRequest.code
