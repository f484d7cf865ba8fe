"""Many nights with each policy: medians and spreads, cost, and the tables of docs/scaling.md."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.autoscale.arrivals import Curve
from bench.autoscale.night import Outcome, simulate
from bench.autoscale.policies import LOOP, Loop, Policy, Service

Spread = tuple[float, float, float]


@dataclass(frozen=True)
class Way:
    """A way to run it all: policies of every service, and what is different about the cluster."""

    name: str
    policies: Mapping[str, Policy]
    services: Mapping[str, Service]
    loop: Loop = LOOP


def nights(way: Way, curve: Curve, seeds: Iterable[int]) -> list[Outcome]:
    """Simulates the curve once for each seed."""
    return [simulate(curve, way.services, way.policies, seed=seed, loop=way.loop) for seed in seeds]


def cost(outcome: Outcome, services: Mapping[str, Service]) -> float:
    """Returns what the pods of a night cost, in dollars."""
    return sum(outcome.pod_s[name] / 3600 * service.price for name, service in services.items())


def spread(values: Iterable[float]) -> Spread:
    """Returns median, lowest and highest."""
    values = list(values)
    return statistics.median(values), min(values), max(values)


def figures(way: Way, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Returns what the report says of a policy on a curve."""
    return {
        "callers": spread(o.callers for o in outcomes),
        "refused_dials": spread(o.refused.total() for o in outcomes),
        "refused_by": {name: statistics.median(o.refused[name] for o in outcomes) for name in way.services},
        "callers_who_wait": spread(o.waited for o in outcomes),
        "callers_who_gave_up": spread(o.gave_up for o in outcomes),
        "calls_cut_off": spread(o.cut for o in outcomes),
        "slow_call_s": spread(o.lacking_s.total() for o in outcomes),
        "pod_hours": {name: statistics.median(o.pod_s[name] / 3600 for o in outcomes) for name in way.services},
        "peak_pods": {name: max(o.peak[name] for o in outcomes) for name in way.services},
        "call_hours": statistics.median(o.call_s / 3600 for o in outcomes),
        "cost": spread(cost(o, way.services) for o in outcomes),
        "cost_per_call_hour": spread(cost(o, way.services) / (o.call_s / 3600) for o in outcomes),
    }


def policy_rows(services: Mapping[str, Service], policies: Mapping[str, Policy]) -> list[str]:
    """The numbers of a policy as a table in Markdown."""
    rows = ["| service | slots of a pod | target share | warm slots | lead | pods |", "|---|---|---|---|---|---|"]
    for name, policy in policies.items():
        rows.append(
            f"| {name} | {services[name].slots} | {policy.fill:g} | {policy.warm_slots} | {policy.lead_s} s "
            f"| {policy.min_replicas}-{policy.max_replicas} |"
        )
    return rows


def price_rows(services: Mapping[str, Service], policies: Mapping[str, Policy]) -> list[str]:
    """What a call-hour costs while pods are as full as planned, as a table in Markdown."""
    rows = ["| service | a pod-hour | calls planned on it | a call-hour |", "|---|---|---|---|"]
    total = 0.0
    for name, service in services.items():
        calls = service.slots * policies[name].fill
        total += service.price / calls
        rows.append(f"| {name} | ${service.price:.2f} | {calls:g} | ${service.price / calls:.3f} |")
    return [*rows, f"| **sum** | | | **${total:.3f}** |"]


def result_rows(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What came of each way in one curve, as a table in Markdown."""
    rows = [
        "| policy | dials refused | callers who wait | gave up | cut off | slow, min | pods | cost | a call-hour |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, told in results.items():
        rows.append(
            f"| {name} | {_count(told['refused_dials'])} | {_count(told['callers_who_wait'])} "
            f"| {_count(told['callers_who_gave_up'])} | {_count(told['calls_cut_off'])} "
            f"| {_count([value / 60 for value in told['slow_call_s']])} | {sum(told['peak_pods'].values())} "
            f"| ${told['cost'][0]:,.0f} | ${told['cost_per_call_hour'][0]:.2f} |"
        )
    return rows


def _count(values: Sequence[float]) -> str:
    median, lowest, highest = values
    return f"{median:,.0f}" if round(lowest) == round(highest) else f"{median:,.0f} ({lowest:,.0f}-{highest:,.0f})"


def written(page: str, tables: Mapping[str, Sequence[str]]) -> str:
    """Returns the page with each table between its marks, `<!-- autoscale: NAME -->` and `<!-- end -->`."""
    for name, rows in tables.items():
        begin, end = f"<!-- autoscale: {name} -->", "<!-- end -->"
        if begin not in page:
            raise ValueError(f"the page has no mark {begin}")
        head, _, rest = page.partition(begin)
        page = head + begin + "\n" + "\n".join(rows) + "\n" + end + rest.partition(end)[2]
    return page
