"""How long one hop over the bus takes: publish in one process to decoded message in another, through a real server.

    python -m bench.bus [--sessions 1 50] [--runs 3] [--seconds 10] [--json]

Each session sends one 20 ms frame of 640 bytes every 20 ms, the sessions spread evenly over the 20 ms. Sender and
receiver are processes of their own on uvloop, as the services are; both read the machine's one monotonic clock.
"lag" is how late the receiver's event loop woke up from a sleep of 20 ms: what the machine itself adds. "cpu" is the
receiver's share of one core.
"""

import argparse
import asyncio
import json
import multiprocessing
import platform
import statistics
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

from halfbeat import subjects
from halfbeat.bus.nats import NatsBus
from halfbeat.nats_server import EmbeddedServer
from halfbeat.settings import NatsSettings
from halfbeat.v1 import audio_pb2, common_pb2

FRAME_S = 0.02
WARM_UP = 50


def percentile(sorted_values: list[float], share: float) -> float:
    """Returns the value below which `share` of the values lie (nearest rank)."""
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


async def receive(url: str, sessions: int, frames: int, report: Connection) -> None:
    """Receives all frames in one task a session; reports the hops in ms and how many frames were lost."""
    hops_ms: list[float] = []

    async def consume(bus: NatsBus, sid: str) -> None:
        subscription = await bus.subscribe([subjects.ASR_AUDIO.of(sid)])
        opened.release()
        async for delivery in subscription:
            now_ns, frame = time.monotonic_ns(), delivery.message
            assert isinstance(frame, audio_pb2.AudioFrame)
            if frame.stamp.seq >= WARM_UP:
                # The sender puts its clock where the frame's position goes.
                hops_ms.append((now_ns - frame.offset_samples) / 1e6)
            if frame.stamp.seq == frames - 1:
                return

    lags_ms: list[float] = []

    async def watch_lag() -> None:
        while True:
            due = time.monotonic() + 0.02
            await asyncio.sleep(0.02)
            lags_ms.append((time.monotonic() - due) * 1e3)

    opened = asyncio.Semaphore(0)
    async with NatsBus(NatsSettings(url=url), name="bench-receiver") as bus:
        tasks = [asyncio.create_task(consume(bus, f"s{i}")) for i in range(sessions)]
        for _ in tasks:
            await opened.acquire()
        report.send("open")
        watching = asyncio.create_task(watch_lag())
        began, cpu_began = time.monotonic(), time.process_time()
        async with asyncio.timeout(frames * FRAME_S + 30):
            await asyncio.gather(*tasks)
        watching.cancel()
        cpu = (time.process_time() - cpu_began) / (time.monotonic() - began)
    report.send((hops_ms, lags_ms, cpu))


async def send(url: str, sessions: int, frames: int) -> None:
    """Sends the frames of every session at their time."""
    async with NatsBus(NatsSettings(url=url), name="bench-sender") as bus:

        async def speak(number: int) -> None:
            message = audio_pb2.AudioFrame(stamp=common_pb2.Stamp(sid=f"s{number}"), pcm=bytes(640))
            due = began + FRAME_S * number / sessions
            for seq in range(frames):
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                message.stamp.seq = seq
                message.offset_samples = time.monotonic_ns()
                await bus.publish(subjects.ASR_AUDIO, message)
                due += FRAME_S

        began = time.monotonic() + 0.1
        await asyncio.gather(*(speak(i) for i in range(sessions)))


def _process(target: Any, *arguments: Any) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(target(*arguments))


def measure(url: str, sessions: int, frames: int) -> dict[str, float]:
    """Runs one measurement; returns n and the hop's p50, p95, p99 and max in ms."""
    spawn = multiprocessing.get_context("spawn")
    told, report = spawn.Pipe(duplex=False)
    receiver = spawn.Process(target=_process, args=(receive, url, sessions, frames, report))
    sender = spawn.Process(target=_process, args=(send, url, sessions, frames))
    receiver.start()
    try:
        assert told.recv() == "open"
        sender.start()
        hops_ms, lags_ms, cpu = told.recv()
        hops_ms.sort()
        lags_ms.sort()
    finally:
        receiver.join(5)
        receiver.kill()
        if sender.pid:
            sender.join(5)
            sender.kill()
    wanted = sessions * (frames - WARM_UP)
    return {
        "n": len(hops_ms),
        "lost": wanted - len(hops_ms),
        "p50_ms": percentile(hops_ms, 0.5),
        "p95_ms": percentile(hops_ms, 0.95),
        "p99_ms": percentile(hops_ms, 0.99),
        "max_ms": hops_ms[-1],
        "cpu_percent": cpu * 100,
        "lag_p50_ms": percentile(lags_ms, 0.5),
        "lag_p99_ms": percentile(lags_ms, 0.99),
    }


async def main(arguments: argparse.Namespace) -> int:
    """Measures and prints; non-zero when the median of the p50s misses the bar of 2 ms."""
    results, is_met = [], True
    async with EmbeddedServer() as server:
        for sessions in arguments.sessions:
            frames = WARM_UP + int(arguments.seconds / FRAME_S)
            runs = [await asyncio.to_thread(measure, server.url, sessions, frames) for _ in range(arguments.runs)]
            results.append({"sessions": sessions, "runs": runs})
            is_met = is_met and statistics.median(r["p50_ms"] for r in runs) <= 2.0
    if arguments.json:
        print(json.dumps({"machine": platform.platform(), "python": platform.python_version(), "hop": results}))
        return 0 if is_met else 1
    print("one hop, publish -> decoded at the receiver, ms: median of the runs (least .. most)")
    for result in results:
        cells = []
        for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms", "lag_p50_ms", "lag_p99_ms", "cpu_percent"):
            values = [r[name] for r in result["runs"]]
            cells.append(
                f"{name.removesuffix('_ms')} {statistics.median(values):.2f} ({min(values):.2f} .. {max(values):.2f})"
            )
        n, lost = (sum(int(r[k]) for r in result["runs"]) for k in ("n", "lost"))
        print(f"  {result['sessions']:>3} sessions  n {n}  lost {lost}  " + "  ".join(cells))
    print("bar: p50 <= 2 ms: " + ("met" if is_met else "MISSED"))
    return 0 if is_met else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 50], help="sessions at a time")
    parser.add_argument("--runs", type=int, default=3, help="runs of each")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    sys.exit(asyncio.run(main(parser.parse_args())))
