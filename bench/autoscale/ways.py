"""What the report compares: the recommended policies, what one begins with, and what each part of them is worth."""

from collections.abc import Mapping
from dataclasses import replace

from bench.autoscale.pods import Startup
from bench.autoscale.policies import RECOMMENDED as POLICIES
from bench.autoscale.policies import SERVICES, Loop, Policy, Service
from bench.autoscale.report import Way

#: Room on the nodes for a usual evening's pods, and nothing more.
_CROWDED = {"router": 3, "asr": 8, "tts": 14, "dialogue": 8, "llm": 5}


def _fixed(calls: int, fill: float = 0.6) -> Mapping[str, Policy]:
    """So many pods that `calls` fill so much of them, always."""
    counts = {name: max(2, -(-calls // int(service.slots * fill))) for name, service in SERVICES.items()}
    return {name: Policy(count, count, attempts=10, drain_s=1810) for name, count in counts.items()}


def _all(**changes: object) -> Mapping[str, Policy]:
    return {name: replace(policy, **changes) for name, policy in POLICIES.items()}  # type: ignore[arg-type]


def _small_buffer() -> Mapping[str, Policy]:
    """A buffer for what a day brings by chance, and no more."""
    return {name: replace(policy, warm_slots=24, min_replicas=2) for name, policy in POLICIES.items()}


def _without_room() -> Mapping[str, Service]:
    return {
        name: replace(service, startup=Startup(service.startup.ready_s, room=_CROWDED[name]))
        for name, service in SERVICES.items()
    }


RECOMMENDED = "recommended"
PLAIN = "80 % of the slots, else Kubernetes' defaults"
_USUAL, _SMALL, _STORM = "pods for a usual evening", "recommended, a small buffer", "pods for the storm, always"
WAYS = (
    Way(_USUAL, _fixed(23), SERVICES),
    Way(PLAIN, {n: Policy(2, p.max_replicas, fill=0.8) for n, p in POLICIES.items()}, SERVICES),
    Way(RECOMMENDED, POLICIES, SERVICES),
    Way(_SMALL, _small_buffer(), SERVICES),
    Way("recommended, without the lead", _all(lead_s=0), SERVICES),
    Way("recommended, three workers asked", _all(attempts=3), SERVICES),
    Way("recommended, drained for 30 s", _all(drain_s=30.0), SERVICES),
    Way("recommended, KEDA's cache of 30 s", POLICIES, SERVICES, Loop(poll_s=30)),
    Way("recommended, no room on the nodes", POLICIES, _without_room()),
    Way(_STORM, _fixed(250), SERVICES),
)
#: Of them, those of the other curves.
SHORT = tuple(way for way in WAYS if way.name in (_USUAL, PLAIN, RECOMMENDED, _SMALL, _STORM))
DRAWN = (PLAIN, RECOMMENDED)
