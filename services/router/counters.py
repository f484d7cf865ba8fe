"""What the router counts besides the histograms that all services share."""

from prometheus_client import Counter, Histogram

from halfbeat.errors import CODES, Unavailable, code_name

DROPPED = Counter("halfbeat_router_dropped_total", "What the router threw away", ["reason"])
ENDPOINTS = Counter("halfbeat_router_endpoints_total", "Ends of turns, by kind and cause", ["kind", "cause"])
BARGE_INS = Counter("halfbeat_router_barge_ins_total", "Answers that were stopped", ["cause"])
DRAFTS = Counter("halfbeat_drafts_total", "Answers asked for before the commit, by what became of them", ["outcome"])
OVERLAPS = Counter(
    "halfbeat_router_overlaps_total", "The caller's sounds over the agent, by what came of them", ["outcome"]
)
CALLS = Counter("halfbeat_router_calls_total", "Calls by who ended them", ["by"])
OUTCOMES = Counter(
    "halfbeat_calls_total",
    "Calls: completed, failed (began and ended by our error), refused (never began, our fault), rejected (a wrong "
    "request), abandoned (the client stopped reading)",
    ["outcome", "cause"],
)
OVER_BUDGET = Counter(
    "halfbeat_turns_over_budget_total", "Turns slower than their budget, by the hop that took longest", ["hop"]
)
MISSED = Counter(
    "halfbeat_missed_deadlines_total", "Hops that took their cheaper way to keep a turn within its budget", ["hop"]
)
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

#: Errors that are ours, or that nothing but more workers would have helped against.
_OURS = [code_name(code) for code, codes in CODES.items() if codes.http >= 500]
for _outcome in ("failed", "refused"):
    for _cause in _OURS:  # from 0 on: the first of a kind is a step that `increase` sees
        OUTCOMES.labels(_outcome, _cause)
OUTCOMES.labels("completed", "")


def count_refused(code: int) -> None:
    """Counts a call that did not begin, by the code of the error that its client gets."""
    cause = code_name(code)
    OUTCOMES.labels("refused" if cause in _OURS else "rejected", cause).inc()


def count_ended(by: str, code: int | None) -> None:
    """Counts a call that is over, by who ended it and the code of its error, if any."""
    CALLS.labels(by).inc()
    if by == "router" and code is None:  # this process ends, and its drain was too short for the call
        OUTCOMES.labels("failed", code_name(Unavailable.code)).inc()
    elif code is None:
        OUTCOMES.labels("completed", "").inc()
    else:
        OUTCOMES.labels("abandoned" if by == "client" else "failed", code_name(code)).inc()
