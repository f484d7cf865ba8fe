"""Runs the sets, shows progress, writes the report and what lies beside it."""

import asyncio
import json
import os
import platform
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.turns import sets, show, stage
from bench.turns.own_calls import calls_of
from bench.turns.playing import Decided, listening, play, write_wav
from bench.turns.scenario import Scenario
from bench.turns.score import AsideScore, Recording, TurnScore
from bench.turns.tally import Run, over_runs, percentiles
from bench.turns.voice import clean_answer
from halfbeat.audio import RATE_HZ
from halfbeat.errors import InvalidRequest

OUT = Path("build/bench/turns.json")
SCRIPTED, WITHOUT, CPU = "scripted", "scripted_no_speculation", "cpu"
_RUNS = {SCRIPTED: 3, CPU: 1}
_TURNS = {SCRIPTED: 150, CPU: 60}
Scores = Sequence[TurnScore | AsideScore]
#: Without speculation every so many-th call is held.
_EVERY = 2


@dataclass(frozen=True)
class Options:
    """What the command line asks for; 0 stands for the set's own number."""

    which: str = "all"
    runs: int = 0
    turns: int = 0
    calls: int = 10
    seed: int = 1
    compare: tuple[str, ...] = ()
    audio_dir: Path | None = None
    out: Path = OUT
    record: Path | None = None
    has_plots: bool = True
    is_json: bool = False


@dataclass(frozen=True)
class _Set:
    """One set of calls and the systems they are placed to."""

    name: str
    scenarios: Sequence[Scenario]
    variants: Mapping[str, Mapping[str, str]]
    runs: int
    at_a_time: int
    every: Mapping[str, int]

    def order(self) -> list[tuple[str, Scenario]]:
        """The calls of one run: each scenario on every variant in turn."""
        return [
            (label, scenario)
            for i, scenario in enumerate(self.scenarios)
            for label in self.variants
            if i % self.every.get(label, 1) == 0
        ]


async def run(options: Options) -> dict[str, Any]:
    """Does what the options say; returns the report that it has written."""
    console = Console(stderr=options.is_json, highlight=False)
    chosen = (SCRIPTED, CPU) if options.which == "all" else (options.which,)
    if options.compare and options.which == "all":
        chosen = (SCRIPTED,)
    lags_ms: list[float] = []
    report: dict[str, Any] = {}
    lines: list[str] = []
    for name in chosen:
        made = _make(name, options, console)
        runs = await _hold(made, options, console, lags_ms, lines)
        report |= {label: over_runs(of_label) for label, of_label in runs.items()}
        for label in runs:
            report[label]["voice_end_error_ms"] = percentiles(_end_errors_ms(label, lines), 5, 50, 95)
        console.print(show.table({label: report[label] for label in runs}, f"\n{name}: turns, seen from the caller"))
        console.print(show.hops({label: report[label] for label in runs}))
    report |= {"machine": _machine(), "loop_lag_ms": percentiles(lags_ms, 50, 99), "seed": options.seed}
    if options.compare:
        report["compare"] = list(options.compare)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2))
    options.out.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")
    lag = report["loop_lag_ms"]
    console.print(f"event loop of the callers: lag p50 {lag['p50']} ms, p99 {lag['p99']} ms")
    if options.has_plots:
        await _curve(options, console)
        _draw(options, console)
    console.print(f"report: {options.out}; every turn: {options.out.with_suffix('.jsonl')}", style="dim")
    return report


def _make(name: str, options: Options, console: Console) -> _Set:
    """Makes the clips and decides who is called."""
    turns = options.turns or _TURNS[name]
    with _progress(console) as progress:
        making = progress.add_task("speaking the callers' lines", total=None)

        def on_made(made: int, of: int) -> None:
            progress.update(making, completed=made, total=of)

        if options.audio_dir is not None and name == SCRIPTED:
            scenarios = calls_of(options.audio_dir)
        else:
            scenarios = (sets.scripted if name == SCRIPTED else sets.city)(turns, options.seed, on_made)
    variants: dict[str, Mapping[str, str]] = {name: {}}
    if options.compare:
        variants = {given: settings_of(given) for given in options.compare}
        if len(variants) < 2:
            raise InvalidRequest("the two settings to compare are the same")
    elif name == SCRIPTED and _can_be_set("speculates"):
        variants[WITHOUT] = {"speculates": "false"}
    return _Set(
        name,
        scenarios,
        variants,
        runs=options.runs or _RUNS[name],
        at_a_time=options.calls if name == SCRIPTED else 1,
        every={WITHOUT: _EVERY},
    )


