"""Where the time goes: one OpenTelemetry trace per turn across all processes, and histograms per hop.

Spans go out by OTLP when the standard variables ask for it (``OTEL_EXPORTER_OTLP_ENDPOINT``) and always to the bus,
where `halfbeat trace` and the router's page read them. Spans surround operations, never single frames.
"""

import asyncio
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import Counter, Gauge, Histogram

from halfbeat import logs
from halfbeat.errors import HalfbeatError, code_name
from halfbeat.v1 import common_pb2

if TYPE_CHECKING:
    from halfbeat.bus import Bus

# Seconds; made for voice: fine where a caller notices.
VOICE_BUCKETS = (
    0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.25, 1.5,
    2.0, 3.0, 5.0,
)  # fmt: skip

V2V = Histogram("halfbeat_v2v_seconds", "Voice to voice, as measured at the edge", buckets=VOICE_BUCKETS)
V2V_HOP = Histogram(
    "halfbeat_v2v_hop_seconds", "What a caller waited for one hop; all hops add up to voice to voice", ["hop"],
    buckets=VOICE_BUCKETS,
)  # fmt: skip
HOP = Histogram("halfbeat_hop_seconds", "Time one hop spent on a turn", ["hop"], buckets=VOICE_BUCKETS)
BARGE_IN = Histogram("halfbeat_barge_in_seconds", "Caller's first voice to agent silent", buckets=VOICE_BUCKETS)
STOP = Histogram(
    "halfbeat_stop_seconds", "From the message that voids an answer to its work being over", ["service"],
    buckets=(0.001, 0.002, *VOICE_BUCKETS),
)  # fmt: skip
LOOP_LAG = Histogram(
    "halfbeat_loop_lag_seconds", "How late the event loop woke up", buckets=(0.001, 0.002, *VOICE_BUCKETS)
)
ACTIVE = Gauge("halfbeat_active_sessions", "Sessions held now", ["service"])
CAPACITY = Gauge("halfbeat_capacity_sessions", "Sessions this instance may hold", ["service"])
ERRORS = Counter("halfbeat_errors_total", "Errors by kind", ["service", "code"])
TOKENS = Counter("halfbeat_tokens_total", "Tokens of the language model", ["kind"])
TURNS = Counter("halfbeat_turns_total", "Turns by how they ended", ["end"])
READY = Gauge("halfbeat_ready", "1 while /readyz says so: started, on the bus, not draining")
DRAIN_DEADLINE = Gauge(
    "halfbeat_drain_deadline_timestamp_seconds", "When this process cuts its drain short; 0 while it does not drain"
)

tracer = trace.get_tracer("halfbeat")
M = TypeVar("M", Counter, Histogram)


def from_zero(metric: M, *series: str | tuple[str, ...]) -> M:
    """Makes the series of these label values now, and returns the metric.

    A series that appears with its first event has no rate for it: nobody has seen the zero before.
    """
    for values in series:
        metric.labels(*((values,) if isinstance(values, str) else values))
    return metric


def errors_from_zero(service: str) -> None:
    """Makes the series of every error that this service may count."""
    codes = (name for name, code in common_pb2.ErrorCode.items() if code != common_pb2.ERROR_CODE_UNSPECIFIED)
    from_zero(ERRORS, *((service, code) for code in codes))


class _BusSpans(SpanProcessor):
    """Hands each ended span that belongs to a session to the bus."""

    def __init__(self, bus: "Bus", loop: asyncio.AbstractEventLoop) -> None:
        self._bus, self._loop = bus, loop
        self._pending: set[asyncio.Task[None]] = set()

    def on_end(self, span: ReadableSpan) -> None:
        sid = (span.attributes or {}).get("halfbeat.sid")
        if sid and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._publish, str(sid), span)

    def _publish(self, sid: str, span: ReadableSpan) -> None:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        if len(self._pending) >= 256:  # the bus is down; spans are not worth memory
            return
        task = self._loop.create_task(self._bus.publish_spans(sid, encode_spans([span]).SerializeToString()))
        self._pending.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._pending.discard(task)
        if not task.cancelled():
            task.exception()


