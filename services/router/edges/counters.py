"""What edges count. No session ids and nothing a client chose becomes a label."""

from prometheus_client import Counter, Gauge

from halfbeat.telemetry import from_zero

CONNECTIONS = Gauge("halfbeat_edge_connections", "Connections open now", ["edge"])
REFUSED = Counter("halfbeat_edge_refused_total", "Connections refused before a call began", ["edge", "reason"])
BAD_INPUT = Counter("halfbeat_edge_bad_input_total", "Messages a client should not have sent", ["edge", "reason"])
STUCK = Counter("halfbeat_edge_stuck_total", "Connections cut because the client did not read", ["edge"])

_EDGES = ("grpc", "realtime", "twilio")
from_zero(REFUSED, *((edge, reason) for edge in _EDGES for reason in ("at_capacity", "denied")))
from_zero(STUCK, *_EDGES, "page")
for _edge in _EDGES:
    CONNECTIONS.labels(_edge)
