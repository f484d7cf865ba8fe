"""What everything costs while callers are silent, or talk: CPU of each process in % of a core for a call, and memory.

python -m bench.idle --seconds 20 --runs 3
python -m bench.idle --calls 10           # ten silent calls at a time: what one more costs, what is shared
python -m bench.idle --talking            # the 311 conversation instead, from the greeting to the goodbye
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from halfbeat.caller.conversation import converse
from halfbeat.caller.phone import FRAME_MS, Line, Phone
from halfbeat.caller.transports import dial
from halfbeat.caller.voice import speak
from halfbeat.demo import read_script
from halfbeat.service import run_loop
from halfbeat.supervisor import Plan, Running, everything

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU time of a process so far, user and system, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int) -> float:
    """Proportional set size: shared pages (a mapped model) count once over all who share them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def silence(phone: Phone, running: Running, seconds: float) -> dict[str, float]:
    """Holds a silent call; returns CPU in % of a core over the time after the greeting."""
    async with dial("twilio", running.http_url, phone, "+15550100142") as call:
        loop = asyncio.get_running_loop()
        began, ticks, before = loop.time(), 0, {}
        pids = {name: child.process.pid for name, child in running.children.items()}
        warm_s = 12.0  # the greeting plays
        while (now := loop.time() - began) < warm_s + seconds and not call.ended.is_set():
            if now >= warm_s and not before:
                before = {name: cpu_s(pid) for name, pid in pids.items()} | {"_": now}
            await call.send(phone.tick())
            ticks += 1
            await asyncio.sleep(max(0.0, began + ticks * FRAME_MS / 1000 - loop.time()))
        took = now - before.pop("_")
        return {name: 100 * (cpu_s(pid) - before[name]) / took for name, pid in pids.items()}


async def talk(phone: Phone, running: Running, lines: list[Line]) -> dict[str, float]:
    """Holds the 311 conversation; returns CPU in % of a core from the first ring to the end, and how long it took."""
    pids = {name: child.process.pid for name, child in running.children.items()}
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    async with dial("twilio", running.http_url, phone, "+15550100142") as call:
        await converse(call, lines)
    took = phone.position / phone.sample_rate_hz
    return {name: 100 * (cpu_s(pid) - before[name]) / took for name, pid in pids.items()} | {"_": took}


async def main(seconds: float, runs: int, calls: int, *, talks: bool) -> int:
    """Prints a row per process and writes build/bench/idle.json."""
    lines = await speak(read_script(None)[0].lines, 8000) if talks else []
    env = {f"HALFBEAT_{service}_SLOTS": str(max(8, calls)) for service in ("ASR", "DIALOGUE", "TTS")}
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(Path(folder), http_port=0, grpc_port=0, drain_s=2, env=env)
        async with everything(plan, lambda *_: None) as running:

            def one() -> Coroutine[Any, Any, dict[str, float]]:
                return talk(Phone(8000), running, lines) if talks else silence(Phone(8000), running, seconds)

            measured = [m for _ in range(runs) for m in await asyncio.gather(*(one() for _ in range(calls)))]
            memory = {name: memory_mb(child.process.pid) for name, child in running.children.items()}
    # Calls that are held together each see what all of them cost.
    rows = {
        name: {
            "cpu_percent": round(statistics.median(m[name] for m in measured) / calls, 2),
            "min": round(min(m[name] for m in measured) / calls, 2),
            "max": round(max(m[name] for m in measured) / calls, 2),
            "memory_mb": round(memory[name]),
        }
        for name in memory
    }
    long_s = statistics.median(m["_"] for m in measured) if talks else seconds
    print(
        f"{'process':<10} {'CPU % of a core':>16} {'min':>6} {'max':>6} {'memory MB':>10}   "
        f"for each of {calls} {'talking' if talks else 'silent'} calls, {runs} x {long_s:.0f} s"
    )
    for name, row in rows.items():
        print(f"{name:<10} {row['cpu_percent']:>16} {row['min']:>6} {row['max']:>6} {row['memory_mb']:>10}")
    print(f"memory in all: {sum(memory.values()):.0f} MB")
    write(rows, Path("build/bench/idle.json"))
    return 0


def write(rows: dict[str, dict[str, float]], path: Path) -> None:
    """Writes the rows as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="measured silence of each run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--calls", type=int, default=1, help="calls at a time (default: 1)")
    parser.add_argument("--talking", action="store_true", help="hold the 311 conversation instead of being silent")
    given = parser.parse_args()
    raise SystemExit(run_loop(main(given.seconds, given.runs, given.calls, talks=given.talking)))
