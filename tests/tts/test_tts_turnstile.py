"""The engine serves the session that needs sound soonest."""

import asyncio

import pytest

from services.tts.turnstile import Turnstile


async def holding(turnstile: Turnstile, deadline_s: float, name: str, log: list[str]) -> None:
    async with turnstile.turn(deadline_s):
        log.append(name)
        await asyncio.sleep(0)


async def test_the_earliest_deadline_goes_first_whoever_came_first() -> None:
    turnstile, log = Turnstile(1), []
    async with turnstile.turn(0):
        tasks = [
            asyncio.create_task(holding(turnstile, deadline, name, log))
            for deadline, name in [(9.0, "late"), (1.0, "urgent"), (5.0, "middle"), (1.0, "urgent too")]
        ]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert log == ["urgent", "urgent too", "middle", "late"]


async def test_as_many_pass_at_a_time_as_there_are_places() -> None:
    turnstile, log = Turnstile(2), []
    async with turnstile.turn(0), turnstile.turn(0):
        task = asyncio.create_task(holding(turnstile, 0, "third", log))
        for _ in range(5):
            await asyncio.sleep(0)
        assert log == []
    await task
    assert log == ["third"]


@pytest.mark.parametrize("is_called_first", [False, True])
async def test_who_gives_up_does_not_keep_the_place(is_called_first: bool) -> None:
    turnstile, log = Turnstile(1), []
    async with turnstile.turn(0):
        leaving = asyncio.create_task(holding(turnstile, 1, "leaving", log))
        staying = asyncio.create_task(holding(turnstile, 2, "staying", log))
        await asyncio.sleep(0)
        if not is_called_first:
            leaving.cancel()
    if is_called_first:
        leaving.cancel()
    await asyncio.gather(leaving, staying, return_exceptions=True)
    assert log == ["staying"]
    async with asyncio.timeout(1), turnstile.turn(3):
        pass
