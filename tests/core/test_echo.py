"""The echo canceller: finds the delay, takes the echo out, keeps the caller, says when it is done."""

import numpy as np
import pytest

from halfbeat.audio import RATE_HZ, Floats
from halfbeat.audio.echo import DELAY, EchoCanceller
from halfbeat.audio.linear import HOP, MAX_DELAY_HOPS, Linear
from halfbeat.audio.suppressor import ANALYSIS, FRAME, SYNTHESIS
from halfbeat.errors import AtCapacity


def voice(seconds: float, seed: int) -> Floats:
    """Sound like a voice to a filter: harmonics of a moving pitch, in syllables, with a little breath."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE_HZ)
    t = np.arange(n) / RATE_HZ
    pitch = rng.uniform(90, 220) * (1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.3, 0.8) * t + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    sound = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 24)) + 0.2 * rng.standard_normal(n)
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(2.5, 4.0) * t) + 0.4, 0, 1)
    result: Floats = (0.08 * sound * syllables).astype(np.float32)
    return result


def echo_of(played: Floats, delay_ms: float, seed: int = 5, gain: float = 0.5) -> Floats:
    """Plays it into a small room and waits."""
    rng = np.random.default_rng(seed)
    room = rng.standard_normal(1200) * np.exp(-np.arange(1200) / 180)
    room /= np.sqrt(np.sum(room**2))
    late = np.concatenate((np.zeros(int(delay_ms * RATE_HZ / 1000)), np.convolve(played, room)))
    result: Floats = (gain * late[: played.size]).astype(np.float32)
    return result


def linear(heard: Floats, played: Floats) -> tuple[Floats, Linear]:
    stage = Linear(1)
    rows = np.array([0])
    hops = range(0, heard.size - HOP + 1, HOP)
    return np.concatenate(
        [stage.step(rows, heard[None, i : i + HOP], played[None, i : i + HOP])[0][0] for i in hops]
    ), stage


def cleaned(canceller: EchoCanceller, row: int, heard: Floats, played: Floats) -> tuple[Floats, list[bool]]:
    rows, out, clear = np.array([row]), [], []
    for i in range(0, heard.size - HOP + 1, HOP):
        result = canceller.step(rows, heard[None, i : i + HOP], played[None, i : i + HOP])
        out.append(result.samples[0])
        clear.append(bool(result.is_clear[0]))
    return np.concatenate(out)[DELAY:], clear


def db(a: Floats, b: Floats) -> float:
    return float(10 * np.log10((np.sum(a**2) + 1e-12) / (np.sum(b**2) + 1e-12)))


@pytest.mark.parametrize("delay_ms", [0, 60, 235, 480, 600])
def test_the_delay_is_found_and_the_echo_goes(delay_ms: int) -> None:
    played = voice(6, 1)
    heard = echo_of(played, delay_ms)
    left, stage = linear(heard, played)
    assert delay_ms / 10 - 5 <= int(stage.delay_hops[0]) <= delay_ms / 10
    assert db(heard[-2 * RATE_HZ :], left[-2 * RATE_HZ :]) > 12


def test_a_delay_that_jumps_is_found_again() -> None:
    played = voice(10, 2)
    heard = np.concatenate((echo_of(played, 100)[: 5 * RATE_HZ], echo_of(played, 340)[5 * RATE_HZ :]))
    left, stage = linear(heard, played)
    assert 29 <= int(stage.delay_hops[0]) <= 34
    assert db(heard[-2 * RATE_HZ :], left[-2 * RATE_HZ :]) > 9


def test_a_caller_without_echo_is_left_alone() -> None:
    near, played = voice(6, 3), voice(6, 4)
    left, _ = linear(near, played)
    assert db(near, left - near[: left.size]) > 15


def test_a_caller_who_speaks_at_the_same_time_is_kept() -> None:
    played, near = voice(8, 5), 0.7 * voice(8, 6)
    heard = near + echo_of(played, 150)
    left, _ = linear(heard, played)
    late = slice(3 * RATE_HZ, left.size)
    before, after = db(near[late], heard[late] - near[late]), db(near[late], left[late] - near[late])
    assert after > before + 6


def test_what_is_learnt_outlives_a_silence_of_the_agent() -> None:
    played = voice(9, 25)
    played[4 * RATE_HZ : 7 * RATE_HZ] = 0
    heard = echo_of(played, 130) + (1e-4 * np.random.default_rng(3).standard_normal(played.size)).astype(np.float32)
    left, _ = linear(heard, played)
    quiet = slice(6 * RATE_HZ, 7 * RATE_HZ)
    np.testing.assert_array_equal(left[quiet], heard[quiet])
    again = slice(7 * RATE_HZ, 9 * RATE_HZ)
    assert db(heard[again], left[again]) > 12


def test_calls_in_one_batch_do_not_touch_each_other() -> None:
    played, other = voice(2, 7), voice(2, 8)
    heard = echo_of(played, 80)
    alone, _ = linear(heard, played)
    stage, out = Linear(3), []
    for k, i in enumerate(range(0, heard.size - HOP + 1, HOP)):
        rows = np.array([2, 0]) if k % 3 else np.array([2])  # the other call comes and goes
        mine = np.stack((heard[i : i + HOP], other[i : i + HOP]))[: len(rows)]
        theirs = np.stack((played[i : i + HOP], heard[i : i + HOP]))[: len(rows)]
        out.append(stage.step(rows, mine, theirs)[0][0])
    np.testing.assert_allclose(np.concatenate(out), alone, atol=1e-4)


def test_the_windows_put_together_what_they_took_apart() -> None:
    sound = voice(1, 9)
    frame, overlap, out = np.zeros(FRAME, np.float32), np.zeros(HOP, np.float32), []
    for i in range(0, sound.size, HOP):
        frame = np.concatenate((frame[HOP:], sound[i : i + HOP]))
        last = np.fft.irfft(np.fft.rfft(frame * ANALYSIS))[-2 * HOP :] * SYNTHESIS
        out.append(overlap + last[:HOP])
        overlap = last[HOP:]
    np.testing.assert_allclose(np.concatenate(out)[FRAME + DELAY :], sound[FRAME:-DELAY], atol=1e-5)


def test_far_end_speech_alone_becomes_silence_and_the_call_is_clear() -> None:
    canceller = EchoCanceller(2)
    row = canceller.open()
    played = voice(5, 10)
    heard = echo_of(played, 200)
    out, clear = cleaned(canceller, row, heard, played)
    assert db(heard[2 * RATE_HZ : out.size], out[2 * RATE_HZ :]) > 30
    assert not any(clear[:25])
    assert clear[-1]
    assert clear.index(True) < 250


def test_a_call_without_echo_is_clear_by_what_is_measured() -> None:
    canceller = EchoCanceller(1)
    _, clear = cleaned(canceller, canceller.open(), np.zeros(2 * RATE_HZ, np.float32), voice(2, 11))
    assert clear[-1]


@pytest.mark.parametrize("noise", [0.0, 3e-4])
def test_an_echo_that_comes_late_is_not_taken_for_none(noise: float) -> None:
    canceller = EchoCanceller(1)
    played = voice(2, 21)
    heard = echo_of(played, 650) + (noise * np.random.default_rng(1).standard_normal(played.size)).astype(np.float32)
    _, clear = cleaned(canceller, canceller.open(), heard, played)
    assert not any(clear[:68])


@pytest.mark.parametrize("delay_ms", [250, 450, 600])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_an_echo_is_not_gone_before_its_delay_is_known(delay_ms: int, noise: float) -> None:
    """The network hides its first syllable; the next ones would be heard."""
    canceller, rows = EchoCanceller(1), np.array([0])
    canceller.open()
    played = voice(3, 22)
    breath = np.random.default_rng(2).standard_normal(played.size)
    heard = (noise * breath + echo_of(played, delay_ms)).astype(np.float32)
    is_clear = False
    for i in range(0, heard.size - HOP + 1, HOP):
        is_clear = bool(canceller.step(rows, heard[None, i : i + HOP], played[None, i : i + HOP]).is_clear[0])
        if is_clear:
            break
    assert is_clear
    assert delay_ms / 10 - 5 <= int(canceller.delay_hops[0]) <= delay_ms / 10


def test_nothing_played_means_nothing_known() -> None:
    canceller = EchoCanceller(1)
    _, clear = cleaned(canceller, canceller.open(), voice(2, 12), np.zeros(2 * RATE_HZ, np.float32))
    assert not any(clear)


def test_without_the_network_the_filter_is_what_is_heard() -> None:
    played = voice(3, 13)
    heard = echo_of(played, 50)
    canceller = EchoCanceller(1, suppresses=False)
    out, _ = cleaned(canceller, canceller.open(), heard, played)
    left, _ = linear(heard, played)
    np.testing.assert_array_equal(out, left[: out.size])


def test_a_row_serves_another_call_as_if_it_were_new() -> None:
    canceller = EchoCanceller(1)
    row = canceller.open()
    with pytest.raises(AtCapacity):
        canceller.open()
    cleaned(canceller, row, voice(1, 14), voice(1, 15))
    canceller.close(row)
    heard, played = voice(1, 16), voice(1, 17)
    again, _ = cleaned(canceller, canceller.open(), heard, played)
    fresh = EchoCanceller(1)
    first, _ = cleaned(fresh, fresh.open(), heard, played)
    np.testing.assert_allclose(again, first, atol=1e-6)


def test_echoes_beyond_the_search_are_not_chased() -> None:
    played = voice(3, 18)
    heard = echo_of(played, MAX_DELAY_HOPS * 10 + 200)
    left, _ = linear(heard, played)
    assert db(heard, left) > -1.5


def test_a_recogniser_gets_a_little_of_what_was_taken_away() -> None:
    played, near = voice(4, 19), voice(4, 20)
    heard = near + echo_of(played, 100)
    both, alone = EchoCanceller(1), EchoCanceller(1, suppresses=False)
    rows = np.array([both.open()])
    alone.open()
    for i in range(0, heard.size - HOP + 1, HOP):
        of_both = both.step(rows, heard[None, i : i + HOP], played[None, i : i + HOP])
        of_filter = alone.step(rows, heard[None, i : i + HOP], played[None, i : i + HOP])
        wanted = 0.85 * of_both.samples + 0.15 * of_filter.samples
        np.testing.assert_allclose(of_both.words, wanted, atol=1e-6)
        np.testing.assert_allclose(of_filter.words, of_filter.samples, atol=1e-6)
