"""What the router counts besides the histograms that all services share. Known series begin at zero."""

from prometheus_client import Counter, Histogram

from halfbeat.errors import CODES, Unavailable, code_name
from halfbeat.telemetry import HOP, TURNS, V2V_HOP, from_zero
from services.router.time_to_silence import DETECT, JUDGE, STOP
from services.router.turn_record import ASR, BUS, DIALOGUE, ENDPOINT, PLAYOUT, TTS

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
from_zero(TURNS, "heard", "cut", "failed", "resumed")
from_zero(V2V_HOP, ENDPOINT, ASR, DIALOGUE, TTS, PLAYOUT, BUS)
from_zero(HOP, ENDPOINT, PLAYOUT, *(f"barge_in.{hop}" for hop in (DETECT, JUDGE, STOP)))
from_zero(
    DROPPED,
    "client_not_reading", "duplicate_answer", "duplicate_transcript", "stale_answer", "stale_clause",
    "stale_judgement", "stale_speech", "stale_transcript", "stale_void", "too_fast", "turn_detector",
)  # fmt: skip
from_zero(ENDPOINTS, ("eager", ""), ("resumed", ""))
from_zero(ENDPOINTS, *(("committed", cause) for cause in ("detector", "silence", "limit", "client")))
from_zero(BARGE_INS, "barge_in", "resumed", "cancelled")
from_zero(DRAFTS, "hit", "resumed", "voided", "differs", "cleared")
from_zero(OVERLAPS, "barge_in", "backchannel", "noise", "click", "faint", "limit", "dropped", "cleared")
from_zero(CALLS, "caller", "agent", "client", "router", "timeout")
from_zero(OVER_BUDGET, ENDPOINT, ASR, DIALOGUE, TTS, PLAYOUT, BUS)
from_zero(MISSED, ASR, DIALOGUE, TTS)
from_zero(UNDERRUNS, "in_clause", "between_clauses")


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
