"""How the connection behaves by itself: requests, limits, reconnects, leaf nodes, the loop."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bus_messages import eventually, frame, open_request, take, transcript
from bus_net import Proxy, monitor

from halfbeat import subjects
from halfbeat.bus import Delivery
from halfbeat.bus.nats import NatsBus
from halfbeat.errors import InvalidRequest, TimedOut, Unavailable
from halfbeat.nats_server import EmbeddedServer
from halfbeat.settings import NatsSettings
from halfbeat.v1 import session_pb2


def bus_at(url: str, name: str = "test", **more: object) -> NatsBus:
    return NatsBus(NatsSettings(url=url, **more), name=name)  # type: ignore[arg-type]


@pytest.fixture
async def proxy(server: EmbeddedServer) -> AsyncIterator[Proxy]:
    async with Proxy(server) as between:
        yield between


async def answer(delivery: Delivery) -> session_pb2.OpenReply:
    return session_pb2.OpenReply(worker="w1")


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
