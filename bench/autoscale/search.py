"""The cheapest policy with which nobody is refused, cut off or slow in the storm: each service alone.

While nobody is refused the services do not see one another, so each is searched on its own. More free slots never hurt,
so the fewest that do are found by halving, for each lead and fill.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from bench.autoscale.arrivals import Curve
from bench.autoscale.night import simulate
from bench.autoscale.policies import LOOP, Loop, Policy, Service

LEADS_S = (0, 60, 90, 120)
FILLS = (0.5, 0.6, 0.8)
_MOST = 512


def cheapest(
    name: str,
    service: Service,
    base: Policy,
    storm: Curve,
    day: Curve,
    *,
    seeds: Iterable[int],
    storms_a_month: float = 1.0,
    loop: Loop = LOOP,
    leads_s: Iterable[int] = LEADS_S,
    fills: Iterable[float] = FILLS,
) -> list[tuple[float, Policy]]:
    """Returns policies that pass all seeds with what each costs in pod-hours a month, the cheapest first."""
    seeds = tuple(seeds)
    found = []
    for lead_s in leads_s:
        for fill in fills:
            policy = fewest(name, service, replace(base, lead_s=lead_s, fill=fill), storm, seeds, loop)
            if policy is not None:
                hours = {
                    curve: simulate(curve, {name: service}, {name: policy}, seed=seeds[0], loop=loop).pod_s[name] / 3600
                    for curve in (storm, day)
                }
                found.append((storms_a_month * hours[storm] + (30 - storms_a_month) * hours[day], policy))
    return sorted(found, key=lambda pair: pair[0])


def fewest(
    name: str, service: Service, base: Policy, storm: Curve, seeds: Iterable[int], loop: Loop = LOOP
) -> Policy | None:
    """Returns the policy with the fewest warm slots that passes, or None when none does."""

    def passes(warm_slots: int, seed: int) -> bool:
        policies: Mapping[str, Policy] = {name: replace(base, warm_slots=warm_slots)}
        return simulate(storm, {name: service}, policies, seed=seed, loop=loop, stops_when_rough=True).is_smooth

    enough = 0
    for seed in seeds:
        if passes(enough, seed):
            continue
        if not passes(_MOST, seed):
            return None
        least, enough = enough, _MOST
        while enough - least > 2:
            middle = (least + enough) // 2
            least, enough = (least, middle) if passes(middle, seed) else (middle, enough)
    return replace(base, warm_slots=enough)
