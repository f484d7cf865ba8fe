"""The turn detector alone, on labelled speech: dead air at 5 % and at 10 % cut-offs.

    python -m bench.detector                        # the labelled set, made on first use and kept in the cache
    python -m bench.detector --fit                  # also fits the fusion on the tuning half
    python -m bench.detector --audio-dir DIR        # recordings: each WAV file is one whole turn

The terms are those of eot-bench, LiveKit's public benchmark: a pause of a turn is a silence of at least 200 ms within
it; the cut-off rate is the share of pauses in which the turn was ended; dead air is the mean silence after the true end
of a turn until it was ended; both for the best setting of threshold, shortest and longest silence. Other than there,
the time that the sources take counts, and the words are the recogniser's own.
"""

import argparse
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.turns import recordings
from bench.turns.evidence import Models, Pause, observe
from bench.turns.fit import fitted
from bench.turns.lines import caller_lines
from bench.turns.speech import default_cache, make_speech
from bench.turns.sweep import (
    Policy,
    Sweep,
    Traces,
    auc,
    interval,
    measured,
    replay,
    replay_with,
    swept,
)
from services.router.completeness import Reader
from services.router.config import RouterSettings
from services.router.detector import Evidence, TurnEnd
from services.router.endpoint import EndpointSettings

#: What eot-bench printed for English in 2026: dead air in ms at 5 % and at 10 % cut-offs.
PUBLISHED = {
    "best closed model": (543, 295),
    "best open model": (899, 663),
    "Smart Turn v3.2": (1051, 739),
    "silence alone": (1600, 1000),
}
BARS_MS = {0.05: 800, 0.10: 550}


@dataclass(frozen=True)
class Row:
    """One detector at one rate of cut-offs, in ms."""

    detector: str
    cut_off_rate: float
    mean_ms: float
    low_ms: float
    high_ms: float
    p50_ms: float
    p95_ms: float
    policy: Policy


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--takes", type=int, default=2, help="how often each line is said (default: 2)")
    parser.add_argument("--audio-dir", type=Path, help="labelled recordings in place of the made set")
    parser.add_argument("--fit", action="store_true", help="fit the fusion on the tuning half and print its constants")
    parser.add_argument("--true-words", action="store_true", help="the texts in place of the recogniser's words")
    parser.add_argument("--json", type=Path, default=Path("build/bench/detector.json"), help="write the figures there")
    arguments = parser.parse_args(argv)
    turns = _observed(arguments.audio_dir, arguments.takes)
    waits = [turn for turn in turns if turn[-1].kind == "wait"]
    turns = [turn for turn in turns if turn[-1].kind != "wait"]
    # Recordings of others are for reporting: nothing is chosen on them.
    is_made = arguments.audio_dir is None
    report = [turn for turn in turns if turn[0].half == "report" or not is_made]
    tune = [turn for turn in turns if turn[0].half == "tune" and is_made]
    print(_about(turns, report))
    settings = RouterSettings.load().endpoint()
    heard = not arguments.true_words
    rows, areas = _compared(report, settings, heard)
    _print_rows(rows, areas)
    chosen = _chosen(tune, report, settings, heard)
    print("\n".join(chosen))
    print(_waits(waits, settings))
    if arguments.fit and tune:
        print(fitted(tune, report, settings, heard=heard))
    about = {"turns": len(report), "pauses": sum(len(turn) - 1 for turn in report), "load": os.getloadavg()[0]}
    figures: dict[str, Any] = {"set": about, "auc": areas, "rows": [asdict(row) for row in rows]}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(figures, indent=2))
    return 0


def sources(turns: Sequence[Sequence[Pause]], settings: EndpointSettings, heard: bool = True) -> dict[str, Traces]:
    """Replays each source alone, and the router's fusion of them."""
    reader = Reader()

    def by_text(evidence: Evidence) -> float:
        return 0.5 + reader.log_odds(evidence.text) / 20 if evidence.has_final else -1.0

    return {
        "silence only": replay_with(turns, lambda e: e.silence_ms / 10_000, heard=heard),
        "audio only": replay_with(turns, lambda e: -1.0 if e.audio is None else e.audio, heard=heard),
        "text only": replay_with(turns, by_text, heard=heard),
        "fused": replay(turns, lambda: TurnEnd(settings), heard=heard),
    }


