"""The demonstration: real calls to everything on this machine, checked against what they should have done."""

import asyncio
import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import click
import numpy as np
from rich.console import Console
from rich.table import Table

from halfbeat import waterfall
from halfbeat.caller.conversation import converse, write_stereo
from halfbeat.caller.facts import Expected, check
from halfbeat.caller.phone import Line, Phone
from halfbeat.caller.tap import Tap, tapped
from halfbeat.caller.transports import dial
from halfbeat.caller.voice import speak
from halfbeat.errors import EngineFailed, InvalidRequest
from halfbeat.settings import SERVICES
from halfbeat.supervisor import Plan, Running, everything

COLOURS = {"caller": "cyan", "agent": "yellow", "tool": "magenta", "floor": "white"}


@dataclass(frozen=True)
class Script:
    """One call of the script file: the caller's number, the lines and what each answer must and must not say."""

    number: str
    lines: tuple[str, ...]
    expected: tuple[Expected, ...]


def read_script(path: Path | None) -> list[Script]:
    """Reads calls from a TOML file; by default those of apps/city311.

    Raises:
        InvalidRequest: the file is not such a script.
    """
    if path is None:
        spec = importlib.util.find_spec("apps.city311")
        if spec is None or not spec.submodule_search_locations:
            raise InvalidRequest("apps.city311 is not installed; name a script with --script")
        path = Path(next(iter(spec.submodule_search_locations))) / "calls.toml"
    try:
        calls = tomllib.loads(path.read_text())["calls"]
        return [
            Script(
                call["number"],
                tuple(turn["say"] for turn in call["turns"]),
                tuple(Expected.from_table(turn) for turn in call["turns"]),
            )
            for call in calls
        ]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as e:
        raise InvalidRequest(f"{path} is not a script of calls: {e!r}") from e


async def run(calls: int, script: Path | None, out: Path, *, as_json: bool) -> int:
    """Holds the calls and writes the report.

    Returns:
        The exit code: 0 when every call booked a truck and sent its text.
    """
    console = Console(stderr=as_json, highlight=False)
    scripts = read_script(script)
    chosen = [scripts[i % len(scripts)] for i in range(calls)]
    texts = list(dict.fromkeys(line for s in chosen for line in s.lines))
    _empty(out)
    with tempfile.TemporaryDirectory(prefix="halfbeat-demo-") as folder:
        state = Path(folder)
        console.print(f"Speaking {len(texts)} lines in the caller's voice ...", style="dim")
        spoken = {line.text: line for line in await speak(texts, 8000)}
        plan = Plan(state=state, http_port=0, grpc_port=0, drain_s=5.0)
        console.print("Starting NATS, the language model and four services ...", style="dim")
        try:
            async with everything(plan, lambda n, w: console.print(f"  {n:<10} {w}", style="dim")) as running:
                before = await _subscriptions(running)
                reports = []
                for number, call in enumerate(chosen, 1):
                    console.print(f"\nCall {number} of {calls} from {call.number}", style="bold")
                    reports.append(await _call(call, spoken, running, out, number, console))
                report = _sum_up(reports) | {"broker": {"before": before, "after": await _subscriptions(running)}}
        finally:
            _keep_logs(state / "logs", out / "logs")
    _write(report, out / "report.json")
    if as_json:
        click.echo(json.dumps(report, indent=2))
    _show(report, out, console)
    return 0 if all(r["bookings"] and r["texts"] for r in reports) else 1


async def _subscriptions(running: Running) -> int | None:
    """Asks the broker how many subscriptions the services hold; settles first, since the last call has just ended."""
    if not running.nats_monitoring_url:
        return None
    await asyncio.sleep(1.0)
    async with aiohttp.ClientSession() as session, session.get(f"{running.nats_monitoring_url}/connz") as response:
        connections = (await response.json())["connections"]
    return sum(int(c["subscriptions"]) for c in connections if str(c.get("name", "")).startswith(SERVICES))


async def _call(
    script: Script,
    spoken: dict[str, Line],
    running: Running,
    out: Path,
    number: int,
    console: Console,
) -> dict[str, Any]:
    phone = Phone(8000)
    lines = [spoken[text] for text in script.lines]
    before = await _ledger(running)

    def show(who: str, what: str) -> None:
        console.print(f"[{COLOURS[who]}]{who:>8}[/]  {what}")

    console.print()
    async with tapped(running.nats_url, show) as tap:
        assert tap is not None
        async with dial("twilio", running.http_url, phone, script.number) as call:
            ended_by = await converse(call, lines)
        await tap.settle()
        await asyncio.sleep(0.5)  # the outbox delivers
        spans = await tap.spans()
    write_stereo(phone, out / ("call.wav" if number == 1 else f"call-{number}.wav"))
    console.print(waterfall.draw(spans, console.width, tap.record.turns.values()))
    ledger = await _ledger(running)
    return {
        "sid": tap.sid,
        "ended_by": ended_by,
        "turns": _turns(phone, tap, script),
        "call_s": round(phone.position / phone.sample_rate_hz, 1),
        "bookings": [b for b in ledger["bookings"] if b not in before["bookings"]],
        "texts": [t for t in ledger["texts"] if t not in before["texts"]],
        "underruns": phone.underruns,
        "engines": {name: child.ready.result() for name, child in running.children.items()},
    }


