"""Whether the workers of a call are alive, by their heartbeats. No I/O."""

from collections.abc import Iterable

from halfbeat.clock import NS_PER_S

#: A check this late means that our own loop was stalled: heartbeats wait unread and are not missing.
STALL_S = 0.5


class Heartbeats:
    """Remembers when each service was heard last."""

    def __init__(self, services: Iterable[str], timeout_s: float, now_ns: int) -> None:
        self._timeout_ns = int(timeout_s * NS_PER_S)
        self._seen_ns = dict.fromkeys(services, now_ns)
        self._checked_ns = now_ns

    def heard(self, service: str, now_ns: int) -> None:
        """A heartbeat came."""
        if service in self._seen_ns:
            self._seen_ns[service] = now_ns

    def lost(self, now_ns: int) -> str | None:
        """Returns a service that is silent for too long, or None. To be asked several times within `STALL_S`."""
        if now_ns - self._checked_ns > STALL_S * NS_PER_S:
            self._seen_ns = dict.fromkeys(self._seen_ns, now_ns)
        self._checked_ns = now_ns
        for service, seen_ns in self._seen_ns.items():
            if now_ns - seen_ns > self._timeout_ns:
                return service
        return None
