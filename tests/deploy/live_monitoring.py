"""A running halfbeat with scripted engines, and what watches it: Prometheus, Alertmanager, a receiver of each kind."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from deploy_tools import ROOT, free_port, serving, tool
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from halfbeat import supervisor
from halfbeat.supervisor import Child, Plan, Running

SERVICES = ("router", "asr", "dialogue", "tts")
#: Scripted engines, one slot of asr, callers who may be silent; what is left of models is the router's VAD.
ENVIRONMENT = {
    "HALFBEAT_ASR_ENGINE": "scripted",
    "HALFBEAT_ASR_SLOTS": "1",
    "HALFBEAT_DIALOGUE_ENGINE": "scripted",
    "HALFBEAT_TTS_ENGINE": "scripted",
    "HALFBEAT_ROUTER_TURN_DETECTOR": "none",
    "HALFBEAT_ROUTER_SILENCE_PROMPT_S": "0",
    "HALFBEAT_ROUTER_IDLE_S": "300",
}


@dataclass
class Receivers:
    """What Alertmanager and the services' OTLP exporters sent here.

    Attributes:
        url: of this server; webhooks under /page and /ticket, OTLP/HTTP at /v1/traces.
        notified: alerts by receiver and name, as they came last.
        spans: with the service that made them.
    """

    url: str = ""
    notified: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    spans: list[tuple[str, Span]] = field(default_factory=list)

    async def _webhook(self, request: web.Request) -> web.Response:
        for alert in (await request.json())["alerts"]:
            self.notified[request.match_info["receiver"], alert["labels"]["alertname"]] = alert
        return web.Response()

    async def _traces(self, request: web.Request) -> web.Response:
        for resource in ExportTraceServiceRequest.FromString(await request.read()).resource_spans:
            [name] = [a.value.string_value for a in resource.resource.attributes if a.key == "service.name"]
            self.spans += [(name, span) for scope in resource.scope_spans for span in scope.spans]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Receivers"]:
        """Listens on a free port."""
        app = web.Application(client_max_size=16 << 20)
        app.router.add_post("/v1/traces", self._traces)
        app.router.add_post("/{receiver}", self._webhook)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


@dataclass
class Watched:
    """All of it, with the questions that tests ask."""

    running: Running
    receivers: Receivers
    prometheus: str
    alertmanager: str
    http: aiohttp.ClientSession

    async def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """What Prometheus answers now: labels and value of each series."""
        answer = await self._get(f"{self.prometheus}/api/v1/query", query=expression)
        return [(found["metric"], float(found["value"][1])) for found in answer["data"]["result"]]

    async def exemplars(self, expression: str) -> list[dict[str, str]]:
        """Labels of the exemplars that Prometheus has stored."""
        answer = await self._get(f"{self.prometheus}/api/v1/query_exemplars", query=expression, start="0", end="9e9")
        return [e["labels"] for series in answer["data"] for e in series["exemplars"]]

    async def alerts(self) -> list[dict[str, Any]]:
        """What Alertmanager knows, with what keeps it back."""
        found: list[dict[str, Any]] = await self._get(f"{self.alertmanager}/api/v2/alerts")
        return found

    async def _get(self, url: str, **query: str) -> Any:
        async with self.http.get(url, params=query) as response:
            return await response.json()

    def log_of(self, service: str) -> list[dict[str, Any]]:
        """What a service has logged."""
        return [json.loads(line) for line in self.running.children[service].log_path.read_text().splitlines()]


async def until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """Waits until a condition, perhaps awaitable, is truthy; returns it."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                found = condition()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"within {timeout_s:.0f} s: {what}") from None


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Watched]:
    """Starts everything; the shipped configurations, with this machine's ports and in shorter time."""
    at = {name: f"127.0.0.1:{free_port()}" for name in ("prometheus", "alertmanager") if tool(name)}
    async with AsyncExitStack() as stack:
        receivers = await stack.enter_async_context(Receivers().listening())
        env = {**ENVIRONMENT, "OTEL_EXPORTER_OTLP_ENDPOINT": receivers.url, "OTEL_BSP_SCHEDULE_DELAY": "500"}
        # The scripted model needs no server, so none is started.
        plan = Plan(folder / "up", llm_url="http://127.0.0.1:9/v1", http_port=0, grpc_port=0, drain_s=5, env=env)
        running = await stack.enter_async_context(supervisor.everything(plan, lambda *_: None))
        command = [sys.executable, "-m", "halfbeat.cli", "nats-metrics", "--port", "0"]
        exporter = await supervisor.start("nats", [*command, "--url", running.nats_monitoring_url], {}, folder)
        stack.push_async_callback(supervisor.stop, exporter, 5)
        await supervisor.wait_ready(exporter, 30)
        targets = {name: _target(child) for name, child in (*running.children.items(), ("nats", exporter))}
        _write_prometheus(folder, targets, at["alertmanager"])
        _write_alertmanager(folder, receivers.url)
        arguments = {
            "prometheus": [
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/tsdb",
                "--enable-feature=exemplar-storage",
            ],
            "alertmanager": [
                f"--config.file={folder}/alertmanager.yml",
                f"--storage.path={folder}/am",
                "--cluster.listen-address=",
            ],
        }
        urls = [
            await stack.enter_async_context(serving(name, address, *arguments[name], folder=folder))
            for name, address in at.items()
        ]
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Watched(running, receivers, *urls, http)


def _target(child: Child) -> str:
    return child.http.removeprefix("http://")


def _write_prometheus(folder: Path, targets: Mapping[str, str], alertmanager: str) -> None:
    """The shipped one: jobs keep their names and get this machine's ports; every second counts as ten."""
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    assert set(targets) <= jobs
    config["scrape_configs"] = [
        {"job_name": name, "static_configs": [{"targets": [target]}]} for name, target in targets.items()
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "rules").mkdir()
    for path in (ROOT / "deploy/prometheus/rules").glob("*.yml"):
        # How long a condition must hold is the only thing shortened; expressions and windows are as shipped.
        (folder / "rules" / path.name).write_text(re.sub(r"(?m)^( +for:) .*$", r"\1 2s", path.read_text()))


def _write_alertmanager(folder: Path, receivers: str) -> None:
    """The shipped one, with its secrets in this folder, and without the minutes in which it gathers alerts."""
    text = (ROOT / "deploy/alertmanager/alertmanager.yml").read_text()
    for receiver in ("page", "ticket"):
        secret = folder / f"{receiver}_url"
        secret.write_text(f"{receivers}/{receiver}")
        assert f"/etc/alertmanager/secrets/{receiver}_url" in text
        text = text.replace(f"/etc/alertmanager/secrets/{receiver}_url", str(secret))
    text = re.sub(r"(?m)^( +group_(?:wait|interval):) .*$", r"\1 1s", text)
    (folder / "alertmanager.yml").write_text(text)
