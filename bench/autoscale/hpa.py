"""The algorithm of Kubernetes' HorizontalPodAutoscaler (autoscaling/v2) for external metrics with average targets.

What the controller does with a metric per pod and `behavior`, step by step; no clock and no cluster. Source: the page
"Horizontal Pod Autoscaling" of Kubernetes' documentation and the controller it describes. KEDA makes such an object
and answers its question for the metric; it takes no decision of its own between one replica and the maximum.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Policy:
    """So many pods, or so many percent of them, in a period."""

    kind: Literal["Pods", "Percent"]
    value: int
    period_s: int


@dataclass(frozen=True)
class Rules:
    """One direction of `behavior`.

    Attributes:
        stabilization_s: the mildest recommendation of so long counts.
        policies: limits of a step.
        select: the policy that counts: that of the largest step, of the smallest, or no step at all.
    """

    stabilization_s: int
    policies: tuple[Policy, ...]
    select: Literal["Max", "Min", "Disabled"] = "Max"


#: What Kubernetes does where `behavior` says nothing.
DEFAULT_UP = Rules(0, (Policy("Pods", 4, 15), Policy("Percent", 100, 15)))
DEFAULT_DOWN = Rules(300, (Policy("Percent", 100, 15),))


@dataclass
class Hpa:
    """One autoscaler; it remembers its recommendations and its steps."""

    min_replicas: int
    max_replicas: int
    up: Rules = DEFAULT_UP
    down: Rules = DEFAULT_DOWN
    tolerance: float = 0.1
    _recommended: list[tuple[float, int]] = field(default_factory=list)
    _added: list[tuple[float, int]] = field(default_factory=list)
    _removed: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0 < self.min_replicas <= self.max_replicas:
            raise ValueError(f"not 0 < minReplicas {self.min_replicas} <= maxReplicas {self.max_replicas}")

    def decide(self, now_s: float, current: int, *metrics: tuple[float, float]) -> int:
        """Returns the replicas from now on.

        Args:
            now_s: the clock.
            current: replicas now, those that still start included, those that end not.
            metrics: of each its value over all pods, and what each pod should have of it; the most wanted counts.
        """
        wanted = max(recommend(current, total, average, self.tolerance) for total, average in metrics)
        decided = self._limited(now_s, current, self._stabilized(now_s, current, wanted))
        if decided > current:
            self._added.append((now_s, decided - current))
        elif decided < current:
            self._removed.append((now_s, current - decided))
        return decided

    def _stabilized(self, now_s: float, current: int, recommended: int) -> int:
        self._recommended.append((now_s, recommended))
        longest_s = max(self.up.stabilization_s, self.down.stabilization_s)
        self._recommended = [r for r in self._recommended if r[0] > now_s - longest_s] or [(now_s, recommended)]
        lowest = min([n for at, n in self._recommended if at > now_s - self.up.stabilization_s] + [recommended])
        highest = max([n for at, n in self._recommended if at > now_s - self.down.stabilization_s] + [recommended])
        return min(max(current, lowest), highest)

    def _limited(self, now_s: float, current: int, wanted: int) -> int:
        if wanted > current:
            most = min(self.max_replicas, max(current, self._limit(now_s, current, self.up, 1)))
            return max(self.min_replicas, min(wanted, most))
        if wanted < current:
            least = max(self.min_replicas, min(current, self._limit(now_s, current, self.down, -1)))
            return min(self.max_replicas, max(wanted, least))
        return min(max(current, self.min_replicas), self.max_replicas)

    def _limit(self, now_s: float, current: int, rules: Rules, sign: int) -> int:
        if rules.select == "Disabled":
            return current
        limits = []
        for policy in rules.policies:
            begun = current - _steps(self._added, now_s, policy) + _steps(self._removed, now_s, policy)
            if policy.kind == "Pods":
                limits.append(begun + sign * policy.value)
            elif sign > 0:  # Rounded up, so that one replica can become two.
                limits.append(math.ceil(begun * (1 + policy.value / 100)))
            else:
                limits.append(int(begun * (1 - policy.value / 100)))
        is_highest = (rules.select == "Max") == (sign > 0)
        return max(limits) if is_highest else min(limits)


def recommend(current: int, total: float, average: float, tolerance: float = 0.1) -> int:
    """Returns the replicas that the metric asks for; the current ones while it is within the tolerance."""
    if current and abs(total / (average * current) - 1) <= tolerance:
        return current
    return math.ceil(total / average)


def _steps(steps: Iterable[tuple[float, int]], now_s: float, policy: Policy) -> int:
    return sum(count for at, count in steps if at > now_s - policy.period_s)
