"""What is simulated: the services, their start-up times and prices, and the policies that scale them.

`RECOMMENDED` is what the Helm chart ships and docs/scaling.md explains; a test holds the three together.
"""

from dataclasses import dataclass, replace

from bench.autoscale.hpa import DEFAULT_DOWN, DEFAULT_UP, Rules
from bench.autoscale.hpa import Policy as Step
from bench.autoscale.pods import Startup


@dataclass(frozen=True)
class Service:
    """One of the things a call needs a place in.

    Attributes:
        slots: calls that one pod holds.
        startup: from a new replica to its first call.
        price: of a pod and hour, in dollars (an assumption: docs/sizing.md).
        is_asked: the router asks several workers before it refuses; else a load balancer picks one.
        is_shared: refuses nobody and becomes slow instead.
    """

    slots: int
    startup: Startup
    price: float
    is_asked: bool = True
    is_shared: bool = False


@dataclass(frozen=True)
class Policy:
    """How one service is scaled: its slots are max(calls / fill, calls + warm_slots), with the calls of `lead_s` ahead.

    Attributes:
        min_replicas, max_replicas: bounds.
        warm_slots: slots that are kept free, always.
        lead_s: how far ahead a growth is believed, in s; 0: not at all.
        fill: share of the slots that is used at most.
        trouble: so much more of the pods is asked for while one of them refuses calls.
        up, down: `behavior` of the HPA.
        attempts: workers that the router asks before it refuses (HALFBEAT_ROUTER_OPEN_ATTEMPTS).
        drain_s: how long a pod may go on with its calls (HALFBEAT_DRAIN_S).
        trend_window_s: the growth is measured over so long.
    """

    min_replicas: int
    max_replicas: int
    warm_slots: int = 0
    lead_s: int = 0
    fill: float = 1.0
    trouble: float = 0.0
    up: Rules = DEFAULT_UP
    down: Rules = DEFAULT_DOWN
    attempts: int = 3
    drain_s: float = 30.0
    trend_window_s: int = 60


@dataclass(frozen=True)
class Loop:
    """Periods in s: Prometheus scrapes, the HPA looks, KEDA polls (0: asked each time, as without its cache)."""

    scrape_s: int = 15
    sync_s: int = 15
    poll_s: int = 0


LOOP = Loop()

#: Calls a second on a usual evening; with calls of 45 s that is 22 at a time.
USUAL_PER_S = 0.5

SERVICES = {
    "router": Service(slots=50, startup=Startup(15.0), price=0.08, is_asked=False),
    "asr": Service(slots=8, startup=Startup(15.0), price=0.04),
    "tts": Service(slots=4, startup=Startup(20.0), price=0.04),
    "dialogue": Service(slots=24, startup=Startup(15.0), price=0.02),
    "llm": Service(slots=50, startup=Startup(90.0), price=1.0, is_shared=True),
}
UP = Rules(0, (Step("Percent", 100, 15), Step("Pods", 4, 15)))
#: Only when the last ten minutes asked for less, and a tenth of the pods a minute: an ebb comes in waves.
DOWN = Rules(600, (Step("Percent", 10, 60),))

_ALL = Policy(2, 60, warm_slots=120, lead_s=90, fill=0.6, trouble=0.25, up=UP, down=DOWN, attempts=10, drain_s=1810.0)

RECOMMENDED = {
    "router": replace(_ALL, max_replicas=20),
    "asr": _ALL,
    "tts": replace(_ALL, max_replicas=120),
    "dialogue": replace(_ALL, max_replicas=20),
    # A model takes as long to start as a storm to come: what the storm needs at first is there already.
    "llm": replace(_ALL, min_replicas=5, max_replicas=8, fill=1.0),
}
