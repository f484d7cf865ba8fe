"""Pods of one service: they start, take calls into slots, drain and end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True)
class Startup:
    """What lies between a new replica and its first call, in s.

    Attributes:
        ready_s: scheduling, container, models into memory, readiness probe; image and models are on the node.
        pull_s: fetching the image on a node that has none of it.
        node_s: a new node, where the ones that are there are full.
        room: pods that the nodes there at the start have room for; None: for all.
    """

    ready_s: float
    pull_s: float = 60.0
    node_s: float = 120.0
    room: int | None = None


@dataclass(eq=False, slots=True)
class Pod:
    """One replica.

    Attributes:
        ready_s: when its slots open.
        calls: the calls it holds.
        ends_s: when it is killed with the calls it has, once it drains.
    """

    ready_s: float
    calls: set[int] = field(default_factory=set)
    ends_s: float = float("inf")


class Pool:
    """The pods of a service.

    A worker is asked as NATS does it: any of the queue group, a full one too, and it says so; then another is asked,
    `attempts` in all. A pool that is `shared` (the language model) refuses nobody: everybody becomes slower.
    """

    def __init__(
        self, slots: int, startup: Startup, replicas: int, *, attempts: int = 3, drain_s: float, is_shared: bool = False
    ) -> None:
        """Begins with `replicas` that are ready."""
        self.slots, self.attempts, self.drain_s, self.is_shared = slots, attempts, drain_s, is_shared
        self._startup = startup
        self.ready = [Pod(0.0) for _ in range(replicas)]
        self.starting: list[Pod] = []
        self.draining: list[Pod] = []
        self.active = 0
        self.refusals = 0
        # A shared pool holds answers of a second, not calls: whose they are does not matter, and none drains for long.
        self._everybody = Pod(0.0) if is_shared else None
        self._nodes_hold = max(replicas, startup.room if startup.room is not None else 1 << 30)

    @property
    def replicas(self) -> int:
        """What Kubernetes counts: pods that are there or start, not those that end."""
        return len(self.ready) + len(self.starting)

    @property
    def pods(self) -> int:
        """What is paid for."""
        return len(self.ready) + len(self.starting) + len(self.draining)

    @property
    def staying(self) -> int:
        """Calls on pods that do not drain."""
        return self.active - sum(len(pod.calls) for pod in self.draining)

    @property
    def lacking(self) -> int:
        """Calls beyond what the ready pods are made for (a shared pool)."""
        return max(0, self.active - self.slots * len(self.ready))

    def take(self, call: int, rng: Random) -> Pod | None:
        """Places a call; None when all that were asked are full."""
        count = len(self.ready)
        for _ in range(self.attempts if count else 0):
            pod = self._everybody or self.ready[int(rng.random() * count)]
            if self.is_shared or len(pod.calls) < self.slots:
                pod.calls.add(call)
                self.active += 1
                return pod
        self.refusals += 1
        return None

    def leave(self, call: int, pod: Pod) -> None:
        """The call is over."""
        pod.calls.remove(call)
        self.active -= 1

    def scale_to(self, replicas: int, now_s: float) -> None:
        """Starts pods, or ends some as a ReplicaSet does: those that are not ready first, then the newest."""
        while self.replicas < replicas:
            self.starting.append(Pod(now_s + self._start_s()))
        while self.replicas > replicas:
            if self.starting:
                self.starting.pop()
            else:
                pod = self.ready.pop()
                pod.ends_s = now_s + self.drain_s
                self.draining.append(pod)

    def _start_s(self) -> float:
        if self.pods < self._nodes_hold:
            return self._startup.ready_s
        self._nodes_hold = self.pods + 1  # the node stays, with the image on it
        return self._startup.ready_s + self._startup.node_s + self._startup.pull_s

    def advance(self, now_s: float) -> Sequence[tuple[int, Pod]]:
        """Opens pods that have started and ends drained ones; returns the calls that were cut off by that."""
        if self.starting:
            self.ready += [pod for pod in self.starting if pod.ready_s <= now_s]
            self.starting = [pod for pod in self.starting if pod.ready_s > now_s]
        if not self.draining:
            return ()
        overdue = [pod for pod in self.draining if pod.ends_s <= now_s]
        self.draining = [pod for pod in self.draining if pod.calls and pod.ends_s > now_s]
        return [(call, pod) for pod in overdue for call in pod.calls]
