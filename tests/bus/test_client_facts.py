"""What the NATS client and server really do, one guard each, against a real server; docs/protocol.md has the table."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable

import pytest
from bus_messages import eventually, frame, stamp, take, transcript
from bus_net import Proxy

from halfbeat import subjects
from halfbeat.bus import Delivery
from halfbeat.bus.client_errors import checked
from halfbeat.bus.nats import NatsBus
from halfbeat.errors import Unavailable
from halfbeat.nats_server import EmbeddedServer
from halfbeat.settings import NatsSettings
from halfbeat.v1 import session_pb2
from halfbeat.v1.tts_pb2 import SpeechAudio

Dropped = Callable[[str, str], int]


def bus_at(url: str, name: str = "test", **more: object) -> NatsBus:
    return NatsBus(NatsSettings(url=url, **more), name=name)  # type: ignore[arg-type]


@pytest.fixture
async def proxy(server: EmbeddedServer) -> AsyncIterator[Proxy]:
    async with Proxy(server) as between:
        yield between


async def answer(delivery: Delivery) -> session_pb2.OpenReply:
    return session_pb2.OpenReply(worker="w1")


async def fill(bus: NatsBus) -> None:
    """Publishes until the sockets are full and what follows stays in the client's buffer."""
    client = bus._connection._client
    while True:
        await bus.publish(subjects.TTS_AUDIO, SpeechAudio(stamp=stamp(), pcm=bytes(20_000)))
        for _ in range(10):
            await asyncio.sleep(0)
        if client.pending_data_size >= 10_000:
            await asyncio.sleep(0.05)
            if client.pending_data_size >= 10_000:
                return


async def test_subscribe_waits_for_a_pong_that_comes_after_the_subscription(proxy: Proxy) -> None:
    async with bus_at(proxy.url) as bus:
        proxy.hold()  # the socket fills, so that SUB waits in the client's buffer while PING goes straight out
        await fill(bus)
        subscribing = asyncio.create_task(bus.subscribe([subjects.ASR_PARTIAL.of("s1")]))
        await asyncio.sleep(0.05)
        proxy.release()
        await subscribing
        said = bytes(proxy.said)
        assert said.rindex(b"PING\r\n") > said.index(b"SUB hb.v1.asr.partial.s1")


async def test_closing_waits_for_a_pong_that_comes_after_the_unsubscription(proxy: Proxy) -> None:
    async with bus_at(proxy.url) as bus:
        subscription = await bus.subscribe([subjects.ASR_PARTIAL.of("s1")])
        await subscription.aclose()
        said = bytes(proxy.said)
        assert said.rindex(b"PING\r\n") > said.index(b"UNSUB")


async def test_a_member_that_leaves_its_queue_group_loses_no_message(server: EmbeddedServer) -> None:
    got: list[int] = []

    async def consume(member: AsyncIterator[Delivery]) -> None:
        async for delivery in member:
            got.append(delivery.message.stamp.seq)

    async with bus_at(server.url) as sender, bus_at(server.url) as leaving, bus_at(server.url) as staying:
        sent = 0
        stays = await staying.subscribe([subjects.ASR_PARTIAL.all], queue="q", ring_messages=10_000)
        consumers = [asyncio.create_task(consume(aiter(stays)))]
        for _ in range(5):
            leaves = await leaving.subscribe([subjects.ASR_PARTIAL.all], queue="q", ring_messages=10_000)
            consumers.append(asyncio.create_task(consume(aiter(leaves))))
            closing: asyncio.Task[None] | None = None
            for burst in range(30):
                for _ in range(20):
                    await sender.publish(subjects.ASR_PARTIAL, transcript(sent))
                    sent += 1
                await asyncio.sleep(0)
                if burst == 10:
                    closing = asyncio.create_task(leaves.aclose())
            assert closing is not None
            await closing
        await eventually(lambda: len(got) >= sent)
        await stays.aclose()
        await asyncio.gather(*consumers)
        assert sorted(got) == list(range(sent))


