"""What a call and the services do when a container is killed, hangs or is cut off, in the middle of the call."""

import asyncio
import time

import pytest
from calls import hold, hum
from project import Project, docker, eventually

WORKERS = ("asr", "dialogue", "tts")
#: A worker that is silent for 3 s is lost; a heartbeat a second and some slack on a busy machine.
LOST_S = 8.0
LINES = [hum() for _ in range(8)]


@pytest.fixture(autouse=True)
def ready(scripted: Project) -> None:
    """A test begins with all of them healthy."""
    scripted.wait_healthy("nats", "router", *WORKERS)
    eventually("the router is ready", lambda: scripted.get("/readyz") == "ready\n")


async def test_a_call_is_answered(scripted: Project) -> None:
    outcome = await hold(scripted.http_url, LINES[:2])
    assert outcome.ended_by == "caller"
    assert len(outcome.answers) == 2
    assert None not in outcome.answers


@pytest.mark.parametrize("worker", WORKERS)
async def test_a_call_whose_worker_is_killed_ends_soon_and_says_so_and_the_next_one_is_answered(
    scripted: Project, worker: str
) -> None:
    killed_at = 0.0

    async def kill() -> None:
        nonlocal killed_at
        await asyncio.to_thread(scripted.kill, worker)
        killed_at = time.monotonic()

    outcome = await hold(scripted.http_url, LINES, during=kill)
    assert outcome.ended_by == "router"
    assert time.monotonic() - killed_at < LOST_S
    assert worker in outcome.error
    await asyncio.to_thread(scripted.wait_healthy, worker)
    assert scripted.inspect(worker)["RestartCount"] >= 1
    again = await hold(scripted.http_url, LINES[:1])
    assert again.answers[0] is not None


@pytest.mark.parametrize("worker", WORKERS)
async def test_a_call_outlives_a_worker_that_stalls_for_a_second(scripted: Project, worker: str) -> None:
    async def stall() -> None:
        await asyncio.to_thread(docker, "pause", scripted.container(worker))
        await asyncio.sleep(1.0)
        await asyncio.to_thread(docker, "unpause", scripted.container(worker))

    outcome = await hold(scripted.http_url, LINES[:3], during=stall)
    assert outcome.ended_by == "caller"
    assert outcome.answers[-1] is not None


@pytest.mark.parametrize("worker", WORKERS)
async def test_a_worker_that_is_cut_off_loses_its_call_and_takes_the_next_when_it_is_back(
    scripted: Project, worker: str
) -> None:
    container = scripted.container(worker)

    async def cut() -> None:
        await asyncio.to_thread(docker, "network", "disconnect", scripted.bus_network(), container)

    try:
        outcome = await hold(scripted.http_url, LINES, during=cut)
        assert outcome.ended_by == "router"
        assert worker in outcome.error
        refused = await hold(scripted.http_url, LINES[:1])
        assert refused.ended_by == "router"
    finally:
        docker("network", "connect", "--alias", worker, scripted.bus_network(), container)
    await asyncio.to_thread(eventually, "it serves again", lambda: "ready" in _ready(scripted, worker), 30)
    again = await hold(scripted.http_url, LINES[:1])
    assert again.answers[0] is not None


async def test_a_bus_that_is_killed_comes_back_with_its_streams_and_everybody_reconnects(scripted: Project) -> None:
    before = (await hold(scripted.http_url, LINES[:1])).answers
    assert before[0] is not None

    async def kill() -> None:
        await asyncio.to_thread(scripted.kill, "nats")

    await hold(scripted.http_url, LINES[:3], during=kill)
    await asyncio.to_thread(scripted.wait_healthy, "nats", "router", *WORKERS)
    again = await hold(scripted.http_url, LINES[:1])
    assert again.answers[0] is not None


async def test_a_router_that_is_killed_drops_its_calls_and_the_workers_slots_come_free(scripted: Project) -> None:
    async def kill() -> None:
        await asyncio.to_thread(scripted.kill, "router")

    outcome = await hold(scripted.http_url, LINES, during=kill)
    assert outcome.ended_by in ("router", "agent")
    await asyncio.to_thread(scripted.wait_healthy, "router")
    again = await hold(scripted.http_url, LINES[:1])
    assert again.answers[0] is not None


@pytest.mark.parametrize("service", ["router", *WORKERS, "nats"])
def test_sigterm_ends_a_container_well_within_its_grace(scripted: Project, service: str) -> None:
    began = time.monotonic()
    scripted.compose("stop", service)
    took_s = time.monotonic() - began
    code = scripted.inspect(service)["State"]["ExitCode"]
    scripted.compose("start", service)
    assert code == (1 if service == "nats" else 0)
    assert took_s < 8


async def test_a_router_that_is_told_to_stop_lets_its_call_finish(scripted: Project) -> None:
    stopping: asyncio.Task[object] | None = None

    async def stop() -> None:
        nonlocal stopping
        stopping = asyncio.create_task(asyncio.to_thread(scripted.compose, "stop", "router"))

    outcome = await hold(scripted.http_url, LINES[:3], during=stop)
    assert stopping is not None
    await stopping
    assert outcome.ended_by == "caller"
    assert None not in outcome.answers
    assert scripted.inspect("router")["State"]["ExitCode"] == 0
    scripted.compose("start", "router")


def _ready(project: Project, worker: str) -> str:
    told = project.run_in(worker, "python", "-I", "-S", "/healthy.py", "8080", "/readyz", check=False)
    return "ready" if told.returncode == 0 else told.stderr
