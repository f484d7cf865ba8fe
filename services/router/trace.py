"""One trace per turn: a root span from the caller's last voiced sample to the end of the answer."""

import time
from collections.abc import Iterable

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, set_span_in_context

from halfbeat import telemetry
from halfbeat.clock import Clock
from halfbeat.v1 import common_pb2
from services.router.turn_record import TurnRecord


class TurnTrace:
    """The root span of one revision of a turn, begun at its pause. That of a void revision is never ended or shown."""

    def __init__(self, stamp: common_pb2.Stamp, clock: Clock, start_ns: int) -> None:
        """Takes the monotonic time of the caller's last voiced sample, or of the commit where nothing was said."""
        self._stamp, self._clock = stamp, clock
        self._span: Span = telemetry.start_span("turn", stamp, context=Context(), start_ns=self._wall_ns(start_ns))
        self.context = set_span_in_context(self._span, Context())
        self.headers = telemetry.headers_of(self.context)

    @property
    def trace_id(self) -> str:
        """Hex, or "" when nothing is traced."""
        context = self._span.get_span_context()
        return trace.format_trace_id(context.trace_id) if context.is_valid else ""

    @property
    def span(self) -> Span:
        """What an exemplar or a log line leads to."""
        return self._span

    def child(self, name: str, start_ns: int, end_ns: int) -> None:
        """Adds a span that is over, by monotonic times."""
        span = telemetry.start_span(name, self._stamp, context=self.context, start_ns=self._wall_ns(start_ns))
        span.end(self._wall_ns(max(start_ns, end_ns)))

    def link(self, discarded: Iterable["TurnTrace"]) -> None:
        """Points to the traces of revisions whose drafts came to nothing."""
        for other in discarded:
            self._span.add_link(other._span.get_span_context())

    def end(self, record: TurnRecord, end: str, words: dict[str, str]) -> None:
        """Ends the turn's span; `words` are what was said, given only where that is allowed.

        The collector keeps the traces of turns that failed or were slow: it looks at the status and `halfbeat.v2v_ms`
        (deploy/otel/collector.yaml). The span's own length says nothing: it holds the whole answer.
        """
        self._span.set_attribute("halfbeat.end", end)
        if end == "failed":
            self._span.set_status(trace.StatusCode.ERROR)
        if record.v2v_ms is not None:
            self._span.set_attribute("halfbeat.v2v_ms", record.v2v_ms)
        if record.drafts:
            self._span.set_attribute("halfbeat.drafts", record.drafts)
            self._span.set_attribute("halfbeat.is_draft_adopted", record.is_draft_adopted)
        if record.over_budget:
            self._span.set_attribute("halfbeat.over_budget", record.over_budget)
        if record.barge_in_ms is not None:
            self._span.set_attribute("halfbeat.barge_in_ms", record.barge_in_ms)
        for name, text in words.items():
            self._span.set_attribute(f"pii.{name}", text)
        self._span.end()

    def _wall_ns(self, monotonic_ns: int) -> int:
        return time.time_ns() - (self._clock.now_ns() - monotonic_ns)
