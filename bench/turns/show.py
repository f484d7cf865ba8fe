"""The report for people."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

#: Title, where to find it, unit.
_ROWS = (
    ("turns", ("n",), ""),
    ("v2v p50", ("v2v_ms", "p50"), "ms"),
    ("v2v p95", ("v2v_ms", "p95"), "ms"),
    ("v2v p99", ("v2v_ms", "p99"), "ms"),
    ("pauses answered into", ("cut_in_rate",), "%"),
    ("turns never answered", ("unanswered",), ""),
    ("barge-in p50", ("barge_in_ms", "p50"), "ms"),
    ("barge-in p95", ("barge_in_ms", "p95"), "ms"),
    ("stopped by an aside", ("false_stop_rate",), "%"),
    ("bus and router p50", ("bus_and_router_ms", "p50"), "ms"),
    ("bus and router p99", ("bus_and_router_ms", "p99"), "ms"),
    ("drafts adopted", ("speculation", "hits"), ""),
    ("drafts in vain", ("speculation", "misses"), ""),
    ("tokens in vain", ("speculation", "wasted_tokens"), ""),
    ("waits answered", ("waits", "answered"), ""),
    ("answers that stall", ("stalls", "n"), ""),
    ("for p50", ("stalls", "p50"), "ms"),
)


def table(sets: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    """Draws the numbers of every set side by side, with the spread of the runs."""
    drawn = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    drawn.add_column("")
    for name in sets:
        drawn.add_column(name.replace("_", " "), justify="right")
    for row, path, unit in _ROWS:
        drawn.add_row(row, *(_cell(numbers, path, unit) for numbers in sets.values()))
    return drawn


def hops(sets: Mapping[str, Mapping[str, Any]]) -> Table:
    """Draws where the time of the turns went."""
    drawn = Table(title="Hops, ms (p50 / p95)", title_justify="left", box=None, padding=(0, 2, 0, 0))
    drawn.add_column("")
    for name in sets:
        drawn.add_column(name.replace("_", " "), justify="right")
    for hop in dict.fromkeys(hop for numbers in sets.values() for hop in numbers["hops_ms"]):
        cells = []
        for numbers in sets.values():
            times = numbers["hops_ms"].get(hop)
            cells.append("-" if times is None else f"{times['p50']:.0f} / {times['p95']:.0f}")
        drawn.add_row(hop, *cells)
    return drawn


def _cell(numbers: Mapping[str, Any], path: tuple[str, ...], unit: str) -> str:
    value, spread = _at(numbers, path), _at(numbers.get("spread", {}), path)
    if value is None:
        return "-"
    text = _text(value, unit)
    if spread and len(numbers.get("runs", ())) > 1:
        text += f" ({_text(spread[0], unit)}-{_text(spread[1], unit)})"
    return text


def _at(numbers: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        numbers = numbers.get(key) if isinstance(numbers, Mapping) else None
    return numbers


def _text(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.1f} %"
    return f"{value:.0f} {unit}".strip()
