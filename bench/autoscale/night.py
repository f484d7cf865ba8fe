"""One night: callers come, pods take them, autoscalers look at old numbers. Second by second, by seed."""

import heapq
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

import numpy as np

from bench.autoscale.arrivals import Curve, Lengths
from bench.autoscale.hpa import Hpa, recommend
from bench.autoscale.pods import Pod, Pool
from bench.autoscale.policies import LOOP, Loop, Policy, Service


@dataclass(frozen=True)
class Redial:
    """What refused callers do."""

    share: float = 0.7
    after_s: float = 20.0
    times: int = 3


LENGTHS = Lengths()
REDIAL = Redial()


@dataclass(frozen=True)
class Moment:
    """A point of the picture: calls held, dials refused so far, slots that are open and pods that are paid for."""

    at_s: int
    calls: int
    refused: int
    slots: Mapping[str, int]
    pods: Mapping[str, int]


@dataclass
class Outcome:
    """What became of a night.

    Attributes:
        callers: people who called.
        served: whose call came to its end, by itself.
        waited: of them, those who were refused at first and dialled again.
        gave_up: refused, and did not dial again.
        in_progress: still talking, or about to dial again, at the end.
        cut: calls that ended because their pod did.
        refused: dials that were refused, by the service that was full.
        lacking_s: call-seconds in which a shared service had less than its calls need.
        pod_s: pod-seconds, by service.
        peak: most pods at a time, by service.
        call_s: seconds of calls held.
        timeline: how it looked, every 15 s.
    """

    callers: int = 0
    served: int = 0
    waited: int = 0
    gave_up: int = 0
    in_progress: int = 0
    cut: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    lacking_s: Counter[str] = field(default_factory=Counter)
    pod_s: Counter[str] = field(default_factory=Counter)
    peak: Counter[str] = field(default_factory=Counter)
    call_s: float = 0.0
    timeline: list[Moment] = field(default_factory=list)

    @property
    def is_smooth(self) -> bool:
        """Nobody was refused, cut off or slow."""
        return not (self.refused.total() or self.cut or self.lacking_s.total())


class _Scaled:
    """A pool with its autoscaler and what Prometheus has seen of it."""

    def __init__(self, service: Service, policy: Policy, loop: Loop, usual_calls: float) -> None:
        self.policy, self._loop, self._slots = policy, loop, service.slots
        self.hpa = Hpa(policy.min_replicas, policy.max_replicas, policy.up, policy.down)
        asked_for = max(
            recommend(0, usual_calls, service.slots * policy.fill),
            recommend(0, usual_calls + policy.warm_slots, service.slots),
        )
        self.pool = Pool(
            service.slots, service.startup, min(max(asked_for, policy.min_replicas), policy.max_replicas),
            attempts=policy.attempts if service.is_asked else 1, drain_s=policy.drain_s, is_shared=service.is_shared,
        )  # fmt: skip
        self._seen: deque[tuple[float, int]] = deque(maxlen=max(2, round(policy.trend_window_s / loop.scrape_s) + 1))
        self._refusals: deque[int] = deque([0], maxlen=max(2, round(60 / loop.scrape_s) + 1))
        self._polled: tuple[float, float] | None = None

    def scrape(self, now_s: float) -> None:
        """Prometheus reads how many calls there are, but for pods that drain, and how often a pod refused one."""
        self._seen.append((now_s, self.pool.staying))
        self._refusals.append(self.pool.refusals)

    def sync(self, now_s: float) -> None:
        """The autoscaler looks, and acts."""
        if not self._seen:
            return
        replicas = self.pool.replicas
        calls = self._calls(now_s)
        is_refusing = self._refusals[-1] > self._refusals[0]
        decided = self.hpa.decide(
            now_s,
            replicas,
            (calls, self._slots * self.policy.fill),
            (calls + self.policy.warm_slots, self._slots),
            (is_refusing * replicas * (1 + self.policy.trouble), 1.0),
        )
        if decided != replicas:
            self.pool.scale_to(decided, now_s)

    def _calls(self, now_s: float) -> float:
        """What the query says: calls and the growth to come; as old as KEDA's cache is."""
        if self._polled is None or not self._loop.poll_s or now_s - self._polled[0] >= self._loop.poll_s:
            growth = self.policy.lead_s * max(0.0, _slope(self._seen)) if self.policy.lead_s else 0.0
            self._polled = (now_s, self._seen[-1][1] + growth)
        return self._polled[1]


