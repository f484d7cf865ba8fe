"""What the router counts besides the histograms that all services share."""

from prometheus_client import Counter, Histogram

DROPPED = Counter("halfbeat_router_dropped_total", "What the router threw away", ["reason"])
ENDPOINTS = Counter("halfbeat_router_endpoints_total", "Ends of turns, by kind and cause", ["kind", "cause"])
BARGE_INS = Counter("halfbeat_router_barge_ins_total", "Answers that were stopped", ["cause"])
DRAFTS = Counter("halfbeat_drafts_total", "Answers asked for before the commit, by what became of them", ["outcome"])
OVERLAPS = Counter(
    "halfbeat_router_overlaps_total", "The caller's sounds over the agent, by what came of them", ["outcome"]
)
CALLS = Counter("halfbeat_router_calls_total", "Calls by who ended them", ["by"])
UNDERRUNS = Counter("halfbeat_router_underruns_total", "Gaps in the agent's speech", ["where"])
CLEANED = Counter("halfbeat_router_cleaned_hops_total", "Pieces of 10 ms that echo and noise were taken out of")
CLEANING = Histogram(
    "halfbeat_router_cleaning_seconds",
    "Time to clean 10 ms of all calls that waited",
    buckets=(0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05),
)
DETECTOR = Histogram(
    "halfbeat_router_turn_detector_seconds",
    "Time for one opinion about the end of a turn, queueing included",
    buckets=(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0),
)
