"""Everything on this machine: a NATS server, the LLM server and the four services, as child processes.

Each child is ready when its log says so; the ports they picked come from there, so nothing is probed or raced. The
children outlive neither a clean stop (in order, drained) nor a killed parent.
"""

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from halfbeat.errors import HalfbeatError, TimedOut, Unavailable
from halfbeat.nats_server import EmbeddedServer

PR_SET_PDEATHSIG = 1
LOG_TAIL = 20


def state_dir() -> Path:
    """Where `halfbeat up` keeps its state: ``$HALFBEAT_STATE``, by default in the user's state folder."""
    if explicit := os.environ.get("HALFBEAT_STATE"):
        return Path(explicit)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "halfbeat"


def running_file() -> Path:
    """Says where a running `halfbeat up` listens; other commands find it here."""
    return state_dir() / "up.json"


def find_running() -> dict[str, Any] | None:
    """Returns what `halfbeat up` wrote about itself, if it still runs."""
    try:
        found: dict[str, Any] = json.loads(running_file().read_text())
        os.kill(int(found["pid"]), 0)
    except (OSError, ValueError, KeyError):
        return None
    return found


@dataclass
class Child:
    """One process and what its log told.

    Attributes:
        name: of the service.
        log_path: file that receives its log.
        ready: its "ready" log line, once it came.
    """

    name: str
    log_path: Path
    process: asyncio.subprocess.Process
    ready: "asyncio.Future[dict[str, Any]]"
    reader: "asyncio.Task[None] | None" = None
    tail: list[str] = field(default_factory=list)

    @property
    def http(self) -> str:
        """Base URL of its health server."""
        return f"http://127.0.0.1:{self.ready.result()['http_port']}"


def _die_with_parent() -> None:
    """Runs in the child before exec: SIGTERM when the parent dies, however it dies (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


async def start(name: str, argv: Sequence[str], env: Mapping[str, str], log_dir: Path) -> Child:
    """Starts one process whose log lines are JSON on standard error."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        env={**os.environ, **env},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
        start_new_session=True,  # ^C reaches us alone; we stop the children in order
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    child = Child(name, log_dir / f"{name}.log", process, asyncio.get_running_loop().create_future())
    child.reader = asyncio.create_task(_read_log(child), name=f"log-{name}")
    return child


async def _read_log(child: Child) -> None:
    assert child.process.stderr is not None
    with child.log_path.open("wb", buffering=0) as file:
        async for line in child.process.stderr:
            file.write(line)
            child.tail = [*child.tail[-LOG_TAIL:], line.decode(errors="replace").rstrip()]
            if not child.ready.done() and b'"ready"' in line:
                with suppress(ValueError):
                    record = json.loads(line)
                    if record.get("message") == "ready":
                        child.ready.set_result(record)
    await child.process.wait()
    if not child.ready.done():
        child.ready.set_exception(_died(child))


def _died(child: Child) -> HalfbeatError:
    last = "\n".join(f"    {line}" for line in child.tail[-5:])
    return Unavailable(f"{child.name} ended with exit code {child.process.returncode}; log: {child.log_path}\n{last}")