def _observed(audio_dir: Path | None, takes: int) -> list[list[Pause]]:
    def tell(what: str) -> Any:
        return lambda done, of: print(f"\r{what} {done}/{of}", end="" if done < of else "\n", file=sys.stderr)

    if audio_dir is not None:
        clips = recordings.clips_of(audio_dir)
    else:
        clips = make_speech(caller_lines(takes=takes), on_made=tell("speech"))
    # In any order: a run that was interrupted has some of everything.
    shuffled = random.Random(1).sample(clips, len(clips))
    return observe(shuffled, Models, default_cache().with_name("evidence"), tell("evidence"))


def _about(turns: Sequence[Sequence[Pause]], report: Sequence[Sequence[Pause]]) -> str:
    kinds = Counter(turn[0].kind for turn in report)
    return (
        f"{len(turns)} turns with {sum(len(turn) - 1 for turn in turns)} pauses of 200 ms and more; "
        f"reported on the half with {len(report)} and {sum(len(turn) - 1 for turn in report)}.\n"
        + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        + f"; load {os.getloadavg()[0]:.1f}"
    )


def _compared(
    report: Sequence[Sequence[Pause]], settings: EndpointSettings, heard: bool
) -> tuple[list[Row], dict[str, float]]:
    rows, areas = [], {}
    for name, traces in sources(report, settings, heard).items():
        sweep = swept(traces)
        areas[name] = auc(traces)
        for rate in BARS_MS:
            column = sweep.best(rate)[0]
            point = measured(traces, sweep.policies[column])
            low, high = interval(sweep, traces, rate)
            rows.append(Row(name, rate, point.mean_ms, low, high, point.p50_ms, point.p95_ms, point.policy))
    return rows, areas


def _print_rows(rows: Sequence[Row], areas: dict[str, float]) -> None:
    print(f"\n{'detector':<20}{'AUC':>6}   {'dead air at 5 % cut-offs, ms':<34}{'at 10 %':<34}policy at 5 %")
    columns = "mean (95 %)        p50 / p95"
    print(f"{'':<20}{'':>6}   {columns:<34}{columns:<34}(p, shortest, longest)")
    for name in dict.fromkeys(row.detector for row in rows):
        five, ten = (row for row in rows if row.detector == name)
        cells = [
            f"{row.mean_ms:5.0f} ({row.low_ms:.0f}-{row.high_ms:.0f})".ljust(18)
            + f"{row.p50_ms:5.0f} / {row.p95_ms:.0f}"
            for row in (five, ten)
        ]
        policy = f"{five.policy.threshold:.2f}, {five.policy.sure_ms}, {five.policy.unsure_ms}"
        print(f"{name:<20}{areas[name]:6.3f}   {cells[0]:<34}{cells[1]:<34}{policy}")
    for name, (at_five, at_ten) in PUBLISHED.items():
        print(f"{'published: ' + name:<29}{at_five:5d}{'':<29}{at_ten:5d}")
    bars = " and ".join(f"{ms} at {rate:.0%}" for rate, ms in BARS_MS.items())
    print(f"{'bars of this project':<29}{bars}")


def _chosen(
    tune: Sequence[Sequence[Pause]], report: Sequence[Sequence[Pause]], settings: EndpointSettings, heard: bool
) -> list[str]:
    """Says what settings do that were chosen on the tuning half, and what the router's own do."""
    policies = {"as the router is set": Policy(settings.threshold, settings.sure_ms, settings.unsure_ms)}
    if tune:
        sweep: Sweep = swept(replay(tune, lambda: TurnEnd(settings), heard=heard))
        for rate in BARS_MS:
            policies[f"chosen on the other half for {rate:.0%}"] = sweep.policies[sweep.best(rate)[0]]
    traces = replay(report, lambda: TurnEnd(settings), heard=heard)
    lines = ["\nfused, on the reporting half:"]
    for name, policy in policies.items():
        point = measured(traces, policy)
        lines.append(
            f"  {name:<34}{point.cut_off_rate:6.1%} cut off, dead air {point.mean_ms:5.0f} ms "
            f"(p50 {point.p50_ms:.0f}, p95 {point.p95_ms:.0f}); "
            f"{policy.threshold:.2f}, {policy.sure_ms}, {policy.unsure_ms}"
        )
    return lines


def _waits(waits: Sequence[Sequence[Pause]], settings: EndpointSettings) -> str:
    """Says how many of the callers who asked for time are given it."""
    if not waits:
        return ""
    told = 0
    for turn in waits:
        evidence = Evidence(1000, 2000, 0.0, None, None, turn[-1].heard, has_final=True)
        told += TurnEnd(settings).judge(evidence).is_wait
    return f"asked for time: {len(waits)} turns, {told} recognised as such"


if __name__ == "__main__":
    sys.exit(main())
