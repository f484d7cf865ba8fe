"""The echo canceller against nothing, WebRTC's AEC3 and its own linear stage, side by side in one run.

    python -m bench.echo                        # simulated calls over a loudspeaker, then calls in the loop
    python -m bench.echo --audio-dir DIR        # also recordings: DIR/aec/**/NAME_mic.wav with NAME_lpb.wav
    python -m bench.echo --minutes 0            # without the calls in the loop

Simulated: far end alone, near end alone, double talk, a path that changes, a delay that jumps, clocks 50 ppm apart, a
loudspeaker that bends, noise, the telephone's band. In the loop: the real router and recogniser, the agent's echo at
-6 dB and 120-400 ms; who stops it, and who does not. docs/benchmarks.md says what each figure is.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.echo import scores
from bench.echo.cancellers import CANCELLERS, OURS, batched_ms, run
from bench.echo.loop import in_the_loop
from bench.echo.scenes import DOUBLE, FAR_ALONE, NEAR_ALONE, Scene, recorded, simulated
from halfbeat.audio import Floats
from halfbeat.audio.echo import DELAY
from halfbeat.audio.linear import HOP

OUT = Path("build/bench/echo.json")
BATCH = 30
Row = dict[str, Any]


def main() -> None:
    """Runs the benchmark and writes the report."""
    parser = argparse.ArgumentParser(
        prog="halfbeat bench echo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio-dir", type=Path, help="folder of recordings with a folder aec in it")
    parser.add_argument("--scenes", type=int, default=3, help="simulated scenes of each case (default: 3)")
    parser.add_argument("--minutes", type=float, default=10.0, help="of agent speech in the loop, each (default: 10)")
    parser.add_argument("--calls", type=int, default=4, help="at a time in the loop (default: 4)")
    parser.add_argument("--only", nargs="*", choices=list(CANCELLERS), default=list(CANCELLERS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--json", action="store_true", help="print the report for a machine")
    args = parser.parse_args()
    console = Console(stderr=args.json, highlight=False)
    console.print("making the scenes ...")
    made = simulated(args.seed, args.scenes)
    found = list(recorded(args.audio_dir)) if args.audio_dir else []
    listener = scores.Listener()
    report: Row = {}
    for name in args.only:
        console.print(f"{name}: {len(made)} simulated scenes, {len(found)} recordings ...")
        sim, rec = _scored(name, made, listener), _scored(name, found, None) if found else {}
        report[name] = {**sim, **{k: v for k, v in rec.items() if v is not None}}
        report[name] |= {"simulated": sim, "by_case": _by_case(name, made)}
        if found:
            report[name]["recordings"] = rec
    for name in args.only if args.minutes else ():
        loop = asyncio.run(in_the_loop(name, args.minutes, args.calls, console.print))
        report[name] |= {k: loop[k] for k in ("self_interruptions", "barge_in_recall")} | {"in_the_loop": loop}
    if OURS in report:
        cost = batched_ms(BATCH)
        p50, p99 = np.percentile(cost, (50, 99))
        report[OURS]["batched"] = {"calls": BATCH, "ms_per_10ms": {"p50": _round(p50), "p99": _round(p99)}}
    report["machine"] = {
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1))
    print(json.dumps(report)) if args.json else _show(console, report, args.only)
    console.print(f"report: {args.out}")


def _scored(name: str, scenes: Sequence[Scene], listener: scores.Listener | None) -> Row:
    """Means over scenes; None for what has no scene."""
    columns: dict[str, list[float]] = {}
    cost: list[float] = []
    wrong = words = 0.0
    delay = _delay(name)

    def add(column: str, value: float | None) -> None:
        if value is not None:
            columns.setdefault(column, []).append(value)

    for scene in scenes:
        out, for_words, times = run(CANCELLERS[name](), scene.heard, scene.played)
        cost += times[50:]
        out, for_words = scores.aligned(out, delay), scores.aligned(for_words, delay)
        if scene.kind == FAR_ALONE:
            add("erle_db", scores.erle_db(scene.heard, out))
            converged = scores.convergence_ms(scene.heard, out)
            add("convergence_ms", converged)
            add("never_converged", float(converged is None))
        elif scene.kind == NEAR_ALONE:
            before = scores.aecmos(scene.kind, scene.heard, scene.played, scene.heard)
            add("near_end_degradation", before[1] - scores.aecmos(scene.kind, scene.heard, scene.played, out)[1])
            if listener is not None and scene.near is not None:
                plain = listener.errors(scene.heard, scene.text, scene.near)
                mine = listener.errors(for_words, scene.text, scene.near)
                add("wer_near_end_added", (mine[0] - plain[0]) / plain[1])
        else:
            if scene.near is None or scene.case != "with truth":
                echo, other = scores.aecmos(scene.kind, scene.heard, scene.played, out)
                add("aecmos_echo", echo)
                add("aecmos_degradation", other)
            if scene.near is not None:
                add("si_sdr_db", scores.si_sdr_db(out, scene.near))
                add("pesq", scores.pesq_mos(out, scene.near))
                if listener is not None:
                    some = listener.errors(for_words, scene.text, scene.near)
                    wrong, words = wrong + some[0], words + some[1]
    row: Row = {
        k: _mean(columns.get(k, []))
        for k in (
            "aecmos_echo", "aecmos_degradation", "erle_db", "si_sdr_db", "pesq", "near_end_degradation",
            "convergence_ms", "never_converged", "wer_near_end_added",
        )
    }  # fmt: skip
    row["wer_double_talk"] = _round(wrong / words) if words else None
    row["delay_ms"] = delay * 10 / HOP
    row["cost_ms_per_10ms"] = {q: _round(np.percentile(cost, p)) for q, p in (("p50", 50), ("p99", 99))}
    row["spread"] = {k: [_round(min(v)), _round(max(v))] for k, v in columns.items()}
    row["n"] = {kind: sum(s.kind == kind for s in scenes) for kind in (FAR_ALONE, NEAR_ALONE, DOUBLE)}
    return row


def _by_case(name: str, scenes: Sequence[Scene]) -> Row:
    """SI-SDR of each case with double talk."""
    delay, cases = _delay(name), dict.fromkeys(s.case for s in scenes if s.kind == DOUBLE)
    return {
        case: _mean(
            [
                scores.si_sdr_db(scores.aligned(run(CANCELLERS[name](), s.heard, s.played)[0], delay), s.near)
                for s in scenes
                if s.case == case and s.near is not None
            ]
        )
        for case in cases
    }


def _delay(name: str) -> int:
    """Samples by which a canceller lags, measured: noise from the caller alone."""
    near: Floats = (0.05 * np.random.default_rng(3).standard_normal(200 * HOP)).astype(np.float32)
    if name == OURS:
        return DELAY  # its network takes noise away
    return scores.delay_of(run(CANCELLERS[name](), near, np.zeros_like(near))[0], near)


def _show(console: Console, report: Row, names: Sequence[str]) -> None:
    table = Table("", *names, title="echo", box=None)
    lines: tuple[tuple[str, Callable[[Row], Any]], ...] = (
        ("AECMOS echo", lambda r: r["aecmos_echo"]),
        ("AECMOS degradation", lambda r: r["aecmos_degradation"]),
        ("ERLE, dB", lambda r: r["erle_db"]),
        ("SI-SDR, dB", lambda r: r["si_sdr_db"]),
        ("PESQ", lambda r: r["pesq"]),
        ("words wrong in double talk", lambda r: r["wer_double_talk"]),
        ("words wrong, added near end alone", lambda r: r["wer_near_end_added"]),
        ("degradation, near end alone", lambda r: r["near_end_degradation"]),
        ("converged after, ms", lambda r: r["convergence_ms"]),
        ("delay, ms", lambda r: r["delay_ms"]),
        ("ms for 10 ms, p50", lambda r: r["cost_ms_per_10ms"]["p50"]),
        ("ms for 10 ms, p99", lambda r: r["cost_ms_per_10ms"]["p99"]),
        ("stopped by its own echo", lambda r: r.get("self_interruptions")),
        ("interruptions that stopped it", lambda r: r.get("barge_in_recall")),
        ("time to silence p50, ms", lambda r: r.get("in_the_loop", {}).get("time_to_silence_ms", {}).get("p50")),
        ("time to silence p95, ms", lambda r: r.get("in_the_loop", {}).get("time_to_silence_ms", {}).get("p95")),
    )
    for title, value in lines:
        table.add_row(title, *("-" if (v := value(report[n])) is None else str(v) for n in names))
    console.print(table)
    if OURS in report:
        console.print(f"{BATCH} calls at once: {report[OURS]['batched']['ms_per_10ms']} ms for 10 ms of each")


def _mean(values: Sequence[float]) -> float | None:
    return _round(statistics.fmean(values)) if values else None


def _round(value: Any) -> float:
    return round(float(value), 3)


if __name__ == "__main__":
    main()
