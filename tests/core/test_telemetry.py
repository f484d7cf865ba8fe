"""Exemplars at /metrics, log lines that are joined, spans that fail without quoting anybody."""

import asyncio
import json
import logging
from collections.abc import Callable

import aiohttp
import pytest
from aiohttp import web
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prometheus_client import REGISTRY

from halfbeat import logs, subjects, telemetry
from halfbeat.bus import Delivery
from halfbeat.bus.memory import MemoryBroker
from halfbeat.errors import ToolFailed
from halfbeat.service import Health
from halfbeat.v1 import asr_pb2, common_pb2, session_pb2
from halfbeat.worker import Worker

#: What Prometheus 2 and 3 say they accept.
PROMETHEUS = {
    2: "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    3: "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
}


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry.trace, "get_tracer", lambda _: provider.get_tracer("halfbeat"))
    return exporter


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, object]]]:
    """What this process would have logged so far, as JSON."""
    formatted: list[str] = []
    formatter = logs.JsonFormatter("asr", "asr-1")

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            formatted.append(formatter.format(record))

    handler = Keep()
    logging.getLogger("test").addHandler(handler)
    caplog.set_level("INFO")
    return lambda: [json.loads(line) for line in formatted]


@pytest.mark.parametrize("version", PROMETHEUS)
async def test_metrics_have_exemplars_for_who_accepts_openmetrics_and_plain_text_for_others(
    spans: InMemorySpanExporter, version: int
) -> None:
    with telemetry.span("tool.lookup", common_pb2.Stamp(sid="s1", turn=3)):
        pass
    [span] = spans.get_finished_spans()
    exemplar = f'# {{span_id="{span.context.span_id:016x}",trace_id="{span.context.trace_id:032x}"}}'
    app = web.Application()
    async with MemoryBroker().connect("asr") as bus:
        Health(bus).add_routes(app)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
        async with aiohttp.ClientSession() as client:
            async with client.get(url, headers={"Accept": PROMETHEUS[version]}) as response:
                rich_type, rich = response.headers["Content-Type"], await response.text()
            async with client.get(url) as response:
                plain_type, plain = response.headers["Content-Type"], await response.text()
        await runner.cleanup()
    assert rich_type.startswith("application/openmetrics-text; version=1.0.0")
    hop = [line for line in rich.splitlines() if line.startswith('halfbeat_hop_seconds_bucket{hop="tool.lookup"')]
    assert any(exemplar in line for line in hop)
    assert rich.endswith("# EOF\n")
    assert plain_type.startswith("text/plain; version=0.0.4")
    assert "trace_id" not in plain
    assert 'halfbeat_hop_seconds_count{hop="tool.lookup"}' in plain
    assert "_created" not in rich + plain, "twice the series for nothing"


async def test_ready_is_shown_as_readyz_says_it() -> None:
    def shown() -> float | None:
        return REGISTRY.get_sample_value("halfbeat_ready")

    broker = MemoryBroker()
    async with broker.connect("asr") as bus:
        health = Health(bus)
        assert shown() == 0
        health.is_ready = True
        assert shown() == 1
    assert shown() == 0, "not connected any more"


def test_an_unsampled_or_missing_span_gives_no_exemplar() -> None:
    unsampled = TracerProvider(sampler=ALWAYS_OFF).get_tracer("halfbeat").start_span("turn")
    for span in (None, trace.INVALID_SPAN, unsampled):
        assert telemetry.exemplar_of(span) is None


def test_a_failed_span_says_the_kind_of_error_and_not_its_text(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ToolFailed), telemetry.span("tool.book", common_pb2.Stamp(sid="s1")):
        raise ToolFailed("12 Oak Street is not an address")
    with pytest.raises(ValueError, match="Oak"), telemetry.span("tool.book", common_pb2.Stamp(sid="s1")):
        raise ValueError("Oak Street")
    ours, theirs = spans.get_finished_spans()
    assert ours.status.status_code is trace.StatusCode.ERROR
    assert ours.status.description == "tool"
    for span in (ours, theirs):
        assert "Oak" not in span.to_json()


def test_a_line_inside_a_span_says_which(
    spans: InMemorySpanExporter, lines: Callable[[], list[dict[str, object]]]
) -> None:
    log = logging.getLogger("test")
    log.info("before")
    with logs.about(sid="s1"), telemetry.span("tool.lookup", common_pb2.Stamp(sid="s1")):
        log.info("inside", extra={"tool": "lookup"})
    log.info("after")
    [span] = spans.get_finished_spans()
    before, inside, after = lines()
    assert inside["trace_id"] == f"{span.context.trace_id:032x}"
    assert inside["span_id"] == f"{span.context.span_id:016x}"
    assert (inside["sid"], inside["tool"], inside["service"]) == ("s1", "lookup", "asr")
    for line in (before, after):
        assert not {"sid", "trace_id", "span_id"} & set(line)


class Talkative:
    """A session that logs at every message."""

    subjects = (subjects.ASR_CONTROL,)

    def __init__(self, seen: list[str]) -> None:
        self._seen = seen

    async def handle(self, delivery: Delivery) -> None:
        logging.getLogger("test").info("handled")
        self._seen.append(delivery.sid)

    async def aclose(self) -> None:
        logging.getLogger("test").info("closed")


async def test_what_a_worker_logs_is_joined_by_the_call_and_by_the_trace_that_the_message_carried(
    spans: InMemorySpanExporter, lines: Callable[[], list[dict[str, object]]]
) -> None:
    seen: list[str] = []

    async def make(_: session_pb2.OpenRequest) -> Talkative:
        logging.getLogger("test").info("opened")
        return Talkative(seen)

    broker = MemoryBroker()
    async with (
        broker.connect("asr") as bus,
        broker.connect("router") as router,
        Worker(bus, "asr", make, name="asr-1", slots=2),
    ):
        for sid in ("s1", "s2"):
            request = session_pb2.OpenRequest(stamp=common_pb2.Stamp(sid=sid))
            await router.request(subjects.ASR_OPEN, request, session_pb2.OpenReply, timeout_s=1)
        turn = telemetry.start_span("turn", common_pb2.Stamp(sid="s1"))
        headers = telemetry.headers_of(trace.set_span_in_context(turn))
        for sid, given in (("s1", headers), ("s2", {}), ("s1", {})):
            control = asr_pb2.AsrControl(stamp=common_pb2.Stamp(sid=sid), reset=asr_pb2.Reset())
            await router.publish(subjects.ASR_CONTROL, control, headers=given)
            before = len(seen)
            async with asyncio.timeout(5):
                while len(seen) == before:  # noqa: ASYNC110
                    await asyncio.sleep(0)
    told = [(line["message"], line["sid"], line.get("trace_id")) for line in lines()]
    trace_id = telemetry.ids_of(turn)["trace_id"]
    assert told[:5] == [
        ("opened", "s1", None),
        ("opened", "s2", None),
        ("handled", "s1", trace_id),
        ("handled", "s2", None),
        ("handled", "s1", None),
    ]
    assert sorted(told[5:]) == [("closed", "s1", None), ("closed", "s2", None)]
