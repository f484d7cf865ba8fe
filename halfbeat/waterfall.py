"""Draws where the time of each turn went, from the spans of all processes (no I/O)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from halfbeat.record import Turn

_COLOURS = {"router": "cyan", "asr": "green", "dialogue": "yellow", "tts": "magenta"}


@dataclass(frozen=True)
class Span:
    """One operation of one service, in wall-clock nanoseconds."""

    name: str
    service: str
    trace_id: str
    turn: int
    revision: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def ms(self) -> float:
        return (self.end_ns - self.start_ns) / 1e6


def decode(payload: bytes) -> list[Span]:
    """Reads OTLP-encoded spans (an `ExportTraceServiceRequest` or `TracesData`, which are the same on the wire)."""
    spans = []
    for resource in TracesData.FromString(payload).resource_spans:
        service = next((a.value.string_value for a in resource.resource.attributes if a.key == "service.name"), "?")
        for scope in resource.scope_spans:
            for s in scope.spans:
                attributes = {
                    a.key: getattr(a.value, a.value.WhichOneof("value") or "string_value") for a in s.attributes
                }
                spans.append(
                    Span(
                        name=s.name,
                        service=service,
                        trace_id=s.trace_id.hex(),
                        turn=int(attributes.get("halfbeat.turn", 0)),
                        revision=int(attributes.get("halfbeat.revision", 0)),
                        start_ns=s.start_time_unix_nano,
                        end_ns=s.end_time_unix_nano,
                        attributes=attributes,
                    )
                )
    return spans


def turns(spans: Iterable[Span]) -> dict[str, list[Span]]:
    """Groups spans by trace, one trace a turn, in order of time; the root span `turn` comes first."""
    by_trace: dict[str, list[Span]] = {}
    for span in spans:
        by_trace.setdefault(span.trace_id, []).append(span)
    for group in by_trace.values():
        group.sort(key=lambda s: (s.name != "turn", s.start_ns, s.end_ns))
    return dict(sorted(by_trace.items(), key=lambda item: min(s.start_ns for s in item[1])))


def draw(spans: Iterable[Span], columns: int = 100, said: Iterable[Turn] = ()) -> RenderableType:
    """Returns one waterfall per turn.

    What was done for a pause that was not the end (the recogniser's flush, a draft) has a trace of its own without a
    root, and is left out here once its turn has one that counts.

    Args:
        spans: of one call.
        columns: of the terminal.
        said: the call's turns as its log has them; tell which answers were cut.
    """
    width = max(20, min(60, columns - 58))
    groups = turns(spans).values()
    done = {s.turn for group in groups for s in group if s.name == "turn"}
    cut = _cut(said)
    return Group(*(_draw_turn(group, width, cut.get(group[0].trace_id)) for group in groups if _is_shown(group, done)))


def _is_shown(group: list[Span], done: set[int]) -> bool:
    is_rooted = group[0].name == "turn"
    return is_rooted or (group[0].turn not in done and any(s.name != "asr.flush" for s in group))


def _cut(said: Iterable[Turn]) -> dict[str, Turn]:
    """The turns whose answer was cut, by trace."""
    return {turn.trace_id: turn for turn in said if turn.is_interrupted}


def _draw_turn(spans: list[Span], width: int, cut: Turn | None) -> RenderableType:
    begin = min(s.start_ns for s in spans)
    # The root lasts as long as the agent speaks; what the caller waits for ends with the first frame that was played.
    waited_until = max((s.end_ns for s in spans if s.name == "playout.first_frame"), default=0)
    shown = [s for s in spans if s.name != "turn" and (not waited_until or s.start_ns <= waited_until)]
    end = waited_until or max(s.end_ns for s in spans)
    scale = width / max(1, end - begin)
    table = Table(show_header=False, box=None, padding=(0, 1))
    for s in shown:
        left = min(width - 1, max(0, int((s.start_ns - begin) * scale)))
        length = max(1, min(width - left, round((s.end_ns - s.start_ns) * scale)))
        bar = Text((" " * left + "█" * length).ljust(width), style=_COLOURS.get(s.service, "white"), no_wrap=True)
        table.add_row(s.service, s.name, bar, f"{(s.start_ns - begin) / 1e6:5.0f} ms", f"+{s.ms:.0f} ms")
    turn = spans[0]
    title = "opening" if turn.turn == 0 else f"turn {turn.turn}"
    v2v = next((s.attributes["halfbeat.v2v_ms"] for s in spans if "halfbeat.v2v_ms" in s.attributes), None)
    heading = Text(f"{title}  voice to voice {v2v} ms" if v2v is not None else title, style="bold")
    if cut is not None:
        heading.append(f"\n{cut.cut}; heard: {cut.heard or 'nothing'}", style="not bold red")
    return Group(heading, table, Text(""))


def to_json(spans: Iterable[Span], said: Iterable[Turn] = ()) -> list[dict[str, Any]]:
    """Returns the same as data: one object per turn, with its spans in ms since it began and how its answer was cut."""
    result = []
    cut = _cut(said)
    for trace_id, group in turns(spans).items():
        begin = min(s.start_ns for s in group)
        result.append(
            {
                "turn": group[0].turn,
                "trace_id": trace_id,
                "cut": _cut_json(cut.get(trace_id)),
                "spans": [
                    {
                        "name": s.name,
                        "service": s.service,
                        "start_ms": round((s.start_ns - begin) / 1e6, 1),
                        "ms": round(s.ms, 1),
                    }
                    for s in group
                ],
            }
        )
    return result


def _cut_json(turn: Turn | None) -> dict[str, Any] | None:
    if turn is None:
        return None
    return {
        "played_ms": turn.played_ms,
        "heard": turn.heard,
        "barge_in_ms": turn.barge_in_ms,
        "barge_in_hops_ms": turn.barge_in_hops_ms,
    }