async def test_control_that_overflows_the_clients_queue_breaks_the_subscription(
    proxy: Proxy, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halfbeat.bus.connection.CLIENT_QUEUE_MESSAGES", 4)
    async with bus_at(server.url) as sender, bus_at(proxy.url) as receiver:
        subscription = await receiver.subscribe([subjects.ASR_PARTIAL.of("s1")])
        proxy.hold()  # so that all come in one read of the socket
        for i in range(50):
            await sender.publish(subjects.ASR_PARTIAL, transcript(i))
        await asyncio.sleep(0.1)
        proxy.release()
        with pytest.raises(Unavailable, match="does not keep up"):
            await take(subscription, 50)


async def test_frames_that_overflow_the_clients_queue_are_counted(
    proxy: Proxy, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, dropped: Dropped
) -> None:
    monkeypatch.setattr("halfbeat.bus.connection.CLIENT_QUEUE_MESSAGES", 4)
    async with bus_at(server.url) as sender, bus_at(proxy.url) as receiver:
        subscription = await receiver.subscribe([subjects.ASR_AUDIO.of("s1")])
        proxy.hold()
        for i in range(50):
            await sender.publish(subjects.ASR_AUDIO, frame(i))
        await asyncio.sleep(0.1)
        proxy.release()
        lost = await eventually(lambda: dropped("asr.audio", "ring_full"))
        assert len(await take(subscription, 50 - lost)) == 50 - lost


async def test_publishing_to_a_server_that_does_not_read_can_be_cancelled(server: EmbeddedServer) -> None:
    async with bus_at(server.url) as bus:
        os.kill(server.pid, signal.SIGSTOP)
        try:

            async def flood() -> None:
                while True:
                    await bus.publish(subjects.ASR_PARTIAL, transcript(text="x" * 100_000))

            began = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await flood()
            assert time.monotonic() - began < 1.5
        finally:
            os.kill(server.pid, signal.SIGCONT)


async def test_publishing_to_a_server_that_does_not_read_fails_after_the_grace(
    server: EmbeddedServer, short_grace: None
) -> None:
    async with bus_at(server.url) as bus:
        os.kill(server.pid, signal.SIGSTOP)
        try:

            async def flood() -> None:
                async with asyncio.timeout(5):
                    while True:
                        await bus.publish(subjects.ASR_PARTIAL, transcript(text="x" * 100_000))

            with pytest.raises(Unavailable, match="has not read"):
                await flood()
        finally:
            os.kill(server.pid, signal.SIGCONT)


async def test_frames_for_a_server_that_does_not_read_are_dropped_and_counted(
    server: EmbeddedServer, dropped: Dropped
) -> None:
    async with bus_at(server.url) as bus:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(10):
                while await bus.publish(subjects.ASR_AUDIO, frame()):  # noqa: ASYNC110
                    await asyncio.sleep(0)
            assert dropped("asr.audio", "buffer_full") == 1
            # Bounded in time too: what waits is younger than the stall that is allowed.
            assert bus._connection._client.pending_data_size < 600_000
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await eventually(lambda: bus.publish(subjects.ASR_AUDIO, frame()))


async def test_a_stalled_connection_takes_frames_for_a_quarter_second_only(proxy: Proxy, dropped: Dropped) -> None:
    async with bus_at(proxy.url) as bus:
        proxy.hold()
        await fill(bus)
        began = time.monotonic()
        while await bus.publish(subjects.ASR_AUDIO, frame()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert 0.2 < time.monotonic() - began < 2.0
        assert dropped("asr.audio", "buffer_full") == 1
        proxy.release()
        await eventually(lambda: bus.publish(subjects.ASR_AUDIO, frame()))


async def test_frames_that_always_follow_other_messages_are_no_stall(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halfbeat.bus.connection.STALL_NS", 10_000_000)
    async with bus_at(server.url) as bus:
        for _ in range(3):
            await bus.publish(subjects.ASR_PARTIAL, transcript())
            assert bus._connection._client.pending_data_size, "it waits until the loop has time"
            assert await bus.publish(subjects.ASR_AUDIO, frame())
            await asyncio.sleep(0.05)


async def test_little_hides_in_the_socket_of_a_stalled_connection(
    proxy: Proxy, dropped: Dropped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halfbeat.bus.connection.STALL_NS", 60_000_000_000)
    async with bus_at(proxy.url) as bus:
        proxy.hold()
        taken = 0
        async with asyncio.timeout(20):
            while await bus.publish(subjects.ASR_AUDIO, frame()):
                taken += len(frame().pcm)
                await asyncio.sleep(0)
        proxy.release()
    # The client's 512 KiB, twice 128 KiB in the kernel, and what the proxy takes.
    assert taken < 1_200_000


async def test_a_swallowed_cancellation_is_raised_again() -> None:
    async def swallow() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "as if nothing had happened"
        raise AssertionError

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await checked(swallow())
    task = asyncio.create_task(checked(swallow()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_receiving_starts_no_task_per_message(server: EmbeddedServer) -> None:
    async with bus_at(server.url) as sender, bus_at(server.url) as receiver:
        subscription = await receiver.subscribe([subjects.ASR_AUDIO.of("s1")])
        loop, started = asyncio.get_running_loop(), 0

        def count(loop: asyncio.AbstractEventLoop, coro: object, **more: object) -> asyncio.Task[object]:
            nonlocal started
            started += 1
            return asyncio.Task(coro, loop=loop, **more)  # type: ignore[arg-type]

        loop.set_task_factory(count)  # type: ignore[arg-type]
        try:
            for i in range(100):
                await sender.publish(subjects.ASR_AUDIO, frame(i))
            await take(subscription, 100)
        finally:
            loop.set_task_factory(None)
        assert started < 10