async def _hold(
    made: _Set, options: Options, console: Console, lags_ms: list[float], lines: list[str]
) -> dict[str, list[Run]]:
    """Starts the systems and holds all runs of a set."""
    order = made.order()
    runs: dict[str, list[Run]] = {label: [] for label in made.variants}
    with tempfile.TemporaryDirectory(prefix="halfbeat-turns-") as folder:
        async with _stages(made, Path(folder), console) as stages, listening(stages) as listeners:
            with _progress(console) as progress:
                for number in range(1, made.runs + 1):
                    total = sum(scenario.turns for _, scenario in order)
                    task = progress.add_task(f"{made.name}, run {number} of {made.runs}", total=total)

                    def done(label: str, scenario: Scenario, recording: Recording, scores: Scores) -> None:
                        progress.advance(task, scenario.turns)  # noqa: B023
                        decided = listeners[label].decided.pop(recording.sid, [])
                        lines.extend(_line(label, number, scored, recording, decided) for scored in scores)  # noqa: B023
                        if options.record is not None:
                            options.record.mkdir(parents=True, exist_ok=True)
                            write_wav(recording, options.record / f"{label}-{number}-{scenario.name}.wav")  # noqa: B023

                    held = await play(
                        stages,
                        listeners,
                        order,
                        at_a_time=made.at_a_time,
                        lags_ms=lags_ms,
                        done=done,
                        clean=clean_answer if made.name == SCRIPTED else None,
                    )
                    for label, one in held.items():
                        runs[label].append(one)
    return runs


@asynccontextmanager
async def _stages(made: _Set, folder: Path, console: Console) -> AsyncIterator[dict[str, stage.Stage]]:
    async with AsyncExitStack() as stack:
        stages = {}
        for i, (label, settings) in enumerate(made.variants.items()):
            console.print(f"starting {label} ...", style="dim")
            place = folder / str(i)
            place.mkdir()
            if made.name == SCRIPTED:
                stages[label] = await stack.enter_async_context(stage.scripted(place, settings))
            else:
                stages[label] = await stack.enter_async_context(stage.real(place, settings, lambda *_: None))
        yield stages


def settings_of(given: str) -> dict[str, str]:
    """Reads "name=value,service.name=value" or a TOML file (tables are services, the top level is the router's).

    Raises:
        InvalidRequest: it is neither.
    """
    if "=" in given:
        pairs = [pair.partition("=") for pair in given.split(",")]
        return {name.strip(): value.strip() for name, _, value in pairs}
    try:
        table = tomllib.loads(Path(given).read_text())
    except (OSError, tomllib.TOMLDecodeError) as e:
        raise InvalidRequest(f"{given!r} is neither NAME=VALUE nor a TOML file: {e}") from e
    found = {}
    for name, value in table.items():
        for key, inner in value.items() if isinstance(value, dict) else [("", value)]:
            found[f"{name}.{key}".rstrip(".")] = inner if isinstance(inner, str) else json.dumps(inner)
    return found


def _can_be_set(name: str) -> bool:
    from services.router.config import RouterSettings

    return name in RouterSettings.model_fields


def _line(
    label: str, number: int, scored: TurnScore | AsideScore, recording: Recording, decided: Sequence[Decided]
) -> str:
    """A turn or an aside as a line of JSON; with a turn, the decisions of the router while it was said."""
    about: dict[str, Any] = {"set": label, "run": number, **asdict(scored)}
    if isinstance(scored, TurnScore):
        played = next(p for p in recording.played if round(p.start / RATE_HZ, 2) == scored.start_s)
        about["decided"] = [
            {**asdict(made), "voice_end_ms": (made.voice_end - played.start) * 1000 // RATE_HZ}
            for made in decided
            if played.start < made.voice_end <= played.end + RATE_HZ // 4
        ]
    return json.dumps(about)


def _end_errors_ms(label: str, lines: Sequence[str]) -> list[float]:
    """How much later than it was the router took a turn's last voiced sample to be, where it ended the turn there."""
    turns = [turn for turn in map(json.loads, lines) if turn["set"] == label and turn.get("decided")]
    last = [turn["decided"][-1]["voice_end_ms"] - turn["end_ms"] for turn in turns]
    return [error for error in last if abs(error) < 300]


async def _curve(options: Options, console: Console) -> None:
    """Sweeps the detector's threshold, for the plot; its models stay out of this process."""
    console.print("sweeping the detector's threshold ...", style="dim")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.turns.curve", str(options.out.with_name(f"{options.out.stem}-curve.json")),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await process.communicate()
    if process.returncode != 0:
        console.print(f"no sweep in the plot: {err.decode(errors='replace').strip()[-300:]}", style="yellow")


def _draw(options: Options, console: Console) -> None:
    try:
        from bench.turns.plots import draw
    except ImportError:
        console.print("no plots: matplotlib is not installed (pip install 'halfbeat[bench]')", style="yellow")
        return
    for path in draw(options.out):
        console.print(f"plot: {path}", style="dim")


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=not console.is_terminal)


def _machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2),
    }
