"""What becomes of a call, and of the next one, when a container is stopped, killed, hangs or is cut off."""

import asyncio
import json
import time

import pytest
from calls import hold, hum
from project import Project, docker, eventually

WORKERS = ("asr", "dialogue", "tts")
#: A worker that is silent for 3 s is lost; a heartbeat a second, and some slack on a busy machine.
LOST_S = 8.0
LINES = [hum() for _ in range(8)]


@pytest.fixture(autouse=True)
def ready(scripted: Project) -> None:
    """A test begins with all of them healthy, and no connection of a process that is gone."""
    scripted.wait_healthy("nats", "router", *WORKERS)
    eventually("everybody is on the bus, once", lambda: is_everybody_there_once(scripted), 60)


def is_everybody_there_once(project: Project) -> bool:
    """Whether the NATS server counts one connection of each service."""
    told = project.run_in("nats", "wget", "-q", "-O", "-", "http://127.0.0.1:8222/connz", check=False)
    connections = json.loads(told.stdout or '{"connections": []}')["connections"]
    return sorted(c.get("name", "").partition("-")[0] for c in connections) == sorted(("router", *WORKERS))


async def is_answered(project: Project) -> bool:
    """Places a call of one line."""
    return (await hold(project.http_url, LINES[:1])).answers != [None]


async def test_a_call_is_answered(scripted: Project) -> None:
    outcome = await hold(scripted.http_url, LINES[:2])
    assert outcome.ended_by == "caller"
    assert len(outcome.answers) == 2
    assert None not in outcome.answers


@pytest.mark.parametrize("service", ["router", *WORKERS, "nats"])
def test_sigterm_ends_a_container_without_calls_at_once(scripted: Project, service: str) -> None:
    began = time.monotonic()
    scripted.compose("stop", service)
    took_s = time.monotonic() - began
    code = scripted.inspect(service)["State"]["ExitCode"]
    scripted.compose("start", service)
    assert code == 0
    assert took_s < 8


@pytest.mark.parametrize("service", ["router", "asr"])
async def test_a_container_that_is_told_to_stop_lets_its_call_finish(scripted: Project, service: str) -> None:
    stopping: asyncio.Task[object] | None = None

    async def stop() -> None:
        nonlocal stopping
        stopping = asyncio.create_task(asyncio.to_thread(scripted.compose, "stop", service))

    outcome = await hold(scripted.http_url, LINES[:2], during=stop)
    assert stopping is not None
    await stopping
    assert outcome.ended_by == "caller"
    assert None not in outcome.answers
    assert scripted.inspect(service)["State"]["ExitCode"] == 0
    scripted.compose("start", service)


@pytest.mark.parametrize("worker", WORKERS)
async def test_a_call_whose_worker_is_killed_ends_soon_and_says_so_and_the_next_one_is_answered(
    scripted: Project, worker: str
) -> None:
    killed_at = 0.0
    restarts = scripted.inspect(worker)["RestartCount"]

    async def kill() -> None:
        nonlocal killed_at
        await asyncio.to_thread(scripted.kill, worker)
        killed_at = time.monotonic()

    outcome = await hold(scripted.http_url, LINES, during=kill)
    assert outcome.ended_by == "router"
    assert time.monotonic() - killed_at < LOST_S
    assert worker in outcome.error
    assert scripted.inspect(worker)["RestartCount"] == restarts + 1
    await asyncio.to_thread(scripted.wait_healthy, worker)
    assert await is_answered(scripted)


async def test_a_call_outlives_workers_that_hang_for_a_second(scripted: Project) -> None:
    containers = [scripted.container(worker) for worker in WORKERS]

    async def stall() -> None:
        await asyncio.to_thread(docker, "pause", *containers)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(docker, "unpause", *containers)

    outcome = await hold(scripted.http_url, LINES[:3], during=stall, after_s=4)
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
    # With its address back, the old connection lives on once TCP sends again; else its client connects anew after 20 s
    # without an answer to its pings. The server gives up an old connection after 15 s: its share of requests is lost.
    deadline = time.monotonic() + 45
    while not await is_answered(scripted):
        assert time.monotonic() < deadline, f"{worker} did not come back"


async def test_a_call_outlives_a_bus_that_is_killed_and_comes_back_with_its_log(scripted: Project) -> None:
    assert await is_answered(scripted)
    kept = stored(scripted)

    async def kill() -> None:
        await asyncio.to_thread(scripted.kill, "nats")

    outcome = await hold(scripted.http_url, LINES[:4], during=kill, after_s=6)
    assert outcome.ended_by == "caller"
    assert outcome.answers[-1] is not None
    await asyncio.to_thread(scripted.wait_healthy, "nats", "router", *WORKERS)
    assert stored(scripted) >= kept > 0
    assert await is_answered(scripted)


def stored(project: Project) -> int:
    """Messages in the streams."""
    told = project.run_in("nats", "wget", "-q", "-O", "-", "http://127.0.0.1:8222/jsz").stdout
    return int(json.loads(told)["messages"])


async def test_a_router_that_is_killed_comes_back_and_takes_calls(scripted: Project) -> None:
    async def kill() -> None:
        await asyncio.to_thread(scripted.kill, "router")

    outcome = await hold(scripted.http_url, LINES, during=kill)
    # The caller's connection breaks. Its workers keep their slots until they hear nothing for 150 s.
    assert outcome.ended_by in ("router", "agent")
    await asyncio.to_thread(scripted.wait_healthy, "router")
    assert await is_answered(scripted)
