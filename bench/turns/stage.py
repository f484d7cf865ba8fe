"""What the calls are placed to: NATS, the router's own process and workers, scripted or real."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.turns.scenario import Step
from bench.turns.sets import answer_to
from bench.turns.truth import line_for
from halfbeat.errors import InvalidRequest, TimedOut, Unavailable
from halfbeat.nats_server import EmbeddedServer
from halfbeat.settings import PREFIX, SERVICES
from halfbeat.supervisor import Plan, everything, start, stop, wait_ready

READY_S = 60.0


@dataclass(frozen=True)
class Stage:
    """A system that takes calls.

    Attributes:
        nats_url: its bus.
        grpc_target: host:port of its router.
        tell: to be told of every clip just before it is played (session, step, first sample).
        engines: what runs there, by service.
    """

    nats_url: str
    grpc_target: str
    tell: Callable[[str, Step, int], None]
    engines: Mapping[str, str]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables of settings like "speculates" (of the router) or "tts.threads".

    Raises:
        InvalidRequest: there is no such service.
    """
    found = {}
    for name, value in settings.items():
        service, _, field = name.rpartition(".")
        if service and service not in SERVICES:
            raise InvalidRequest(f"{name}: a setting is NAME (of the router) or SERVICE.NAME ({', '.join(SERVICES)})")
        found[f"{PREFIX}{(service or 'router').upper()}_{field.upper()}"] = value
    return found


@asynccontextmanager
async def scripted(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[Stage]:
    """Starts NATS, the router and the scripted workers, each a process."""
    async with EmbeddedServer(folder / "nats") as server:
        env = {
            "HALFBEAT_NATS_URL": server.url,
            "HALFBEAT_ROUTER_HTTP_PORT": "0",
            "HALFBEAT_ROUTER_GRPC_PORT": "0",
            "OMP_NUM_THREADS": "1",
            **environment(settings),
        }
        async with _workers(server.url, env, folder) as tell:
            router = await start("router", [sys.executable, "-m", "services.router"], env, folder)
            try:
                told = await wait_ready(router, READY_S)
                engines = dict.fromkeys(("asr", "dialogue", "tts"), "scripted")
                engines["router"] = str(told.get("turn_detector", ""))
                yield Stage(server.url, f"127.0.0.1:{told['grpc_port']}", tell, engines)
            finally:
                await stop(router, 10)


@asynccontextmanager
async def _workers(
    nats_url: str, env: Mapping[str, str], folder: Path
) -> AsyncIterator[Callable[[str, Step, int], None]]:
    with (folder / "workers.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.turns.scripted", "--nats-url", nats_url, env={**os.environ, **env},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
        )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    stdin = process.stdin

    def tell(sid: str, step: Step, at: int) -> None:
        words = [(w.text, w.start_s, w.end_s) for w in step.clip.words]
        answer = answer_to(step, sid) if step.wants_answer else ""
        stdin.write(line_for(sid, words, at, answer).encode() + b"\n")

    try:
        async with asyncio.timeout(READY_S):
            if await process.stdout.readline() != b"ready\n":
                last = (folder / "workers.log").read_text(errors="replace").strip()[-400:]
                raise Unavailable(f"the scripted workers ended at once: {last}")
        yield tell
    except TimeoutError:
        raise TimedOut(f"the scripted workers were not ready after {READY_S:.0f} s") from None
    finally:
        with suppress(ConnectionError):
            stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def real(folder: Path, settings: Mapping[str, str], show: Callable[[str, str], None]) -> AsyncIterator[Stage]:
    """Starts everything that `halfbeat up` starts, on free ports with an empty store."""
    plan = Plan(folder, http_port=0, grpc_port=0, drain_s=3, env=environment(settings))
    async with everything(plan, show) as running:
        engines = {
            name: str(ready.get("engine") or ready.get("turn_detector") or ready.get("model") or "")
            for name, child in running.children.items()
            for ready in (child.ready.result(),)
        }
        yield Stage(running.nats_url, running.grpc_target, lambda sid, step, at: None, engines)
