"""Hand-made pauses through the replay: what is counted, when the sources speak, what a policy does with it."""

import numpy as np
import pytest

from bench.turns.evidence import TAIL_S, Pause
from bench.turns.sweep import (
    STEP_MS,
    Policy,
    Timing,
    Traces,
    auc,
    evidence_at,
    fire_ms,
    interval,
    logistic,
    measured,
    replay,
    replay_with,
    swept,
    tradeoff,
)
from services.router.detector import Evidence, TurnEnd
from services.router.endpoint import EndpointSettings, Voice

SETTINGS = EndpointSettings()


def a_pause(length_ms: int = 0, *, text: str = "My address is", audio: float = 0.5, clip: str = "a") -> Pause:
    """A pause of some length, or the end of a turn when 0; the router sees the silence from 120 ms on."""
    lasts_ms = length_ms or int(TAIL_S * 1000)
    voices = tuple(
        (float(at), Voice(at < 120, 0, 16_000, 16_000 + at * 16, 500 if at < 120 else 0, 0.9 if at < 120 else 0.01))
        for at in range(0, lasts_ms, 32)
    )
    asked = {ms: audio for ms in (120, 200, 300, 500) if ms <= lasts_ms}
    return Pause(clip, "clause", "report", not length_ms, 1000, lasts_ms, voices, asked, text, text)


def by_silence(evidence: Evidence) -> float:
    return evidence.silence_ms / 10_000


def test_nothing_is_told_while_a_voice_is_heard_nor_after_the_caller_went_on() -> None:
    told = evidence_at(a_pause(500), Timing())
    known = [(step + 1) * STEP_MS for step, evidence in enumerate(told) if evidence is not None]
    assert (known[0], known[-1]) == (140, 500)
    assert len(told) * STEP_MS == TAIL_S * 1000


def test_a_source_is_heard_only_after_the_time_it_takes() -> None:
    timing = Timing(asked_ms=(120, 300), audio_ms=60, words_ms=220)
    pause = a_pause(text="Yes.", audio=0.8)
    pause.audio[300] = 0.9
    told = evidence_at(pause, timing)
    opinions = {(step + 1) * STEP_MS: evidence.audio for step, evidence in enumerate(told) if evidence}
    words = {(step + 1) * STEP_MS: evidence.text for step, evidence in enumerate(told) if evidence}
    assert [opinions[ms] for ms in (160, 180, 340, 360)] == [None, 0.8, 0.8, 0.9]
    assert [words[ms] for ms in (200, 220)] == ["", "Yes."]


