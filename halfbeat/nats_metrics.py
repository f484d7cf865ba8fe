"""Metrics of NATS servers for Prometheus, read from their monitoring port when somebody asks for them.

Names and labels are those of prometheus-nats-exporter 0.20 with its default prefixes, as it is started with
``-varz -connz -healthz -jsz=all URL...``: ``gnatsd_varz_*``, ``gnatsd_connz_*``, ``gnatsd_healthz_*`` and
``jetstream_*``, so that either can be scraped and the same dashboards and alerts hold. That exporter is the choice
where its image can be had; this one comes with halfbeat and needs nothing. Of our own there is ``nats_up`` alone.

As there, nearly all are gauges, the sums of `/connz` too (`rate()` works on them), ``server_id`` is the URL that was
asked, and a stream or consumer is told by each server that holds a copy: sum over ``is_stream_leader="true"``.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric

# A page of /connz holds 1024 connections unless more are asked for; sums over a page that is cut would be wrong.
MAX_CONNECTIONS = 65_536
PAGES = {
    "varz": "/varz",
    "connz": f"/connz?limit={MAX_CONNECTIONS}",
    "healthz": "/healthz",
    "jsz": "/jsz?consumers=true&config=true&raft=true",
}
_TEXTS = ("server_id", "server_name", "version", "leader", "name", "domain", "cluster_name")
_TIMES = ("start", "config_load_time")
_CONNECTION_SUMS = ("pending_bytes", "subscriptions", "in_msgs", "in_bytes", "out_msgs", "out_bytes")
# Name of ours: where it is in /jsz.
_JETSTREAM = {
    "jetstream_server_max_memory": ("config", "max_memory"),
    "jetstream_server_max_storage": ("config", "max_storage"),
    "jetstream_server_total_streams": ("streams",),
    "jetstream_server_total_consumers": ("consumers",),
    "jetstream_server_total_messages": ("messages",),
    "jetstream_server_total_message_bytes": ("bytes",),
}
_ACCOUNT = {
    "jetstream_account_max_memory": ("reserved_memory",),
    "jetstream_account_max_storage": ("reserved_storage",),
    "jetstream_account_memory_used": ("memory",),
    "jetstream_account_storage_used": ("storage",),
}
_STREAM = {
    "jetstream_stream_total_messages": ("state", "messages"),
    "jetstream_stream_total_bytes": ("state", "bytes"),
    "jetstream_stream_first_seq": ("state", "first_seq"),
    "jetstream_stream_last_seq": ("state", "last_seq"),
    "jetstream_stream_consumer_count": ("state", "consumer_count"),
    "jetstream_stream_subject_count": ("state", "num_subjects"),
    "jetstream_stream_limit_messages": ("config", "max_msgs"),
    "jetstream_stream_limit_bytes": ("config", "max_bytes"),
}
_CONSUMER = {
    "jetstream_consumer_delivered_consumer_seq": ("delivered", "consumer_seq"),
    "jetstream_consumer_delivered_stream_seq": ("delivered", "stream_seq"),
    "jetstream_consumer_ack_floor_consumer_seq": ("ack_floor", "consumer_seq"),
    "jetstream_consumer_ack_floor_stream_seq": ("ack_floor", "stream_seq"),
    "jetstream_consumer_num_ack_pending": ("num_ack_pending",),
    "jetstream_consumer_num_redelivered": ("num_redelivered",),
    "jetstream_consumer_num_waiting": ("num_waiting",),
    "jetstream_consumer_num_pending": ("num_pending",),
}

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Told:
    """What one server told.

    Attributes:
        server_id: the URL it was asked at, without user and path.
        pages: by name, as in `PAGES`; those that did not come are not there.
    """

    server_id: str
    pages: Mapping[str, Json] = field(default_factory=dict)


class _Metrics:
    """Samples of all servers, one family for each name."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}

    def add(self, name: str, value: object, labels: Mapping[str, str]) -> None:
        """Adds a sample; what is no number is left out."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        if name not in self._families:
            self._families[name] = Metric(name, f"{name.partition('_')[2]} of the NATS server", "gauge")
        self._families[name].add_sample(name, dict(labels), float(value))

    def collect(self) -> Iterator[Metric]:
        yield from self._families.values()


def render(servers: Sequence[Told]) -> bytes:
    """Returns the text that Prometheus reads."""
    metrics = _Metrics()
    for told in servers:
        by_server = {"server_id": told.server_id}
        metrics.add("nats_up", int("varz" in told.pages), by_server)
        _add_varz(metrics, "gnatsd_varz", told.pages.get("varz", {}), by_server)
        if "connz" in told.pages:
            _add_connz(metrics, told.pages["connz"], by_server)
        _add_healthz(metrics, told.pages.get("healthz"), by_server)
        if "jsz" in told.pages:
            _add_jsz(metrics, told.pages["jsz"], told.pages.get("varz", {}), by_server)
    registry = CollectorRegistry()
    registry.register(metrics)
    return bytes(generate_latest(registry))


def _add_varz(metrics: _Metrics, prefix: str, page: Json, labels: Mapping[str, str]) -> None:
    """Every number, those of nested objects too; a few texts as labels of a 1, times as milliseconds since 1970."""
    for key, value in page.items():
        name = f"{prefix}_{key.replace('/', '')}"  # requests are counted by path
        if isinstance(value, dict):
            _add_varz(metrics, name, value, labels)
        elif key in _TIMES and isinstance(value, str):
            metrics.add(name, datetime.fromisoformat(value).timestamp() * 1000, labels)
        elif key in _TEXTS and isinstance(value, str):
            metrics.add(name, 1, {**labels, "value": value})
        else:
            metrics.add(name, value, labels)


def _add_connz(metrics: _Metrics, page: Json, labels: Mapping[str, str]) -> None:
    for key in ("num_connections", "total", "offset", "limit"):
        metrics.add(f"gnatsd_connz_{key}", page.get(key), labels)
    for key in _CONNECTION_SUMS:
        total = sum(connection.get(key, 0) for connection in page.get("connections") or ())
        metrics.add(f"gnatsd_connz_{key}", total, labels)


def _add_healthz(metrics: _Metrics, page: Json | None, labels: Mapping[str, str]) -> None:
    status = "unreachable" if page is None else str(page.get("status"))
    is_ok = status == "ok"
    if page is not None:
        metrics.add("gnatsd_healthz_status", int(not is_ok), labels)  # 0 is good there, so it is here
    metrics.add("gnatsd_healthz_status_value", int(is_ok), {**labels, "value": status})


def _add_jsz(metrics: _Metrics, page: Json, varz: Json, by_server: Mapping[str, str]) -> None:
    me, meta = str(varz.get("server_name", "")), page.get("meta_cluster") or {}
    labels = {
        **by_server,
        "server_name": me,
        "cluster": str(meta.get("name", "")),
        "domain": str((page.get("config") or {}).get("domain", "")),
        **_leader("meta_leader", "is_meta_leader", meta, me),
    }
    metrics.add("jetstream_server_jetstream_disabled", int(bool(page.get("disabled"))), labels)
    _add_all(metrics, _JETSTREAM, page, labels)
    for account in page.get("account_details") or ():
        name = str(account.get("name", ""))
        of_account = {**labels, "account": name, "account_name": name, "account_id": str(account.get("id", ""))}
        _add_all(metrics, _ACCOUNT, account, of_account)
        for stream in account.get("stream_detail") or ():
            of_stream = {
                **of_account,
                "stream_name": str(stream.get("name", "")),
                **_leader("stream_leader", "is_stream_leader", stream.get("cluster"), me),
                "stream_raft_group": str(stream.get("stream_raft_group", "")),
            }
            _add_all(metrics, _STREAM, stream, of_stream)
            for consumer in stream.get("consumer_detail") or ():
                of_consumer = {
                    **of_stream,
                    "consumer_name": str(consumer.get("name", "")),
                    **_leader("consumer_leader", "is_consumer_leader", consumer.get("cluster"), me),
                    "consumer_desc": str((consumer.get("config") or {}).get("description", "")),
                }
                _add_all(metrics, _CONSUMER, consumer, of_consumer)


def _leader(name: str, is_name: str, cluster: Json | None, me: str) -> dict[str, str]:
    """Who leads; a server without a cluster leads by itself."""
    leader = str((cluster or {}).get("leader", ""))
    return {name: leader, is_name: str(not cluster or leader == me).lower()}


def _add_all(metrics: _Metrics, table: Mapping[str, Sequence[str]], page: Json, labels: Mapping[str, str]) -> None:
    for name, path in table.items():
        found: Any = page
        for step in path[:-1]:
            found = found.get(step) or {}
        if found:
            metrics.add(name, found.get(path[-1], 0), labels)  # what is 0 may be left out by the server


class Exporter:
    """Asks the servers and answers /metrics; /healthz says that this process lives, whatever the servers do."""

    def __init__(self, urls: Sequence[str], *, timeout_s: float = 2.0, max_age_s: float = 1.0) -> None:
        """Takes the monitoring URLs, such as http://nats:8222.

        Args:
            urls: one for each server.
            timeout_s: a server that takes longer is down.
            max_age_s: what is younger is told again, so that several who ask cost the servers no more than one.
        """
        self._urls, self._timeout_s, self._max_age_s = [url.rstrip("/") for url in urls], timeout_s, max_age_s
        self._body, self._asked_at = b"", float("-inf")
        self._asking = asyncio.Lock()

    def app(self) -> web.Application:
        """Returns the web application."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        return app

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        async with self._asking:
            if time.monotonic() - self._asked_at > self._max_age_s:
                self._body = render(await self.ask())
                self._asked_at = time.monotonic()
        return web.Response(body=self._body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def ask(self) -> list[Told]:
        """Returns what the servers tell now, all asked at the same time."""
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            return list(await asyncio.gather(*(self._ask_one(session, url) for url in self._urls)))

    async def _ask_one(self, session: aiohttp.ClientSession, url: str) -> Told:
        pages = await asyncio.gather(*(_page(session, url + path) for path in PAGES.values()))
        parts = urlsplit(url)
        server_id = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return Told(server_id, {name: page for name, page in zip(PAGES, pages, strict=True) if page is not None})


async def _page(session: aiohttp.ClientSession, url: str) -> Json | None:
    """One page; None when it did not come. An unhealthy server answers /healthz with 503 and says why."""
    try:
        async with session.get(url) as response:
            page = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    return page if isinstance(page, dict) else None