def _turns(phone: Phone, tap: Tap, script: Script) -> list[dict[str, Any]]:
    """Joins what the caller's end measured with what the services logged, by the order of turns."""
    logged = [turn for n, turn in sorted(tap.record.turns.items()) if n > 0 and turn.caller]
    rows = []
    for i, said in enumerate(phone.said):
        turn = logged[i] if i < len(logged) else None
        v2v = phone.v2v_ms(said)
        rows.append(
            {
                "caller_said": said.text,
                "caller_heard_as": turn.caller if turn else "",
                "agent_said": turn.agent if turn else "",
                "tools": [tool.name for tool in turn.tools] if turn else [],
                "v2v_ms": None if v2v is None else round(v2v),
                "hops_ms": turn.hops_ms if turn else {},
                "cut_in": said.cut_in,
                "faults": check(script.expected[i], turn.agent if turn else ""),
            }
        )
    return rows


async def _ledger(running: Running) -> dict[str, Any]:
    """Asks the application's own command what it has booked and sent."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "apps.city311", "ledger", env={**os.environ, "HALFBEAT_STATE": str(running.state)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(30):
        told, err = await process.communicate()
    if process.returncode != 0:
        raise EngineFailed("reading the bookings failed: " + err.decode(errors="replace")[-400:])
    ledger: dict[str, Any] = json.loads(told)
    return ledger


def _sum_up(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    measured = [t["v2v_ms"] for r in reports for t in r["turns"] if t["v2v_ms"] is not None]
    turns = [t for r in reports for t in r["turns"]]
    one = reports[0]
    return {
        "turns": turns,
        "v2v_ms": {
            "p50": round(float(np.percentile(measured, 50))) if measured else None,
            "p95": round(float(np.percentile(measured, 95))) if measured else None,
            "max": max(measured, default=None),
        },
        "right_turns": sum(not t["faults"] for t in turns) / max(1, len(turns)),
        "call_s": one["call_s"],
        "bookings": [b for r in reports for b in r["bookings"]],
        "texts": [t for r in reports for t in r["texts"]],
        "calls": [
            {k: r[k] for k in ("sid", "ended_by", "call_s", "underruns")}
            | {"bookings": len(r["bookings"]), "texts": len(r["texts"])}
            for r in reports
        ],
        "engines": one["engines"],
        "machine": {
            "cpus": os.cpu_count(),
            "processor": platform.processor() or platform.machine(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
    }


def _show(report: dict[str, Any], out: Path, console: Console) -> None:
    table = Table(
        padding=(0, 1, 1, 0),
        title="Turns (voice to voice measured at the caller's end)",
        title_justify="left",
        box=None,
    )
    for name in ("#", "v2v ms", "  ms hop", "caller was heard as", "agent"):
        table.add_column(name, justify="right" if name in ("#", "v2v ms") else "left")
    for i, turn in enumerate(report["turns"], 1):
        hops = "\n".join(f"{ms:>5} {name}" for name, ms in turn["hops_ms"].items())
        v2v = "-" if turn["v2v_ms"] is None else str(turn["v2v_ms"])
        table.add_row(str(i), v2v, hops, turn["caller_heard_as"], turn["agent_said"])
    console.print(table)
    v2v = report["v2v_ms"]
    console.print(f"\nvoice to voice p50 {v2v['p50']} ms, p95 {v2v['p95']} ms, max {v2v['max']} ms; ", end="")
    console.print(f"turns without a fault {report['right_turns']:.0%}; first call {report['call_s']} s")
    for turn in report["turns"]:
        for fault in turn["faults"]:
            console.print(f"  fault: {fault}: {turn['agent_said']!r}", style="red")
    for booking in report["bookings"]:
        console.print(f"booked: {booking}", style="green")
    for text in report["texts"]:
        console.print(f"text:   {text}", style="green")
    if not report["bookings"] or not report["texts"]:
        console.print("the booking or the text is missing", style="bold red")
    console.print(f"report and recording: {out}/report.json, {out}/call.wav", style="dim")


def _empty(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)


def _write(report: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(report, indent=2))


def _keep_logs(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
