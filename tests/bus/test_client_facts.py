"""What the NATS client and server really do, one guard each, against a real server; docs/protocol.md has the table."""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from bus_messages import eventually, frame, open_request, stamp, take, transcript
from bus_net import Proxy, monitor

from halfbeat import subjects
from halfbeat.bus import Delivery
from halfbeat.bus.client_errors import checked
from halfbeat.bus.nats import NatsBus
from halfbeat.errors import Denied, InvalidRequest, TimedOut, Unavailable
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


async def test_a_stalled_connection_takes_frames_for_a_quarter_second_only(
    server: EmbeddedServer, dropped: Dropped
) -> None:
    async with bus_at(server.url) as bus:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await fill(bus)
            began = time.monotonic()
            while await bus.publish(subjects.ASR_AUDIO, frame()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            assert 0.2 < time.monotonic() - began < 1.0
        finally:
            os.kill(server.pid, signal.SIGCONT)


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


async def test_a_cancelled_barrier_leaves_the_connection_reading(proxy: Proxy) -> None:
    async with bus_at(proxy.url) as bus:
        proxy.hold()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await bus.subscribe([subjects.ASR_FINAL.all])
        proxy.release()
        subscription = await bus.subscribe([subjects.ASR_PARTIAL.of("s1")])
        await bus.publish(subjects.ASR_PARTIAL, transcript())
        assert len(await take(subscription, 1)) == 1


async def test_a_request_fails_as_soon_as_the_connection_is_lost(proxy: Proxy, server: EmbeddedServer) -> None:
    asked = asyncio.Event()

    async def never(delivery: Delivery) -> session_pb2.OpenReply:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with bus_at(server.url) as worker, bus_at(proxy.url) as client:
        await worker.serve(subjects.ASR_OPEN.all, never, queue="asr")
        asking = asyncio.create_task(
            client.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=1.5)
        )
        await asked.wait()
        began = time.monotonic()
        proxy.cut()
        with pytest.raises(Unavailable, match="lost"):
            await asking
        assert time.monotonic() - began < 1.0


async def test_a_cancelled_request_ends_at_once(server: EmbeddedServer) -> None:
    async def never(delivery: Delivery) -> session_pb2.OpenReply:
        await asyncio.Event().wait()
        raise AssertionError

    async with bus_at(server.url) as bus:
        await bus.serve(subjects.ASR_OPEN.all, never, queue="asr")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await bus.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=1.5)


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


async def test_a_handler_may_still_ask_others_while_its_bus_closes(server: EmbeddedServer) -> None:
    began, go = asyncio.Event(), asyncio.Event()
    middle = bus_at(server.url)

    async def relay(delivery: Delivery) -> session_pb2.OpenReply:
        began.set()
        await go.wait()
        return await middle.request(subjects.TTS_OPEN, open_request(), session_pb2.OpenReply, timeout_s=2)

    async with bus_at(server.url) as client, bus_at(server.url) as last:
        await last.serve(subjects.TTS_OPEN.all, answer, queue="tts")
        await middle.__aenter__()
        await middle.serve(subjects.ASR_OPEN.all, relay, queue="asr")
        asking = asyncio.create_task(
            client.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=4)
        )
        await began.wait()
        closing = asyncio.create_task(middle.__aexit__(None, None, None))
        await asyncio.sleep(0.05)
        go.set()
        assert (await asking).worker == "w1"
        await closing


USERS = """
authorization {
  users = [
    { user: admin, password: pw }
    { user: asr, password: pw, permissions: {
        publish: { deny: ["hb.v1.tts.>"] },
        subscribe: { allow: ["hb.v1.asr.audio.*", "hb.v1.asr.open.* asr", "_INBOX_asr.>"] } } }
    { user: tts, password: pw, permissions: { subscribe: { allow: ["hb.v1.tts.>", "_INBOX_tts.>"] } } }
  ]
}
"""


@pytest.fixture
async def guarded() -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer(extra_config=USERS) as embedded:
        async with bus_at(embedded.url, user="admin", password="pw"):  # makes the streams
            pass
        yield embedded


def user(server: EmbeddedServer, name: str) -> NatsBus:
    return bus_at(server.url, name, user=name, password="pw", inbox_prefix=f"_INBOX_{name}")


async def test_subscribing_without_permission_is_fatal_and_breaks_every_subscription(guarded: EmbeddedServer) -> None:
    told: list[int] = []
    settings = NatsSettings(url=guarded.url, user="asr", password="pw", inbox_prefix="_INBOX_asr")  # type: ignore[arg-type]
    async with NatsBus(settings, name="asr-1", on_fatal=lambda: told.append(1)) as bus:
        healthy = await bus.subscribe([subjects.ASR_AUDIO.all])
        with pytest.raises(Denied, match=re.compile("asr-1.*permissions violation.*hb.v1.turn.commit", re.I)):
            await bus.subscribe([subjects.TURN_COMMIT.all])
        with pytest.raises(Denied):
            await anext(aiter(healthy))
        with pytest.raises(Denied):
            await bus.publish(subjects.ASR_PARTIAL, transcript())
        assert told == [1]
        assert isinstance(bus.fatal_error, Denied)


async def test_publishing_without_permission_is_fatal(guarded: EmbeddedServer) -> None:
    async with user(guarded, "asr") as bus:
        with pytest.raises(Denied):
            await bus.request(subjects.TTS_OPEN, open_request(), session_pb2.OpenReply, timeout_s=1)
        assert isinstance(bus.fatal_error, Denied)


