"""The caller's audio by position."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.asr.ring import AudioRing


def ramp(start: int, count: int) -> np.ndarray:
    """Samples whose value tells their position."""
    return (np.arange(start, start + count) % 30_000 + 1).astype(np.int16)


def heard(ring: AudioRing, start: int, end: int) -> list[int]:
    """What the ring holds, as 16 bit values."""
    return [round(float(x) * 32768) for x in ring.read(start, end)]


def test_what_was_written_is_read_back_across_the_ring_s_end() -> None:
    ring = AudioRing(100)
    for start in range(0, 250, 50):
        ring.write(start, ramp(start, 50))
    assert ring.begin == 150
    assert ring.end == 250
    assert heard(ring, 170, 240) == ramp(170, 70).tolist()


def test_lost_audio_is_silence_and_counted_so_that_positions_hold() -> None:
    ring = AudioRing(1000)
    ring.write(0, ramp(0, 20))
    ring.write(60, ramp(60, 20))
    assert ring.lost_samples == 40
    assert heard(ring, 10, 70) == ramp(10, 10).tolist() + [0] * 40 + ramp(60, 10).tolist()


def test_audio_that_comes_twice_or_late_changes_nothing() -> None:
    ring = AudioRing(1000)
    ring.write(0, ramp(0, 60))
    ring.write(20, np.zeros(20, np.int16))
    ring.write(40, ramp(40, 40))
    assert heard(ring, 0, 80) == ramp(0, 80).tolist()


def test_audio_that_is_gone_or_not_there_yet_is_left_out() -> None:
    ring = AudioRing(50)
    ring.write(1000, ramp(1000, 80))
    assert heard(ring, 0, 5000) == ramp(1030, 50).tolist()
    assert heard(ring, 2000, 3000) == []


def test_a_ring_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        AudioRing(0)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 120)), max_size=15))
def test_whatever_order_frames_come_in_the_ring_holds_the_newest_or_silence(frames: list[tuple[int, int]]) -> None:
    ring = AudioRing(100)
    model: dict[int, int] = {}
    end: int | None = None
    for offset, count in frames:
        ring.write(offset, ramp(offset, count))
        end = offset if end is None else end
        for at, value in zip(range(offset, offset + count), ramp(offset, count).tolist(), strict=True):
            if at >= end:
                model[at] = value
        end = max(end, offset + count)
    if end is not None:
        assert ring.end == end
        assert heard(ring, ring.begin, end) == [model.get(at, 0) for at in range(ring.begin, end)]
