"""The ring by itself: bounds, lanes, states."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halfbeat.drop import DropReason
from halfbeat.errors import InvalidRequest, Unavailable
from halfbeat.ring import Broken, Closed, Ended, Ring, State, WouldBlock
from halfbeat.subjects import Lane

R, C = Lane.REALTIME, Lane.CONTROL


class Dropped(list[tuple[object, DropReason]]):
    def __call__(self, item: object, reason: DropReason) -> None:
        self.append((item, reason))


def test_an_empty_ring_would_block() -> None:
    with pytest.raises(WouldBlock):
        Ring[int](1, Dropped()).take(0)


def test_a_ring_needs_room_for_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Ring[int](0, Dropped())


def test_messages_of_both_lanes_come_in_the_order_they_were_put() -> None:
    ring = Ring[int](10, Dropped())
    for i, lane in enumerate([R, C, C, R, C, R]):
        ring.put(i, lane, 0)
    assert [ring.take(0) for _ in range(6)] == list(range(6))


def test_a_full_ring_gives_up_its_oldest_realtime_message() -> None:
    dropped = Dropped()
    ring = Ring[str](3, dropped)
    for item, lane in (("c1", C), ("r1", R), ("r2", R), ("r3", R)):
        ring.put(item, lane, 0)
    assert dropped == [("r1", DropReason.RING_FULL)]
    assert [ring.take(0) for _ in range(3)] == ["c1", "r2", "r3"]


def test_a_control_message_pushes_out_a_realtime_one() -> None:
    dropped = Dropped()
    ring = Ring[str](1, dropped)
    ring.put("r", R, 0)
    ring.put("c", C, 0)
    assert (dropped, ring.take(0)) == ([("r", DropReason.RING_FULL)], "c")


def test_a_realtime_message_never_pushes_out_control() -> None:
    dropped = Dropped()
    ring = Ring[str](1, dropped)
    ring.put("c", C, 0)
    ring.put("r", R, 0)
    assert (dropped, ring.take(0)) == ([("r", DropReason.RING_FULL)], "c")


def test_control_that_does_not_fit_breaks_the_ring() -> None:
    ring = Ring[str](1, Dropped())
    ring.put("c1", C, 0)
    ring.put("c2", C, 0)
    for _ in range(2):
        with pytest.raises(Broken) as broken:
            ring.take(0)
        assert isinstance(broken.value.cause, Unavailable)


def test_realtime_messages_expire_and_control_never_does() -> None:
    dropped = Dropped()
    ring = Ring[str](10, dropped, max_age_ms=100)
    ring.put("old", R, 0)
    ring.put("control", C, 0)
    ring.put("just in time", R, 50_000_000)
    now_ns = 150_000_000
    assert [ring.take(now_ns), ring.take(now_ns)] == ["control", "just in time"]
    assert dropped == [("old", DropReason.LATE)]


def test_a_closed_ring_ends_after_what_it_holds_and_takes_no_more() -> None:
    ring = Ring[int](10, Dropped())
    ring.put(1, C, 0)
    ring.close()
    ring.put(2, C, 0)
    assert ring.take(0) == 1
    with pytest.raises(Ended):
        ring.take(0)


def test_a_ring_that_was_shut_throws_away_what_it_holds() -> None:
    ring = Ring[int](10, Dropped())
    ring.put(1, C, 0)
    ring.shut()
    assert len(ring) == 0
    with pytest.raises(Closed):
        ring.take(0)


def test_the_first_cause_of_breaking_stays() -> None:
    ring = Ring[int](10, Dropped())
    ring.break_(InvalidRequest("first"))
    ring.break_(Unavailable("second"))
    ring.close()
    ring.shut()
    assert ring.state is State.BROKEN
    with pytest.raises(Broken, match="first"):
        ring.take(0)


@settings(deadline=None)  # the machine may be busy
@given(st.integers(1, 5), st.lists(st.sampled_from([R, C, None]), max_size=60))
def test_nothing_is_lost_uncounted_reordered_or_above_the_bound(capacity: int, steps: list[Lane | None]) -> None:
    dropped = Dropped()
    ring = Ring[int](capacity, dropped)
    put: deque[int] = deque()
    taken: list[int] = []
    for i, lane in enumerate(steps):
        try:
            if lane is None:
                taken.append(ring.take(0))
            else:
                ring.put(i, lane, 0)
                put.append(i)
        except WouldBlock:
            pass
        except Broken:
            return
        assert len(ring) <= capacity
    if ring.state is State.BROKEN:
        return
    ring.close()
    while len(ring):
        taken.append(ring.take(0))
    assert taken == sorted(taken)
    assert sorted(taken + [item for item, _ in dropped]) == list(put)