def test_the_silence_is_the_routers_own_measure() -> None:
    told = evidence_at(a_pause(), Timing())
    assert told[600 // STEP_MS - 1] is not None
    # The newest window ended at 576 ms.
    assert told[600 // STEP_MS - 1].silence_ms == 576  # type: ignore[union-attr]


def test_silence_alone_cuts_the_pauses_that_are_longer_and_answers_after_its_delay() -> None:
    turns = [[a_pause(300, clip=f"a{i}"), a_pause(clip=f"a{i}")] for i in range(3)] + [[a_pause(900), a_pause()]]
    point = measured(replay_with(turns, by_silence), Policy(2.0, 120, 600))
    assert point.cut_off_rate == 0.25
    assert point.mean_ms == point.p50_ms == pytest.approx(620, abs=STEP_MS)


def test_a_policy_waits_for_its_shortest_silence_and_not_beyond_its_longest() -> None:
    sure = replay_with([[a_pause()]], lambda e: 1.0)
    unsure = replay_with([[a_pause()]], lambda e: 0.0)
    assert fire_ms(sure, Policy(0.5, 300, 1500))[0] == pytest.approx(320, abs=STEP_MS)
    assert fire_ms(unsure, Policy(0.5, 300, 1500))[0] == pytest.approx(1520, abs=STEP_MS)
    assert np.isinf(fire_ms(unsure, Policy(0.5, 300, 5000))[0])


def test_who_asks_for_time_is_not_answered_while_the_sweep_looks() -> None:
    traces = replay([[a_pause(text="Hold on, let me look.")]], lambda: TurnEnd(SETTINGS))
    assert np.isinf(fire_ms(traces, Policy(0.0, 200, 1500))[0])


def test_the_router_detector_hears_an_open_phrase_and_waits_longer_than_for_an_answer() -> None:
    turns = [[a_pause(text="My address is.", audio=0.5)], [a_pause(text="Yes, please.", audio=0.5)]]
    traces = replay(turns, lambda: TurnEnd(SETTINGS))
    open_ms, answer_ms = fire_ms(traces, Policy(SETTINGS.threshold, SETTINGS.sure_ms, SETTINGS.unsure_ms))
    assert answer_ms + 300 < open_ms


def test_a_perfect_source_reaches_no_cut_offs_at_the_shortest_silence() -> None:
    turns = [[a_pause(900, audio=0.1, clip=str(i)), a_pause(audio=0.9, clip=str(i))] for i in range(20)]
    traces = replay_with(turns, lambda e: e.audio if e.audio is not None else 0.0)
    sweep = swept(traces)
    column, rate, mean_ms = sweep.best(0.05)
    assert rate == 0
    assert mean_ms < 220
    assert sweep.policies[column].threshold > 0.1
    assert auc(traces) == 1.0
    assert interval(sweep, traces, 0.05, rounds=20) == pytest.approx((mean_ms, mean_ms))


def test_the_sweep_says_of_each_policy_what_the_policy_does() -> None:
    turns = [[a_pause(200 + 60 * i, clip=str(i)), a_pause(clip=str(i))] for i in range(12)]
    traces = replay_with(turns, lambda e: min(1.0, e.silence_ms / 900))
    sweep = swept(traces)
    for column in range(0, len(sweep.policies), 97):
        point = measured(traces, sweep.policies[column])
        assert sweep.cut[:, column].mean() == pytest.approx(point.cut_off_rate)
        assert sweep.delay_ms[:, column].mean() == pytest.approx(point.mean_ms)


def test_a_source_that_knows_nothing_is_as_good_as_a_coin() -> None:
    turns = [[a_pause(900, clip=str(i)), a_pause(clip=str(i))] for i in range(5)]
    assert auc(replay_with(turns, lambda e: 0.5)) == 0.5


def test_a_higher_threshold_cuts_less_and_answers_later() -> None:
    turns = [[a_pause(200 + 40 * i, clip=str(i)), a_pause(clip=str(i))] for i in range(20)]
    points = tradeoff(replay_with(turns, lambda e: min(1.0, e.silence_ms / 1000)), SETTINGS, (0.2, 0.5, 0.8))
    assert [threshold for threshold, _, _ in points] == [0.2, 0.5, 0.8]
    rates, delays = [rate for _, rate, _ in points], [delay for _, _, delay in points]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[-1]
    assert delays == sorted(delays)


def test_only_keeps_rows_together() -> None:
    traces = replay_with([[a_pause(400), a_pause()]], by_silence).only(lambda pause: pause.is_end)
    assert isinstance(traces, Traces)
    assert traces.is_end.tolist() == [True]
    assert traces.probability.shape[0] == 1


def test_the_regression_finds_the_weights_that_made_the_labels() -> None:
    rng = np.random.default_rng(4)
    features = np.c_[np.ones(20_000), rng.normal(size=(20_000, 2))]
    odds = features @ np.array([0.5, 2.0, -1.0]) + 1.0
    labels = (rng.uniform(size=20_000) < 1 / (1 + np.exp(-odds))).astype(float)
    found = logistic(features, labels, ridge=0.1, offsets=np.ones(20_000))
    assert found == pytest.approx([0.5, 2.0, -1.0], abs=0.1)
