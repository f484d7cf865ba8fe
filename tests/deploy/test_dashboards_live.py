"""Every expression of every dashboard returns data from a Prometheus that watched halfbeat hold calls.

The services are the real ones as processes, with scripted engines and the router's real models; the callers speak,
interrupt, murmur and are refused. NATS is told of by `halfbeat nats-metrics`. vLLM and llama.cpp are texts with those
servers' names, whose counters grow.
"""

import asyncio
import math
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import pytest_asyncio
import yaml
from aiohttp import web
from dashboard_queries import NAMES, expressions, panels_of, read, substituted
from deploy_tools import ROOT, tool
from live_prometheus import Prometheus
from live_prometheus import running as prometheus_running
from prometheus_client.parser import text_string_to_metric_families

from bench.turns.caller import hold
from bench.turns.scenario import Role, Scenario, Step
from bench.turns.speech import Clip
from halfbeat import supervisor
from halfbeat.audio import RATE_HZ
from halfbeat.caller.voice import speak
from halfbeat.client import VoiceClient
from halfbeat.errors import AtCapacity

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.models,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]
SOURCES = ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "halfbeat.yml"
TOLD = {path.stem: path.read_text() for path in (Path(__file__).parent / "llm_servers").glob("*.prom")}
NAMESPACE = "calls"
#: Counters with more combinations of labels than anybody wants to see at zero.
APPEAR = {"halfbeat_dropped_total", "halfbeat_edge_bad_input_total"}
#: The third call finds no voice.
SLOTS = 2
ENV = {
    "HALFBEAT_ASR_ENGINE": "scripted",
    "HALFBEAT_DIALOGUE_ENGINE": "scripted",
    "HALFBEAT_TTS_ENGINE": "scripted",
    "HALFBEAT_ASR_SCRIPTED_TEXTS": '["my trash was not picked up today", "stop, that is the wrong street", "yes"]',
    # So that an interruption finds work to stop.
    "HALFBEAT_TTS_AHEAD_S": "0.3",
    "HALFBEAT_TTS_SLOTS": str(SLOTS),
    "HALFBEAT_TTS_WORKERS": str(SLOTS),
}
LINES = ("My trash was not picked up today.", "Stop, that is the wrong street.", "Mm-hm.")


