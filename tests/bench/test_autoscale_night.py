"""Pods that drain, callers that are all accounted for, and growth that is met in time or not."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from bench.autoscale.arrivals import Curve, Lengths, normal_day, step, storm_night
from bench.autoscale.hpa import Policy as Step
from bench.autoscale.hpa import Rules
from bench.autoscale.night import simulate
from bench.autoscale.pods import Pool, Startup
from bench.autoscale.policies import Loop, Policy, Service

ASR = Service(slots=8, startup=Startup(15.0), price=0.1)
LLM = Service(slots=20, startup=Startup(60.0), price=1.0, is_shared=True)
AT_ONCE = Rules(0, (Step("Percent", 900, 15),))


def a_pool(replicas: int = 1, *, slots: int = 2, startup: Startup | None = None, drain_s: float = 100.0) -> Pool:
    return Pool(slots, startup or Startup(10.0), replicas, attempts=50, drain_s=drain_s)


def test_a_pod_with_calls_stays_until_they_end_and_takes_no_others() -> None:
    pool, rng = a_pool(2), Random(1)
    pods = [pool.take(call, rng) for call in range(4)]
    pool.scale_to(1, 0.0)
    assert (pool.replicas, pool.pods) == (1, 2)
    assert pool.take(4, rng) is None
    assert not pool.advance(50.0)
    for call, pod in enumerate(pods):
        assert pod is not None
        pool.leave(call, pod)
    pool.advance(51.0)
    assert (pool.replicas, pool.pods, pool.active) == (1, 1, 0)


def test_a_drain_that_takes_too_long_cuts_its_calls_off() -> None:
    pool, rng = a_pool(drain_s=30.0), Random(1)
    assert pool.take(7, rng)
    pool.scale_to(0, 100.0)
    assert not pool.advance(129.0)
    assert [call for call, _ in pool.advance(130.0)] == [7]
    assert pool.pods == 0


def test_pods_that_are_not_ready_go_first() -> None:
    pool = a_pool(2)
    pool.scale_to(4, 0.0)
    pool.scale_to(3, 1.0)
    assert (len(pool.ready), len(pool.starting), len(pool.draining)) == (2, 1, 0)


def test_a_pod_is_paid_for_at_once_and_takes_calls_when_it_is_ready() -> None:
    pool, rng = a_pool(1, slots=1), Random(1)
    assert pool.take(0, rng)
    pool.scale_to(2, 0.0)
    pool.advance(9.0)
    assert pool.pods == 2
    assert pool.take(1, rng) is None
    pool.advance(10.0)
    assert pool.take(1, rng)


def test_a_pod_without_room_waits_for_a_node_and_its_image_once() -> None:
    pool = a_pool(1, startup=Startup(10.0, pull_s=60.0, node_s=120.0, room=2))
    pool.scale_to(3, 0.0)
    assert [pod.ready_s for pod in pool.starting] == [10.0, 190.0]
    pool.advance(200.0)
    pool.scale_to(1, 200.0)
    pool.advance(201.0)
    pool.scale_to(3, 300.0)
    assert [pod.ready_s for pod in pool.starting] == [310.0, 310.0]


def test_a_full_pod_says_so_and_the_next_one_is_asked() -> None:
    """Three of four pods are full: one question finds the fourth in a quarter of the tries."""
    found = {}
    for attempts in (1, 3, 12):
        hits = 0
        for seed in range(2000):
            pool = Pool(1, Startup(1.0), 4, attempts=attempts, drain_s=1.0)
            for call, pod in enumerate(pool.ready[:3]):
                pod.calls.add(call)
            hits += pool.take(9, Random(seed)) is not None
        found[attempts] = hits / 2000
    assert found == {attempts: pytest.approx(1 - 0.75**attempts, abs=0.03) for attempts in found}


CURVES = [storm_night(0.2), normal_day(0.1), step(0.3)]


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
@pytest.mark.parametrize("drain_s", [5.0, 600.0])
def test_every_caller_is_served_cut_off_given_up_or_still_there(curve: Curve, drain_s: float) -> None:
    policy = Policy(1, 12, fill=0.7, drain_s=drain_s, up=AT_ONCE)
    services = {"asr": ASR, "tts": replace(ASR, slots=4), "llm": LLM}
    outcome = simulate(curve, services, dict.fromkeys(services, policy), seed=3)
    assert outcome.callers == outcome.served + outcome.cut + outcome.gave_up + outcome.in_progress
    assert outcome.callers > 0
    assert (outcome.cut > 0) == (drain_s == 5.0)


def test_a_night_that_is_cut_short_accounts_for_who_is_still_there() -> None:
    short = Curve("short", 60, lambda _: 1.0)
    outcome = simulate(short, {"asr": ASR}, {"asr": Policy(20, 20)}, seed=1)
    assert outcome.callers == outcome.served + outcome.in_progress
    assert outcome.in_progress > 20


def test_the_same_seed_is_the_same_night() -> None:
    nights = [simulate(storm_night(0.2), {"asr": ASR}, {"asr": Policy(1, 30)}, seed=s) for s in (1, 1, 2)]
    assert nights[0] == nights[1] != nights[2]


def test_enough_fixed_pods_refuse_nobody_and_too_few_do() -> None:
    def refused(replicas: int) -> int:
        policy = Policy(replicas, replicas, attempts=50)
        return simulate(storm_night(0.2), {"asr": ASR}, {"asr": policy}, seed=1).refused["asr"]

    assert refused(20) == 0  # 90 calls in the mean of the peak, 160 slots
    assert refused(9) > 100


def test_an_autoscaler_that_wants_all_slots_used_never_asks_for_more() -> None:
    """Full pods are exactly on target: who was refused is in no metric of used slots."""
    policy = Policy(1, 60, up=AT_ONCE, attempts=50)
    outcome = simulate(storm_night(0.4), {"asr": ASR}, {"asr": policy}, seed=1)
    assert outcome.refused["asr"] > 1000
    assert outcome.peak["asr"] <= 4


def test_a_warm_buffer_meets_growth_that_comes_faster_than_pods_start() -> None:
    def refused(warm_slots: int, ready_s: float = 15.0) -> int:
        service = replace(ASR, startup=Startup(ready_s))
        policy = Policy(1, 60, warm_slots=warm_slots, fill=0.8, up=AT_ONCE, attempts=50)
        return simulate(storm_night(0.4), {"asr": service}, {"asr": policy}, seed=1).refused["asr"]

    assert refused(100) == 0
    assert refused(0) > 0
    assert refused(0, ready_s=90.0) > refused(0)


def test_a_believed_trend_makes_up_for_a_smaller_buffer() -> None:
    def refused(lead_s: int) -> int:
        policy = Policy(1, 60, warm_slots=24, lead_s=lead_s, up=AT_ONCE, attempts=50)
        return simulate(storm_night(0.4), {"asr": ASR}, {"asr": policy}, seed=1).refused["asr"]

    assert refused(60) < refused(0)


def test_an_old_number_makes_it_later() -> None:
    def refused(loop: Loop) -> int:
        policy = Policy(1, 60, warm_slots=40, up=AT_ONCE, attempts=50)
        return simulate(storm_night(0.4), {"asr": ASR}, {"asr": policy}, seed=1, loop=loop).refused["asr"]

    assert refused(Loop(poll_s=60)) > refused(Loop())


def test_a_shared_service_refuses_nobody_and_lacks_capacity_instead() -> None:
    outcome = simulate(storm_night(0.4), {"llm": LLM}, {"llm": Policy(1, 1)}, seed=1)
    assert outcome.refused.total() == 0
    assert outcome.lacking_s["llm"] > 1000
    assert not outcome.is_smooth


def test_the_storm_is_ten_times_the_calls_within_two_minutes() -> None:
    rate = storm_night(0.5).calls_per_s
    assert [rate(1800), rate(1860), rate(1920), rate(2820)] == pytest.approx([0.5, 2.75, 5.0, 5.0])
    assert rate(2820 + 1500) == pytest.approx(2.75)
    drawn = storm_night(0.5).draw(np.random.default_rng(1))
    assert np.sum((drawn >= 1920) & (drawn < 2820)) == pytest.approx(4500, rel=0.05)


def test_calls_are_as_long_as_said() -> None:
    drawn = Lengths(45.0).draw(np.random.default_rng(1), 20_000)
    assert drawn.mean() == pytest.approx(45.0, rel=0.02)
    assert drawn.min() >= 3.0
