"""Formats: G.711 against known values, resampling without seams."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halfbeat.audio import A_LAW, MU_LAW, Framer, Resampler, first_audible, level_dbfs, samples_of
from halfbeat.errors import InvalidRequest

RATES = [(8000, 16000), (16000, 8000), (24000, 16000), (16000, 24000), (48000, 16000), (16000, 48000), (22050, 16000)]


def sine(hz: float, rate_hz: int, seconds: float = 0.5) -> np.ndarray:
    return (10_000 * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype("<i2")


@pytest.mark.parametrize(
    ("code", "sample"),
    # ITU-T G.711, table 2a/2b: decoder output values, scaled to 16 bit.
    [(0x80, 32124), (0x00, -32124), (0xFF, 0), (0x7F, 0), (0xF0, 120), (0xE0, 372), (0x9F, 8316), (0xEF, 132)],
)
def test_mu_law_expands_to_the_values_of_the_standard(code: int, sample: int) -> None:
    assert samples_of(MU_LAW.decode(bytes([code])))[0] == sample


@pytest.mark.parametrize(
    ("code", "sample"), [(0xD5, 8), (0x55, -8), (0xAA, 32256), (0x2A, -32256), (0x80, 5504), (0xD4, 24)]
)
def test_a_law_expands_to_the_values_of_the_standard(code: int, sample: int) -> None:
    assert samples_of(A_LAW.decode(bytes([code])))[0] == sample


@pytest.mark.parametrize("codec", [MU_LAW, A_LAW])
def test_every_code_survives_the_round_trip(codec: object) -> None:
    codes = bytes(range(256))
    pcm = codec.decode(codes)  # type: ignore[attr-defined]
    assert codec.decode(codec.encode(pcm)) == pcm  # type: ignore[attr-defined]


def test_compression_takes_the_nearest_value() -> None:
    pcm = np.arange(-32768, 32768, dtype=np.int32).astype("<i2")
    expanded = samples_of(MU_LAW.decode(MU_LAW.encode(pcm.tobytes()))).astype(int)
    values = np.unique(samples_of(MU_LAW.decode(bytes(range(256)))).astype(int))
    nearest = np.min(np.abs(pcm.astype(int)[::37, None] - values[None]), axis=1)
    assert np.array_equal(np.abs(expanded[::37] - pcm[::37].astype(int)), nearest)


def test_silence_is_the_code_that_telephones_send_for_it() -> None:
    assert MU_LAW.encode(bytes(2)) == b"\xff"


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
@pytest.mark.parametrize("hz", [300, 1000, 3000])
def test_a_tone_keeps_its_pitch_level_and_promised_delay(from_hz: int, to_hz: int, hz: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    got = samples_of(resampler.process(sine(hz, from_hz).tobytes())).astype(float)
    t = np.arange(got.size) / to_hz - resampler.delay_ms / 1000
    error = (got - 10_000 * np.sin(2 * np.pi * hz * t))[200:-200]
    assert 20 * np.log10(np.sqrt(np.mean(error**2)) / 7071) < -50
    assert resampler.delay_ms < 3.5


@pytest.mark.parametrize("hz", [4100, 5000, 7000])
def test_what_the_lower_rate_cannot_hold_does_not_fold_back(hz: int) -> None:
    got = samples_of(Resampler(16000, 8000).process(sine(hz, 16000).tobytes()))
    assert level_dbfs(got[200:-200]) < -60


@given(st.lists(st.integers(0, 700), min_size=1, max_size=30), st.sampled_from(RATES))
@settings(deadline=None, max_examples=60)
def test_chunk_sizes_make_no_difference(sizes: list[int], rates: tuple[int, int]) -> None:
    pcm = np.random.default_rng(1).integers(-9000, 9000, sum(sizes)).astype("<i2")
    whole = Resampler(*rates)
    expected = whole.process(pcm.tobytes()) + whole.flush()
    pieces, at, got = Resampler(*rates), 0, b""
    for size in sizes:
        got += pieces.process(pcm[at : at + size].tobytes())
        at += size
    # The sums are of floats in another order: a half may round to the other side.
    difference = samples_of(got + pieces.flush()).astype(int) - samples_of(expected)
    assert np.abs(difference).max(initial=0) <= 1


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_length_follows_the_ratio(from_hz: int, to_hz: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    got = len(resampler.process(bytes(from_hz * 2))) // 2
    assert abs(got - to_hz) <= 2


def test_full_scale_is_clipped_not_wrapped() -> None:
    square = np.where(np.arange(4000) % 40 < 20, 32767, -32768).astype("<i2")
    got = samples_of(Resampler(8000, 16000).process(square.tobytes()))
    assert got.max() > 30_000
    assert np.abs(np.diff(got.astype(int))).max() < 45_000


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        Resampler(8000, 16000).process(b"abc")
    with pytest.raises(InvalidRequest):
        MU_LAW.encode(b"abc")


def test_an_absurd_rate_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        Resampler(0, 16000)


def test_frames_are_whole_and_nothing_is_lost() -> None:
    framer = Framer(4)
    assert framer.push(b"abc") == []
    assert framer.push(b"defghij") == [b"abcd", b"efgh"]
    framer.clear()
    assert framer.push(b"wxyz") == [b"wxyz"]


def test_audible_is_what_is_louder_than_the_threshold() -> None:
    pcm = np.zeros(1000, dtype=np.int16)
    pcm[100:] = 100  # -50 dBFS
    assert first_audible(pcm) is None
    pcm[700:] = 400  # -38 dBFS
    assert first_audible(pcm) == 700