def setup(service: str, instance: str, bus: "Bus") -> TracerProvider:
    """Sets up tracing for this process, inside the running loop; shut the returned provider down at the end."""
    provider = TracerProvider(
        resource=Resource.create({"service.name": service, "service.instance.id": instance}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(_BusSpans(bus, asyncio.get_running_loop()))
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


def context_of(headers: Mapping[str, str]) -> Context:
    """Returns the trace context that a message carried."""
    return propagate.extract(dict(headers))


def headers_of(context: Context | None = None) -> dict[str, str]:
    """Returns the headers that carry a trace context (the current one by default) over the bus."""
    headers: dict[str, str] = {}
    propagate.inject(headers, context)
    return headers


def start_span(
    name: str, stamp: common_pb2.Stamp, *, context: Context | None = None, start_ns: int | None = None
) -> trace.Span:
    """Starts a span of one turn; end it with `span.end()`.

    Args:
        name: one of design's names: turn, endpoint, asr.flush, llm.first_token, llm.clause, tts.first_audio,
            playout.first_frame, tool.<name>.
        stamp: whose turn it is.
        context: parent; the current one by default.
        start_ns: wall-clock start (`time.time_ns()`), when it began before now.
    """
    attributes: dict[str, str | int] = {
        "halfbeat.sid": stamp.sid,
        "halfbeat.turn": stamp.turn,
        "halfbeat.revision": stamp.revision,
        "halfbeat.epoch": stamp.epoch,
    }
    return trace.get_tracer("halfbeat").start_span(name, context, attributes=attributes, start_time=start_ns)


@contextmanager
def span(
    name: str, stamp: common_pb2.Stamp, *, context: Context | None = None, start_ns: int | None = None
) -> Iterator[trace.Span]:
    """Like `start_span`, as the current span of a block; also observes `halfbeat_hop_seconds{hop=name}`.

    A `HalfbeatError` that leaves the block fails the span.
    """
    began_ns = start_ns or time.time_ns()
    started = start_span(name, stamp, context=context, start_ns=began_ns)
    # Texts of exceptions stay out of spans: one may quote what a caller said.
    with (
        trace.use_span(started, end_on_exit=True, record_exception=False, set_status_on_exception=False),
        logs.about(**ids_of(started)),
    ):
        try:
            yield started
        except HalfbeatError as error:
            fail(started, error)
            raise
    observe_hop(name, (time.time_ns() - began_ns) / 1e9, started)


def observe_hop(name: str, seconds: float, of: trace.Span | None) -> None:
    """Records a hop that was measured otherwise than by `span`; `of` is the span its exemplar leads to."""
    HOP.labels(name).observe(seconds, exemplar_of(of))


def exemplar_of(span: trace.Span | None) -> dict[str, str] | None:
    """Returns what leads from a histogram's bucket to a trace; None when that is not recorded."""
    ids = {} if span is None or not span.get_span_context().trace_flags.sampled else ids_of(span)
    return ids or None


def ids_of(span: trace.Span) -> dict[str, str]:
    """Returns `trace_id` and `span_id` in hex, for log lines; empty when nothing is traced."""
    context = span.get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": trace.format_trace_id(context.trace_id), "span_id": trace.format_span_id(context.span_id)}


def ids_in(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns the same of the span that a message carried; empty when it carried none."""
    return ids_of(trace.get_current_span(context_of(headers))) if headers else {}


def fail(span: trace.Span, error: HalfbeatError) -> None:
    """Marks a span as failed, for which the collector keeps its trace; says the kind of error and none of its text."""
    span.set_status(trace.StatusCode.ERROR, code_name(error.code))


def observe_stop(service: str, task: "asyncio.Task[None] | None", asked_ns: int) -> None:
    """Records how long a cancelled task takes to be over, since a message asked for it; others are left alone.

    Args:
        service: whose work it is.
        task: the work, if there was any.
        asked_ns: monotonic arrival of the message.
    """
    if task is not None and not task.done() and task.cancelling():
        task.add_done_callback(lambda _: STOP.labels(service).observe((time.monotonic_ns() - asked_ns) / 1e9))


class Residence:
    """Stopwatch of one hop for one turn's message: queue from the arrival until `start`, work until `stamp_on`."""

    def __init__(self, hop: str, received_ns: int) -> None:
        """Takes the hop's name and the monotonic arrival time of the message that caused the work."""
        self._hop, self._received_ns, self._started_ns = hop, received_ns, received_ns

    def start(self) -> None:
        """Work begins now."""
        self._started_ns = time.monotonic_ns()

    def stamp_on(self, stamp: common_pb2.Stamp) -> None:
        """Adds this hop to a message that is about to be published."""
        now = time.monotonic_ns()
        stamp.residence.append(
            common_pb2.Residence(
                hop=self._hop,
                queue_us=max(0, self._started_ns - self._received_ns) // 1000,
                work_us=max(0, now - self._started_ns) // 1000,
            )
        )


async def watch_loop_lag(interval_s: float = 0.5) -> None:
    """Measures how late the loop wakes up, until cancelled."""
    while True:
        due = time.monotonic() + interval_s
        await asyncio.sleep(interval_s)
        LOOP_LAG.observe(max(0.0, time.monotonic() - due))
