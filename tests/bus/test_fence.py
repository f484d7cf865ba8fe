"""Stale and late: both decided by comparison at the receiver."""

import random

import pytest
from bus_messages import stamp

from halfbeat.drop import DropReason
from halfbeat.fence import Fence
from halfbeat.lateness import Lateness


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ((2, 5, 1), None),
        ((2, 5, 2), None),
        ((2, 6, 0), None),
        ((3, 1, 0), None),
        ((1, 9, 9), DropReason.STALE_EPOCH),
        ((2, 4, 9), DropReason.STALE_TURN),
        ((2, 5, 0), DropReason.STALE_REVISION),
    ],
)
def test_a_stamp_behind_the_fence_is_stale_for_a_reason(
    numbers: tuple[int, int, int], reason: DropReason | None
) -> None:
    epoch, turn, revision = numbers
    fence = Fence(epoch=2, turn=5, revision=1)
    assert fence.stale(stamp(epoch=epoch, turn=turn, revision=revision)) is reason
    assert fence.is_stale(stamp(epoch=epoch, turn=turn, revision=revision)) is (reason is not None)


def test_the_fence_only_moves_forward() -> None:
    fence = Fence()
    assert fence.advance(stamp(epoch=1, turn=3, revision=1))
    assert not fence.advance(stamp(epoch=1, turn=3, revision=1))
    assert not fence.advance(stamp(epoch=0, turn=9, revision=9))
    assert not fence.advance(stamp(epoch=1, turn=2, revision=7))
    assert (fence.epoch, fence.turn, fence.revision) == (1, 3, 1)
    assert fence.advance(stamp(epoch=1, turn=4))
    assert (fence.epoch, fence.turn, fence.revision) == (1, 4, 0)


def test_frames_held_up_somewhere_are_late_by_as_much() -> None:
    lateness = Lateness(max_late_ms=200)
    for i in range(50):
        assert not lateness.is_late(i * 320, 7_000_000_000 + i * 20_000_000)
    held_until = 7_000_000_000 + 100 * 20_000_000
    late = [lateness.late_ms(i * 320, held_until) for i in range(50, 100)]
    assert late[0] == pytest.approx(1000, abs=1)
    assert late[-1] == pytest.approx(20, abs=1)
    assert not lateness.is_late(100 * 320, held_until)


def test_jitter_and_clock_drift_of_an_hour_make_nothing_late() -> None:
    rng = random.Random(1)
    lateness = Lateness(max_late_ms=100)
    for i in range(0, 180_000, 10):
        arrival_ns = int(i * 20_000_000 * (1 + 100e-6)) + rng.randrange(30_000_000)
        assert not lateness.is_late(i * 320, arrival_ns), f"frame {i}, seed 1"
