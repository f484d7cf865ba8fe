"""The call's alarm: it rings once, at the moment set last, and never early."""

import asyncio

from halfbeat.clock import LoopClock, run_virtual
from services.router.alarm import Alarm


def rung(*moments_ms: int | None, sets_again: bool = False) -> list[float]:
    """When it rings, in ms, after these were set one after the other at the moment 0."""
    rings: list[float] = []

    async def scene() -> None:
        clock = LoopClock()
        began_ns = clock.now_ns()

        def ring() -> None:
            now_ns = clock.now_ns()
            rings.append((now_ns - began_ns) / 1e6)
            assert len(rings) < 10, "it rings for ever"
            if sets_again:
                alarm.set(due_ns, now_ns)

        alarm = Alarm(ring)
        due_ns = None
        for ms in moments_ms:
            due_ns = None if ms is None else began_ns + ms * 1_000_000
            alarm.set(due_ns, began_ns)
        await asyncio.sleep(1)

    run_virtual(scene())
    return rings


def test_it_rings_at_its_moment_and_not_before() -> None:
    (ms,) = rung(7)
    assert 7 <= ms < 7.01


def test_only_the_moment_that_was_set_last_counts() -> None:
    (ms,) = rung(7, 3, 12)
    assert 12 <= ms < 12.01
    assert rung(7, None) == []


def test_a_moment_that_has_passed_is_not_rung_for_again() -> None:
    assert len(rung(7, sets_again=True)) == 1
