"""Metrics of the bus. No label holds a session id."""

from prometheus_client import Counter, Histogram

from halfbeat.drop import DropReason
from halfbeat.subjects import Kind

DROPPED = Counter("halfbeat_dropped_total", "Messages given up, by kind and reason", ["kind", "reason"])
RECONNECTS = Counter("halfbeat_bus_reconnects_total", "Times the connection to NATS came back")
DWELL = Histogram(
    "halfbeat_bus_dwell_seconds",
    "How long a message waited in our ring for its consumer",
    ["lane"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0),
)


def count_drop(kind: Kind | str, reason: DropReason) -> None:
    """Counts one message that is given up; `kind` is the `Kind` or a name such as "trace.spans"."""
    name = kind if isinstance(kind, str) else f"{kind.kind}.{kind.verb}"
    DROPPED.labels(name, reason.value).inc()
