"""The autoscaler's algorithm against what Kubernetes' documentation says of it."""

from itertools import pairwise

import pytest

from bench.autoscale.hpa import DEFAULT_DOWN, DEFAULT_UP, Hpa, Policy, Rules, recommend

AT_ONCE = Rules(0, (Policy("Percent", 100, 15), Policy("Pods", 1000, 15)))


@pytest.mark.parametrize(
    ("current", "total", "average", "recommended"),
    [
        (3, 3 * 200, 100, 6),  # 200m where 100m is wanted: twice as many
        (4, 4 * 50, 100, 2),  # 50m: half
        (10, 10 * 109, 100, 10),  # within the tolerance of 0.1
        (10, 10 * 91, 100, 10),
        (10, 10 * 111, 100, 12),  # beyond it, and rounded up
        (10, 10 * 89, 100, 9),
        (1, 0, 100, 0),
    ],
)
def test_replicas_are_the_ratio_of_what_is_to_what_should_be(
    current: int, total: float, average: float, recommended: int
) -> None:
    assert recommend(current, total, average) == recommended


def walked(hpa: Hpa, replicas: int, total: float, *, every_s: int, steps: int) -> list[int]:
    seen = []
    for step in range(steps):
        replicas = hpa.decide(step * every_s, replicas, (total, 1))
        seen.append(replicas)
    return seen


def test_scaling_down_by_four_pods_or_ten_percent_takes_the_larger_step() -> None:
    """The documentation's example: 80 replicas, 10 wanted; 8 go, then 8 again (7.2 rounded up), below 40 four."""
    down = Rules(0, (Policy("Pods", 4, 60), Policy("Percent", 10, 60)))
    seen = walked(Hpa(1, 100, down=down), 80, 10, every_s=60, steps=12)
    assert seen[:3] == [72, 64, 57]
    below_forty = [n for n in seen if n < 40]
    assert [a - b for a, b in pairwise(below_forty)] == [4] * (len(below_forty) - 1)


def test_the_smaller_step_counts_where_min_is_selected() -> None:
    down = Rules(0, (Policy("Pods", 5, 60), Policy("Percent", 10, 60)), select="Min")
    assert walked(Hpa(1, 100, down=down), 80, 10, every_s=60, steps=1) == [75]
    up = Rules(0, (Policy("Pods", 4, 60), Policy("Percent", 10, 60)), select="Min")
    assert walked(Hpa(1, 100, up=up), 80, 100, every_s=60, steps=1) == [84]


def test_a_disabled_direction_stays() -> None:
    assert walked(Hpa(1, 100, down=Rules(0, (), select="Disabled")), 80, 10, every_s=60, steps=3) == [80, 80, 80]


def test_by_default_it_grows_by_four_pods_or_double_every_fifteen_seconds() -> None:
    assert walked(Hpa(1, 100, DEFAULT_UP), 1, 100, every_s=15, steps=6) == [5, 10, 20, 40, 80, 100]


def test_what_was_added_in_the_period_counts_towards_its_limit() -> None:
    up = Rules(0, (Policy("Pods", 4, 60),))
    assert walked(Hpa(1, 100, up), 10, 100, every_s=15, steps=6) == [14, 14, 14, 14, 18, 18]


def test_what_was_removed_in_the_period_may_come_back() -> None:
    hpa = Hpa(1, 100, up=Rules(0, (Policy("Pods", 1, 60),)), down=Rules(0, (Policy("Pods", 10, 60),)))
    assert hpa.decide(0, 20, (10, 1)) == 10
    assert hpa.decide(15, 10, (50, 1)) == 21  # begun with 20, one more is allowed


def test_scaling_down_waits_until_the_highest_recommendation_of_the_window_is_over() -> None:
    hpa = Hpa(1, 100, AT_ONCE, DEFAULT_DOWN)
    assert hpa.decide(0, 10, (20, 1)) == 20
    assert [hpa.decide(t, 20, (5, 1)) for t in (15, 150, 299)] == [20, 20, 20]
    assert hpa.decide(300, 20, (5, 1)) == 5


def test_scaling_up_waits_for_the_lowest_recommendation_of_its_window() -> None:
    hpa = Hpa(1, 100, Rules(60, AT_ONCE.policies), DEFAULT_DOWN)
    assert hpa.decide(0, 10, (10, 1)) == 10
    assert hpa.decide(15, 10, (50, 1)) == 10
    assert hpa.decide(60, 10, (30, 1)) == 30


def test_bounds_hold() -> None:
    hpa = Hpa(2, 6, AT_ONCE, Rules(0, AT_ONCE.policies))
    assert [hpa.decide(0, 3, (100, 1)), hpa.decide(15, 6, (0, 1)), hpa.decide(30, 1, (1, 1))] == [6, 2, 2]
    with pytest.raises(ValueError, match="minReplicas"):
        Hpa(3, 2)


def test_of_two_metrics_the_one_that_wants_more_counts() -> None:
    assert Hpa(1, 100, AT_ONCE).decide(0, 10, (100, 10), (300, 20)) == 15
    assert Hpa(1, 100, AT_ONCE).decide(0, 10, (300, 20), (100, 10)) == 15
