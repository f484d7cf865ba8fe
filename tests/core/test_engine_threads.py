"""The engine serves first whoever needs it soonest, and never more work at a time than it has threads."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from halfbeat.engine_threads import WHENEVER_S, Deadline, EngineThreads


class Blocked:
    """Work that the test lets end, piece by piece."""

    name = "blocked"

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.began: list[str] = []

    def load(self) -> None:
        """Nothing to load."""

    def work(self, name: str) -> str:
        self.began.append(name)
        assert self.gate.acquire(timeout=10)
        return name


@pytest.fixture
async def blocked() -> AsyncIterator[EngineThreads[Blocked]]:
    threads = EngineThreads(Blocked(), workers=1)
    yield threads
    threads.engine.gate.release(100)
    await threads.aclose()


def ask(threads: EngineThreads[Blocked], name: str, deadline_s: float = 0.0) -> "asyncio.Task[str]":
    return asyncio.create_task(threads.run(lambda: threads.engine.work(name), Deadline(deadline_s)))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def began(threads: EngineThreads[Blocked], *names: str) -> None:
    async with asyncio.timeout(5):
        while threads.engine.began != list(names):  # noqa: ASYNC110 - it happens on a thread
            await asyncio.sleep(0.001)


async def test_the_earliest_deadline_goes_first_whoever_came_first(blocked: EngineThreads[Blocked]) -> None:
    running = ask(blocked, "running")
    await began(blocked, "running")
    deadlines = {"whenever": WHENEVER_S, "late": 9.0, "urgent": 1.0, "middle": 5.0, "urgent too": 1.0}
    tasks = [ask(blocked, name, deadline_s) for name, deadline_s in deadlines.items()]
    await settle()
    blocked.engine.gate.release(10)
    await asyncio.gather(running, *tasks)
    assert blocked.engine.began == ["running", "urgent", "urgent too", "middle", "late", "whenever"]


@pytest.mark.parametrize("workers", [1, 2])
async def test_as_much_work_runs_at_a_time_as_there_are_threads(workers: int) -> None:
    threads = EngineThreads(Blocked(), workers=workers)
    tasks = [ask(threads, str(i)) for i in range(3)]
    await settle()
    async with asyncio.timeout(5):
        while len(threads.engine.began) < workers:  # noqa: ASYNC110 - it happens on a thread
            await asyncio.sleep(0.001)
    assert sorted(threads.engine.began) == [str(i) for i in range(workers)]
    threads.engine.gate.release(3)
    assert await asyncio.gather(*tasks) == ["0", "1", "2"]
    await threads.aclose()


@pytest.mark.parametrize("is_called_first", [False, True])
async def test_who_gives_up_while_waiting_does_not_keep_the_place(is_called_first: bool) -> None:
    threads = EngineThreads(Blocked(), workers=1)
    running = ask(threads, "running")
    await began(threads, "running")
    leaving, staying = ask(threads, "leaving", 1), ask(threads, "staying", 2)
    await settle()
    if not is_called_first:
        leaving.cancel()
    threads.engine.gate.release(10)
    await running  # its place goes to the next in the same step of the loop
    leaving.cancel()
    assert await staying == "staying"
    await asyncio.gather(leaving, return_exceptions=True)
    await threads.aclose()


async def test_work_that_nobody_waits_for_any_more_keeps_its_place_until_it_has_ended(
    blocked: EngineThreads[Blocked],
) -> None:
    left = ask(blocked, "left")
    await began(blocked, "left")
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    patient = ask(blocked, "patient", 2)
    await settle()
    urgent = ask(blocked, "urgent", 1)
    await settle()
    blocked.engine.gate.release(10)
    await asyncio.gather(patient, urgent)
    assert blocked.engine.began == ["left", "urgent", "patient"]


async def test_what_the_work_raises_is_raised_and_frees_the_place(blocked: EngineThreads[Blocked]) -> None:
    def fail() -> Any:
        raise ValueError("shape mismatch")

    for _ in range(3):
        with pytest.raises(ValueError, match="shape"):
            await blocked.run(fail)


async def test_a_deadline_that_is_moved_counts_for_work_that_waits_already(blocked: EngineThreads[Blocked]) -> None:
    running = ask(blocked, "running")
    await began(blocked, "running")
    moved = Deadline(9.0)
    tasks = [ask(blocked, "early", 2), asyncio.create_task(blocked.run(lambda: blocked.engine.work("moved"), moved))]
    await settle()
    moved.at_s = 1.0
    blocked.engine.gate.release(10)
    await asyncio.gather(running, *tasks)
    assert blocked.engine.began == ["running", "moved", "early"]


async def test_the_engine_is_idle_only_while_nobody_with_a_deadline_wants_it(blocked: EngineThreads[Blocked]) -> None:
    whenever = ask(blocked, "whenever", WHENEVER_S)
    await began(blocked, "whenever")
    assert blocked.idle_s > 0
    wanted = ask(blocked, "wanted", 1.0)
    await settle()
    assert blocked.idle_s == 0
    blocked.engine.gate.release(10)
    await asyncio.gather(whenever, wanted)
    assert 0 <= blocked.idle_s < 1


@pytest.mark.parametrize("turns_of_the_loop", range(5))
async def test_who_gives_up_just_as_his_turn_comes_is_passed_over(
    blocked: EngineThreads[Blocked], turns_of_the_loop: int
) -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure))
    running = ask(blocked, "running")
    await began(blocked, "running")
    given_up = ask(blocked, "given up", 1.0)
    await settle()
    blocked.engine.gate.release(10)
    time.sleep(0.05)  # noqa: ASYNC251 - the thread ends while the loop stands still
    for _ in range(turns_of_the_loop):
        await asyncio.sleep(0)
    given_up.cancel()
    async with asyncio.timeout(5):
        assert await running == "running"
        assert await ask(blocked, "next") == "next"
    await asyncio.gather(given_up, return_exceptions=True)
    assert not failures