async def test_a_stranger_cannot_take_work_from_a_queue_group(guarded: EmbeddedServer) -> None:
    async with user(guarded, "asr") as worker:
        await worker.serve(subjects.ASR_OPEN.all, answer, queue="asr")
        assert worker.fatal_error is None
    async with user(guarded, "asr") as stray:
        with pytest.raises(Denied):
            await stray.subscribe([subjects.ASR_OPEN.all])


async def test_services_cannot_read_each_others_replies(guarded: EmbeddedServer) -> None:
    async with user(guarded, "asr") as worker, user(guarded, "tts") as client:
        await worker.serve(subjects.ASR_OPEN.all, answer, queue="asr")
        reply = await client.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=2)
        assert reply.worker == "w1"
        with pytest.raises(Denied):
            await worker.subscribe(["_INBOX_tts.>"])


async def test_wrong_credentials_are_refused_at_once(guarded: EmbeddedServer) -> None:
    async with asyncio.timeout(3):
        with pytest.raises(Denied, match="credentials"):
            async with bus_at(guarded.url, user="asr", password="wrong"):
                pass


async def test_connecting_to_nothing_ends_after_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halfbeat.bus.connection.CONNECT_S", 0.3)
    async with asyncio.timeout(3):
        with pytest.raises(Unavailable, match="no NATS server at nats"):
            async with bus_at("nats://127.0.0.1:1"):
                pass


async def test_the_connection_never_gives_up_notices_a_dead_server_in_seconds_and_has_a_name(
    server: EmbeddedServer,
) -> None:
    async with bus_at(server.url, name="asr-7") as bus:
        options = bus._connection._client.options
        assert options["max_reconnect_attempts"] == -1
        assert options["ping_interval"] * (options["max_outstanding_pings"] + 1) <= 30
        connections = (await monitor(server, "connz"))["connections"]
        assert [c["name"] for c in connections] == ["asr-7"]


async def test_headers_count_into_the_largest_message(server: EmbeddedServer) -> None:
    async with bus_at(server.url) as bus:
        big = transcript(text="x" * (256 * 1024 - 100))
        with pytest.raises(InvalidRequest, match="takes 262144"):
            await bus.publish(subjects.ASR_PARTIAL, big, headers={"x": "y" * 200})
        with pytest.raises(InvalidRequest, match="takes 262144"):
            await bus.request(subjects.ASR_OPEN, _huge_open(), session_pb2.OpenReply, timeout_s=1)
        await asyncio.sleep(0.05)
        assert bus.is_connected


def _huge_open() -> session_pb2.OpenRequest:
    request = open_request()
    request.config.instructions = "x" * 300_000
    return request


async def test_the_server_bounds_a_stuck_subscriber(server: EmbeddedServer) -> None:
    limits = await monitor(server, "varz")
    assert limits["max_pending"] <= 16 * 1024 * 1024
    assert limits["write_deadline"] <= 2_000_000_000
    assert limits["max_payload"] <= 256 * 1024
    config = await asyncio.to_thread((server._folder / "server.conf").read_text)
    assert "no_fast_producer_stall: true" in config


async def test_work_at_a_leaf_stays_there_and_spills_to_the_hub_when_its_worker_leaves() -> None:
    async def at_leaf(delivery: Delivery) -> session_pb2.OpenReply:
        return session_pb2.OpenReply(worker="leaf")

    async def at_hub(delivery: Delivery) -> session_pb2.OpenReply:
        return session_pb2.OpenReply(worker="hub")

    async with EmbeddedServer(extra_config='leafnodes { listen: "127.0.0.1:-1" }') as hub:
        port = (await monitor(hub, "varz"))["leaf"]["port"]
        remote = f'leafnodes {{ remotes = [ {{ url: "nats://127.0.0.1:{port}" }} ] }}'
        async with (
            EmbeddedServer(extra_config=remote) as leaf,
            bus_at(hub.url) as far,
            bus_at(leaf.url) as near,
            bus_at(leaf.url) as client,
        ):
            await far.serve(subjects.ASR_OPEN.all, at_hub, queue="asr")
            serving = await near.serve(subjects.ASR_OPEN.all, at_leaf, queue="asr")

            async def ask() -> str:
                reply = await client.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=2)
                return reply.worker

            assert {await ask() for _ in range(30)} == {"leaf"}
            await serving.aclose()

            async def spills() -> bool:
                try:
                    return await ask() == "hub"
                except (Unavailable, TimedOut):
                    return False

            await eventually(spills)


def test_only_the_bus_knows_the_nats_client() -> None:
    root = Path(__file__).parents[2]
    importing = re.compile(r"^\s*(import nats\b|from nats\b)", re.MULTILINE)
    knows = {
        str(path.relative_to(root))
        for folder in ("halfbeat", "services", "apps")
        for path in (root / folder).rglob("*.py")
        if importing.search(path.read_text())
    }
    assert knows == {
        "halfbeat/bus/client_errors.py",
        "halfbeat/bus/connection.py",
        "halfbeat/bus/nats.py",
        "halfbeat/bus/nats_kv.py",
        "halfbeat/bus/streams.py",
    }


def test_a_process_of_ours_runs_the_bus_on_uvloop() -> None:
    import uvloop

    from halfbeat.service import run_loop

    async def call() -> int:
        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
        async with EmbeddedServer() as server, bus_at(server.url) as bus:
            subscription = await bus.subscribe([subjects.ASR_AUDIO.of("s1")])
            await bus.serve(subjects.ASR_OPEN.all, answer, queue="asr")
            await bus.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=2)
            for i in range(50):
                await bus.publish(subjects.ASR_AUDIO, frame(i))
            return len(await take(subscription, 50))

    assert run_loop(call()) == 50
