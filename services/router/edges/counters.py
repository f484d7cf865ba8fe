"""What edges count. No session ids and nothing a client chose becomes a label."""

from prometheus_client import Counter, Gauge

CONNECTIONS = Gauge("halfbeat_edge_connections", "Connections open now", ["edge"])
REFUSED = Counter("halfbeat_edge_refused_total", "Connections refused before a call began", ["edge", "reason"])
BAD_INPUT = Counter("halfbeat_edge_bad_input_total", "Messages a client should not have sent", ["edge", "reason"])
STUCK = Counter("halfbeat_edge_stuck_total", "Connections cut because the client did not read", ["edge"])