async def wait_ready(child: Child, timeout_s: float) -> dict[str, Any]:
    """Returns the child's ready line.

    Raises:
        Unavailable: it ended instead; the text holds the end of its log.
        TimedOut: it did not become ready in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(child.ready)
    except TimeoutError:
        raise TimedOut(f"{child.name} was not ready after {timeout_s:.0f} s; log: {child.log_path}") from None


async def stop(child: Child, grace_s: float) -> None:
    """Asks the process to drain and stop; kills it after the grace."""
    if child.process.returncode is None:
        child.process.terminate()
        try:
            async with asyncio.timeout(grace_s):
                await child.process.wait()
        except TimeoutError:
            child.process.kill()
    await child.process.wait()
    if child.reader is not None:
        await child.reader
    if child.ready.done():
        child.ready.exception()


@dataclass(frozen=True)
class Plan:
    """What `up` starts.

    Attributes:
        state: folder for the server's store, the logs and the application's database.
        nats_url: a server that runs already; empty starts one.
        llm_url: an OpenAI-compatible server that runs already; empty starts llama.cpp.
        http_port: of the router; 0 picks a free one.
        grpc_port: of the router; 0 picks a free one.
        env: further variables for every service.
        drain_s: how long running calls may go on at the end.
    """

    state: Path
    nats_url: str = ""
    llm_url: str = ""
    http_port: int = 8080
    grpc_port: int = 50051
    env: Mapping[str, str] = field(default_factory=dict)
    drain_s: float = 30.0


def _make_folders(state: Path) -> Path:
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    logs = state / "logs"
    logs.mkdir(exist_ok=True)
    return logs


@dataclass(frozen=True)
class Running:
    """What runs and where."""

    nats_url: str
    nats_monitoring_url: str
    http_url: str
    grpc_target: str
    state: Path
    children: Mapping[str, Child]

    async def wait_for_a_death(self) -> HalfbeatError:
        """Returns when a process ended that should not have."""
        waits = {asyncio.create_task(c.process.wait()): c for c in self.children.values()}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return _died(waits[done.pop()])
        finally:
            for wait in waits:
                wait.cancel()


@asynccontextmanager
async def everything(plan: Plan, progress: Callable[[str, str], None]) -> AsyncIterator[Running]:
    """Starts all processes and stops them at the end.

    Args:
        plan: what to start.
        progress: is told a name and what happens to it, for people.
    """
    logs = _make_folders(plan.state)
    async with AsyncExitStack() as stack:
        nats_url, monitoring_url = plan.nats_url, ""
        if not nats_url:
            progress("nats", "starting")
            server = await stack.enter_async_context(EmbeddedServer(plan.state / "nats"))
            nats_url, monitoring_url = server.url, server.monitoring_url
        progress("nats", nats_url)
        env = {
            "HALFBEAT_NATS_URL": nats_url,
            "HALFBEAT_STATE": str(plan.state),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            **plan.env,
        }
        children: dict[str, Child] = {}

        async def launch(name: str, *argv: str, extra: Mapping[str, str] | None = None, grace_s: float = 5.0) -> Child:
            child = await start(name, [sys.executable, "-m", *argv], {**env, **(extra or {})}, logs)
            children[name] = child
            stack.push_async_callback(stop, child, grace_s)
            progress(name, "starting")
            return child

        llm_url = plan.llm_url
        asr = await launch("asr", "services.asr")
        tts = await launch("tts", "services.tts")
        llm = None if llm_url else await launch("llm", "services.dialogue.llama_server", "--port", "0")
        if llm is not None:
            llm_url = f"http://127.0.0.1:{(await wait_ready(llm, 180))['http_port']}/v1"
        progress("llm", llm_url)
        dialogue = await launch("dialogue", "services.dialogue", extra={"HALFBEAT_DIALOGUE_LLM_URL": llm_url})
        for child in (asr, tts, dialogue):
            await wait_ready(child, 180)
            progress(child.name, child.http)
        router = await launch(
            "router",
            "services.router",
            extra={
                "HALFBEAT_ROUTER_HTTP_PORT": str(plan.http_port),
                "HALFBEAT_ROUTER_GRPC_PORT": str(plan.grpc_port),
                "HALFBEAT_ROUTER_DRAIN_S": str(plan.drain_s),
            },
            grace_s=plan.drain_s + 5,
        )
        told = await wait_ready(router, 60)
        progress("router", router.http)
        grpc_target = f"127.0.0.1:{told.get('grpc_port', plan.grpc_port)}"
        yield Running(nats_url, monitoring_url, router.http, grpc_target, plan.state, children)
        progress("router", "draining: running calls may finish")
