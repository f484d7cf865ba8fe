"""Two plots beside the report: the distribution of voice to voice, and v2v against cut-offs as the threshold sweeps."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

#: People answer within this, in ms (design, 1).
HUMAN_MS = (200, 300)
#: The promise, and where a call begins to feel broken.
LINES_MS = (600, 700)
_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b")


def draw(report: Path) -> list[Path]:
    """Draws what lies beside a report (`NAME.jsonl`, `NAME-curve.json` if there is one); returns the files."""
    v2v: dict[str, list[float]] = {}
    for line in report.with_suffix(".jsonl").read_text().splitlines():
        turn = json.loads(line) if line else {}
        if turn.get("v2v_ms") is not None:
            v2v.setdefault(turn["set"], []).append(turn["v2v_ms"])
    drawn = [_distribution(v2v, report.with_name(f"{report.stem}-v2v.png"))] if v2v else []
    sets = {name: numbers for name, numbers in json.loads(report.read_text()).items() if _is_set(numbers)}
    curve = report.with_name(f"{report.stem}-curve.json")
    points = json.loads(curve.read_text()) if curve.is_file() else []
    if sets:
        drawn.append(_tradeoff(sets, points, report.with_name(f"{report.stem}-cut-offs.png")))
    return drawn


def _is_set(numbers: Any) -> bool:
    return isinstance(numbers, Mapping) and "cut_in_rate" in numbers


def _distribution(v2v: Mapping[str, Sequence[float]], path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(8, 4.2))
    axes.axvspan(*HUMAN_MS, color="#d9ead3", label="people: 200-300 ms")
    for ms in LINES_MS:
        axes.axvline(ms, color="grey", linestyle="--", linewidth=1)
        axes.text(ms, 1.0, f"{ms} ms", fontsize=8, ha="center", va="bottom", transform=axes.get_xaxis_transform())
    edges = list(range(0, 1501, 25))
    for colour, (name, values) in zip(_COLOURS, v2v.items(), strict=False):
        shown = [min(value, edges[-1] - 1) for value in values]
        share = [1 / len(shown)] * len(shown)
        axes.hist(
            shown, edges, weights=share, histtype="step", color=colour, linewidth=1.6, label=f"{name} (n={len(shown)})"
        )
    axes.set_xlabel("caller's last voiced sample to the agent's first audible one, ms (1500 and more in the last bar)")
    axes.set_ylabel("share of turns")
    axes.set_xlim(0, edges[-1])
    axes.legend(fontsize=8)
    return _saved(figure, path)


def _tradeoff(sets: Mapping[str, Mapping[str, Any]], points: Sequence[Sequence[float]], path: Path) -> Path:
    """The measured sets as points over the curve of the detector alone."""
    figure, axes = plt.subplots(figsize=(8, 4.2))
    if points:
        rates, delays = [100 * p[1] for p in points], [p[2] for p in points]
        axes.plot(rates, delays, color="grey", linewidth=1.2, label="detector alone, threshold sweeping: dead air p50")
    for colour, (name, numbers) in zip(_COLOURS, sets.items(), strict=False):
        if numbers["cut_in_rate"] is None or numbers["v2v_ms"]["p50"] is None:
            continue
        at = 100 * numbers["cut_in_rate"]
        axes.plot([at, at], [numbers["v2v_ms"]["p50"], numbers["v2v_ms"]["p95"]], color=colour, linewidth=1)
        axes.plot([at], [numbers["v2v_ms"]["p50"]], "o", color=colour, label=f"{name}: v2v p50 (bar to p95)")
    axes.axvline(5, color="grey", linestyle=":", linewidth=1)
    for ms in LINES_MS:
        axes.axhline(ms, color="grey", linestyle="--", linewidth=1)
    axes.set_xlabel("pauses of the caller that were answered into, %")
    axes.set_ylabel("ms")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    return _saved(figure, path)


def _saved(figure: Any, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
