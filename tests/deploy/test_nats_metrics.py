"""`halfbeat nats-metrics` beside real servers."""

import asyncio
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from nats_users import eventually
from prometheus_client.parser import text_string_to_metric_families

from halfbeat import nats_metrics, subjects
from halfbeat.bus.nats import NatsBus
from halfbeat.nats_metrics import Exporter, Told, render
from halfbeat.nats_server import EmbeddedServer
from halfbeat.settings import NatsSettings
from halfbeat.supervisor import start, stop, wait_ready
from halfbeat.v1 import asr_pb2, common_pb2

Samples = dict[str, list[tuple[dict[str, str], float]]]


def samples(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def one(found: Samples, name: str, **labels: str) -> float:
    [value] = [v for told, v in found[name] if labels.items() <= told.items()]
    return value


async def of(*urls: str) -> Samples:
    return samples(render(await Exporter(urls).ask()).decode())


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer() as started:
        yield started


@pytest.fixture
async def bus(server: EmbeddedServer) -> AsyncIterator[NatsBus]:
    async with NatsBus(NatsSettings(url=server.url)) as connected:  # type: ignore[call-arg]
        yield connected


def final(sid: str) -> asr_pb2.Transcript:
    return asr_pb2.Transcript(stamp=common_pb2.Stamp(sid=sid), stable="hello", is_final=True)


async def test_connections_and_messages_of_a_server_are_told_under_the_official_names(
    server: EmbeddedServer, bus: NatsBus
) -> None:
    before = await of(server.monitoring_url)
    for i in range(20):
        await bus.publish(subjects.ASR_FINAL, final(f"s{i}"))
    await bus._connection.barrier()
    after = await of(server.monitoring_url)
    assert one(after, "nats_up") == 1
    assert one(after, "gnatsd_varz_connections") == 1
    assert one(after, "gnatsd_connz_num_connections") == 1
    assert one(after, "gnatsd_varz_max_payload") == 256 * 1024
    for name in ("gnatsd_varz_in_msgs", "gnatsd_connz_in_msgs"):
        assert one(after, name) - one(before, name) == 20
    assert one(after, "gnatsd_varz_slow_consumers") == 0
    assert one(after, "gnatsd_varz_slow_consumer_stats_clients") == 0
    [(version, is_it)] = after["gnatsd_varz_version"]
    assert (version["value"].split(".")[0], is_it) == ("2", 1)
    assert {tuple(labels) for labels, _ in after["gnatsd_connz_pending_bytes"]} == {("server_id",)}
    assert after["gnatsd_connz_pending_bytes"][0][0]["server_id"] == server.monitoring_url
    assert one(after, "gnatsd_healthz_status") == 0
    assert one(after, "gnatsd_healthz_status_value", value="ok") == 1
    assert one(after, "gnatsd_varz_http_req_stats_varz") > one(before, "gnatsd_varz_http_req_stats_varz")


async def test_streams_and_consumers_are_told_with_who_leads_them(server: EmbeddedServer, bus: NatsBus) -> None:
    for i in range(3):
        await bus.publish(subjects.ASR_FINAL, final(f"s{i}"))
    reading = aiter(bus.log("s1", follow=True))
    await anext(reading)
    found = await of(server.monitoring_url)
    assert one(found, "jetstream_stream_total_messages", stream_name="TURNS") == 3
    assert one(found, "jetstream_stream_subject_count", stream_name="TURNS") == 3
    assert one(found, "jetstream_stream_subject_count", stream_name="TRACES") == 0
    assert one(found, "jetstream_stream_limit_bytes", stream_name="TURNS", is_stream_leader="true") == 512 * 1024**2
    assert one(found, "jetstream_stream_consumer_count", stream_name="TURNS") == 1
    assert one(found, "jetstream_server_total_streams", server_name="halfbeat-embedded") == 2
    assert one(found, "jetstream_server_max_storage") == 2 * 1024**3
    assert one(found, "jetstream_consumer_num_pending", stream_name="TURNS", is_consumer_leader="true") == 0
    assert one(found, "jetstream_consumer_num_ack_pending", stream_name="TURNS") == 0
    assert one(found, "jetstream_consumer_delivered_consumer_seq", stream_name="TURNS") == 1
    labels = found["jetstream_consumer_num_pending"][0][0]
    assert set(labels) == {
        *("server_id", "server_name", "cluster", "domain", "meta_leader", "is_meta_leader"),
        *("account", "account_name", "account_id"),
        *("stream_name", "stream_leader", "is_stream_leader", "stream_raft_group"),
        *("consumer_name", "consumer_leader", "is_consumer_leader", "consumer_desc"),
    }
    await reading.aclose()  # type: ignore[attr-defined]


async def test_several_servers_are_told_apart_and_one_that_is_down_takes_nothing_from_the_others(
    server: EmbeddedServer,
) -> None:
    async with EmbeddedServer() as other:
        gone = "http://127.0.0.1:1"
        found = await of(server.monitoring_url, gone, other.monitoring_url + "/")
        up = {labels["server_id"]: value for labels, value in found["nats_up"]}
        assert up == {server.monitoring_url: 1, gone: 0, other.monitoring_url: 1}
        assert len(found["gnatsd_varz_connections"]) == 2
        assert one(found, "gnatsd_healthz_status_value", server_id=gone, value="unreachable") == 0


async def test_a_server_that_does_not_answer_in_time_is_down(server: EmbeddedServer) -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    app = web.Application()
    app.router.add_get("/{page}", hang)
    async with TestServer(app) as slow:
        async with asyncio.timeout(3):
            told = await Exporter([str(slow.make_url("/")), server.monitoring_url], timeout_s=0.3).ask()
        assert [sorted(t.pages) for t in told] == [[], sorted(nats_metrics.PAGES)]


async def test_many_who_ask_at_once_cost_the_server_one_answer() -> None:
    asked: list[str] = []

    async def page(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({"connections": []})

    app = web.Application()
    app.router.add_get("/{page}", page)
    async with TestServer(app) as counted, TestServer(Exporter([str(counted.make_url(""))]).app()) as exporter:
        urls = [str(exporter.make_url("/metrics"))] * 5
        texts = await asyncio.gather(*(asyncio.to_thread(read, url) for url in urls))
    assert len(set(texts)) == 1
    assert sorted(asked) == ["/connz", "/healthz", "/jsz", "/varz"]


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read().decode())


def test_an_unhealthy_server_is_told_as_such() -> None:
    page = {"status": "unavailable", "status_code": 503, "error": "JetStream is not current"}
    found = samples(render([Told("http://n:8222", {"varz": {}, "healthz": page})]).decode())
    assert one(found, "gnatsd_healthz_status") == 1
    assert one(found, "gnatsd_healthz_status_value", value="unavailable") == 0


def test_the_credentials_of_a_url_are_not_shown() -> None:
    told = asyncio.run(Exporter(["http://ann:secret@127.0.0.1:1"]).ask())
    assert told[0].server_id == "http://127.0.0.1:1"


async def test_the_command_serves_metrics_and_a_health_page_and_ends_on_a_signal(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    argv = [sys.executable, "-m", "halfbeat.cli", "nats-metrics", "--url", server.monitoring_url, "--port", "0"]
    child = await start("nats-metrics", argv, {}, tmp_path)
    try:
        await wait_ready(child, 30)
        assert await asyncio.to_thread(read, f"{child.http}/healthz") == "ok\n"
        assert "gnatsd_varz_connections" in await asyncio.to_thread(read, f"{child.http}/metrics")
        await server.stop()

        async def is_down() -> bool:
            found = samples(await asyncio.to_thread(read, f"{child.http}/metrics"))
            return one(found, "nats_up") == 0

        await eventually(is_down)
        assert await asyncio.to_thread(read, f"{child.http}/healthz") == "ok\n"
        child.process.terminate()
        await eventually(lambda: child.process.returncode is not None)
        assert child.process.returncode == 0
    finally:
        await stop(child, 5)