def _slope(seen: deque[tuple[float, int]]) -> float:
    """Calls a second, by least squares, as `deriv` of PromQL has it."""
    count = len(seen)
    if count < 2:
        return 0.0
    mean_t, mean_n = sum(t for t, _ in seen) / count, sum(n for _, n in seen) / count
    return sum((t - mean_t) * (n - mean_n) for t, n in seen) / sum((t - mean_t) ** 2 for t, _ in seen)


def simulate(
    curve: Curve,
    services: Mapping[str, Service],
    policies: Mapping[str, Policy],
    *,
    seed: int,
    loop: Loop = LOOP,
    lengths: Lengths = LENGTHS,
    redial: Redial = REDIAL,
    stops_when_rough: bool = False,
) -> Outcome:
    """Holds a night.

    Args:
        curve: who calls when.
        services: those a call needs, in the order in which it needs them.
        policies: how each is scaled.
        seed: of callers, lengths, placement and the phases of scrapes and loops.
        loop: periods of Prometheus, HPA and KEDA.
        lengths: of the calls.
        redial: what refused callers do.
        stops_when_rough: give up at the first refusal (a search needs no more).

    Returns:
        What became of it. callers == served + cut + gave_up + in_progress.
    """
    rng, placing = np.random.default_rng(seed), Random(seed)
    arrivals = curve.draw(rng)
    lasts = lengths.draw(rng, len(arrivals))
    usual_calls = curve.calls_per_s(0.0) * lengths.mean_s
    scaled = {name: _Scaled(s, policies[name], loop, usual_calls) for name, s in services.items()}
    pools = [(name, s.pool) for name, s in scaled.items()]
    phases = {name: (placing.randrange(loop.scrape_s), placing.randrange(loop.sync_s)) for name in scaled}
    held: dict[int, list[Pod]] = {}
    ends: list[tuple[float, int]] = []
    dials: list[tuple[float, int, int]] = []
    outcome, coming, callers = Outcome(callers=len(arrivals)), 0, len(arrivals)

    def let_go(call: int) -> None:
        for (_, pool), pod in zip(pools, held.pop(call), strict=True):
            pool.leave(call, pod)

    def dial(at_s: float, call: int, before: int) -> None:
        taken: list[Pod] = []
        for name, pool in pools:
            pod = pool.take(call, placing)
            if pod is None:
                for (_, opened), slot in zip(pools, taken, strict=False):
                    opened.leave(call, slot)
                outcome.refused[name] += 1
                if before < redial.times and placing.random() < redial.share:
                    heapq.heappush(dials, (at_s + placing.expovariate(1 / redial.after_s), call, before + 1))
                else:
                    outcome.gave_up += 1
                return
            taken.append(pod)
        held[call] = taken
        outcome.waited += before > 0
        heapq.heappush(ends, (at_s + float(lasts[call]), call))

    for now in range(curve.lasts_s):
        while ends and ends[0][0] <= now:
            call = heapq.heappop(ends)[1]
            if call in held:
                let_go(call)
                outcome.served += 1
        for _, pool in pools:
            for call, _ in pool.advance(now):
                let_go(call)
                outcome.cut += 1
        while coming < callers and arrivals[coming] < now + 1:
            dial(float(arrivals[coming]), coming, 0)
            coming += 1
        while dials and dials[0][0] < now + 1:
            at_s, call, before = heapq.heappop(dials)
            dial(at_s, call, before)
        for name, one in scaled.items():
            scrape, sync = phases[name]
            if now % loop.scrape_s == scrape:
                one.scrape(now)
            if now % loop.sync_s == sync:
                one.sync(now)
            pods = one.pool.pods
            outcome.pod_s[name] += pods
            if pods > outcome.peak[name]:
                outcome.peak[name] = pods
            if one.pool.is_shared and (lacking := one.pool.lacking):
                outcome.lacking_s[name] += lacking
        outcome.call_s += len(held)
        if stops_when_rough and not outcome.is_smooth:
            break
        if now % 15 == 0:
            outcome.timeline.append(
                Moment(
                    now,
                    len(held),
                    outcome.refused.total(),
                    {name: len(pool.ready) * pool.slots for name, pool in pools},
                    {name: pool.pods for name, pool in pools},
                )
            )
    outcome.in_progress = len(held) + len(dials) + callers - coming
    return outcome
