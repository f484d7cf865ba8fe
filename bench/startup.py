"""How long each process takes to be ready, alone: what an autoscaler waits for besides the container.

python -m bench.startup --runs 3
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.idle import write
from halfbeat.nats_server import EmbeddedServer
from halfbeat.service import run_loop
from halfbeat.supervisor import start, stop, wait_ready

LLM = ["services.dialogue.llama_server", "--port", "0"]


@asynccontextmanager
async def started(name: str, argv: list[str], env: dict[str, str], folder: Path) -> AsyncIterator[tuple[float, int]]:
    """Starts a process and waits until it is ready; yields the seconds that took and its HTTP port."""
    began = time.monotonic()
    child = await start(name, [sys.executable, "-m", *argv], env, folder)
    try:
        told = await wait_ready(child, 180)
        yield time.monotonic() - began, int(told["http_port"])
    finally:
        await stop(child, 10)


async def main(runs: int) -> int:
    """Prints a row per process and writes build/bench/startup.json."""
    rows = {}

    async def measure(name: str, argv: list[str]) -> None:
        took_s = []
        for _ in range(runs):
            async with started(name, argv, env, Path(folder)) as (seconds, _):
                took_s.append(seconds)
        rows[name] = {"median_s": statistics.median(took_s), "min_s": min(took_s), "max_s": max(took_s)}
        print(f"{name:<10} ready after {statistics.median(took_s):5.1f} s", end=" ")
        print(f"({min(took_s):.1f}-{max(took_s):.1f}, n={runs})", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedServer(Path(folder) / "nats") as server:
            env = {
                "HALFBEAT_NATS_URL": server.url,
                "HALFBEAT_STATE": folder,
                "HALFBEAT_ROUTER_GRPC_PORT": "0",
                "HALFBEAT_DRAIN_S": "1",
                "OMP_NUM_THREADS": "1",
            }
            for name in ("router", "asr", "tts"):
                await measure(name, [f"services.{name}"])
            await measure("llm", LLM)
            # dialogue is ready once its model has read the application's prompt.
            async with started("llm", LLM, env, Path(folder)) as (_, port):
                env["HALFBEAT_DIALOGUE_LLM_URL"] = f"http://127.0.0.1:{port}/v1"
                await measure("dialogue", ["services.dialogue"])
    write(rows, Path("build/bench/startup.json"))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    raise SystemExit(run_loop(main(parser.parse_args().runs)))