@dataclass(frozen=True)
class Watched:
    """Calls that were held and the Prometheus that watched: from when to when, in seconds since 1970."""

    prometheus: Prometheus
    start: float
    end: float

    async def values(self, expr: str) -> list[float]:
        """Returns the numbers of all series in the time of the calls; what is no number (0/0) is left out."""
        data = await self.prometheus.ask("query_range", query=expr, start=self.start, end=self.end, step=1)
        values = (float(value) for series in data["result"] for _, value in series["values"])
        return [value for value in values if math.isfinite(value)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    tool("prometheus")  # before a minute is spent
    folder = tmp_path_factory.mktemp("watched")
    clips = [_clip(line.text, line.pcm) for line in await speak(LINES, RATE_HZ)]
    plan = supervisor.Plan(folder / "up", llm_url="http://127.0.0.1:9/v1", http_port=0, grpc_port=0, drain_s=2, env=ENV)
    async with AsyncExitStack() as stack:
        up = await stack.enter_async_context(supervisor.everything(plan, lambda *_: None))
        targets = {name: _host(up.children[name].http) for name in ("router", "asr", "dialogue", "tts")}
        targets["nats"] = await stack.enter_async_context(_nats_metrics(up.nats_monitoring_url, folder))
        for job, text in TOLD.items():
            targets[job] = await stack.enter_async_context(_told(text))
        prometheus = await stack.enter_async_context(prometheus_running(folder, targets, {"namespace": NAMESPACE}))
        start = time.time()
        await prometheus.until_all_are_seen(targets)  # the zeros, before anything happens
        await _calls(up.grpc_target, clips)
        await asyncio.sleep(3)
        assert not await prometheus.troubles()
        yield Watched(prometheus, start, time.time())


@pytest.mark.parametrize("name", NAMES)
async def test_every_expression_returns_data(name: str, watched: Watched) -> None:
    spent = f"{math.ceil(watched.end - watched.start)}s"
    silent = [
        f"{where}\n    {expr}"
        for where, expr in expressions(name)
        if not await watched.values(substituted(expr, namespace=NAMESPACE, window="10s", shown=spent))
    ]
    assert not silent, "no data:\n" + "\n".join(silent)


@pytest.mark.parametrize("name", NAMES)
async def test_another_namespace_is_kept_out(name: str, watched: Watched) -> None:
    for where, expr in expressions(name):
        values = await watched.values(substituted(expr, namespace="elsewhere"))
        assert not any(values), f"{where} shows what is not of the chosen namespace"


@pytest.mark.parametrize("name", NAMES)
async def test_every_variable_has_something_to_choose(name: str, watched: Watched) -> None:
    for variable in read(name)["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = substituted(variable["query"]).removeprefix("label_values(").rsplit(", ", 1)
            match = {"match[]": selector, "start": watched.start, "end": watched.end}
            assert await watched.prometheus.ask_get(f"label/{label.rstrip(')')}/values", **match), variable["query"]


async def test_the_hops_add_up_to_voice_to_voice(watched: Watched) -> None:
    hops = await watched.values("sum(halfbeat_v2v_hop_seconds_sum)")
    whole = await watched.values("sum(halfbeat_v2v_seconds_sum)")
    assert whole[-1] > 0
    assert hops[-1] == pytest.approx(whole[-1])


async def test_what_happened_in_the_calls_is_what_is_shown(watched: Watched) -> None:
    async def last(expr: str) -> float:
        return (await watched.values(expr))[-1]

    assert await last('sum(halfbeat_calls_total{outcome="completed"})') == SLOTS
    assert await last('sum(halfbeat_calls_total{outcome="refused",cause="at_capacity"})') == 1
    assert await last('sum(halfbeat_router_overlaps_total{outcome="barge_in"})') >= 1
    assert await last("sum(halfbeat_v2v_seconds_count)") >= SLOTS


async def test_the_series_of_every_counter_begin_at_zero(watched: Watched) -> None:
    """Else a dashboard shows no rate, and an alert sees no increase, for the first event of a kind."""
    span = {"start": watched.start, "end": watched.end, "step": 1}
    data = await watched.prometheus.ask("query_range", query='{__name__=~"halfbeat_.*_total"}', **span)
    late = [
        series["metric"]
        for series in data["result"]
        if series["metric"]["__name__"] not in APPEAR and float(series["values"][0][1]) > 0
    ]
    assert len({series["metric"]["__name__"] for series in data["result"]}) > 20
    assert not late, "use telemetry.from_zero"


async def test_a_dot_leads_to_its_trace(watched: Watched) -> None:
    [prometheus] = (s for s in yaml.safe_load(SOURCES.read_text())["datasources"] if s["type"] == "prometheus")
    [leads] = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    shown = [t["expr"] for name in NAMES for p in panels_of(name) for t in p["targets"] if t.get("exemplar")]
    assert shown
    for expr in shown:
        found = await watched.prometheus.ask_get(
            "query_exemplars", query=substituted(expr), start=watched.start, end=watched.end
        )
        ids = [exemplar["labels"][leads["name"]] for series in found for exemplar in series["exemplars"]]
        assert all(len(trace_id) == 32 for trace_id in ids)
        assert ids, f"no exemplars for {expr}"


async def _calls(target: str, clips: list[Clip]) -> None:
    """As many calls as there are voices, and while they go on one more."""
    turn, interruption, murmur = clips
    scenario = Scenario(
        "watched",
        [
            Step(turn),
            Step(murmur, Role.ASIDE, over_ms=600),
            Step(turn),
            Step(interruption, Role.INTERRUPTION, over_ms=900),
        ],
        has_opening=True,
    )
    async with asyncio.TaskGroup() as group:
        for _ in range(SLOTS):
            group.create_task(hold(target, scenario, lambda *_: None, lambda _: None))
        await asyncio.sleep(2)
        async with VoiceClient(target) as client:
            with pytest.raises(AtCapacity):
                async with client.converse():
                    pass


def _clip(text: str, pcm: np.ndarray) -> Clip:
    return Clip(text, "turn", text, pcm, (), ((0.0, len(pcm) / RATE_HZ),))


@asynccontextmanager
async def _nats_metrics(monitoring_url: str, folder: Path) -> AsyncIterator[str]:
    argv = [sys.executable, "-m", "halfbeat.cli", "nats-metrics", "--url", monitoring_url, "--port", "0"]
    child = await supervisor.start("nats-metrics", argv, {}, folder)
    try:
        yield f"127.0.0.1:{(await supervisor.wait_ready(child, 30))['http_port']}"
    finally:
        await supervisor.stop(child, 5)


@asynccontextmanager
async def _told(text: str) -> AsyncIterator[str]:
    """Serves a text as /metrics whose counters and histograms grow by its numbers every second."""
    families, began = list(text_string_to_metric_families(text)), time.monotonic()

    async def metrics(_: web.Request) -> web.Response:
        lines = []
        for family in families:
            times = 1 if family.type == "gauge" else 1 + time.monotonic() - began
            lines += [f"# TYPE {family.name} {family.type}"]
            for sample in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
                lines.append(f"{sample.name}{{{labels}}} {sample.value * times}")
        return web.Response(text="\n".join(lines) + "\n")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _host(url: str) -> str:
    return urlsplit(url).netloc
