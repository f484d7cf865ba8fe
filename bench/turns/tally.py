"""From scores to the numbers of the report. No I/O."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.turns.scenario import Role
from bench.turns.score import AsideScore, TurnScore

#: Hops of v2v that are the bus's and the router's own.
OWN_HOPS = ("bus", "playout.first_frame")

#: A silence inside an answer from which on it is told.
STALL_MS = 500


@dataclass
class Bus:
    """What the services said of the turns.

    Attributes:
        hops_ms: of each answered turn.
        drafts: asked for in all.
        hits: answers that were a draft.
        wasted_tokens: written for drafts that came to nothing.
        over_budget: hops that took their cheaper way.
        errors: what went wrong, counted.
    """

    hops_ms: list[dict[str, int]] = field(default_factory=list)
    drafts: int = 0
    hits: int = 0
    wasted_tokens: int = 0
    over_budget: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)


@dataclass
class Run:
    """All calls of one set, once."""

    turns: list[TurnScore] = field(default_factory=list)
    asides: list[AsideScore] = field(default_factory=list)
    bus: Bus = field(default_factory=Bus)
    calls: int = 0
    missed: int = 0


def percentiles(values: Iterable[float | None], *shares: int) -> dict[str, float | None]:
    """Returns {"p50": ...} rounded to 0.1; None where there are no values."""
    known = [value for value in values if value is not None]
    if not known:
        return {f"p{share}": None for share in shares}
    return {f"p{share}": round(float(np.percentile(known, share)), 1) for share in shares}


def rate(part: int, whole: int) -> float | None:
    """A share rounded to four digits; None of nothing."""
    return round(part / whole, 4) if whole else None


def numbers_of(run: Run) -> dict[str, Any]:
    """Returns the numbers of one run, in the terms of the contract."""
    wanted = [t for t in run.turns if t.role is not Role.WAIT]
    waits = [t for t in run.turns if t.role is Role.WAIT]
    pauses = sum(len(t.pauses_ms) for t in run.turns)
    cut_ins = sum(len(t.cut_ins_ms) for t in run.turns)
    over = [t for t in wanted if t.barge_in_ms is not None or t.is_deaf]
    resumed = [a.resumption for a in run.asides if a.resumption is not None]
    own = [sum(hops.get(name, 0) for name in OWN_HOPS) for hops in run.bus.hops_ms]
    names = list(dict.fromkeys(name for hops in run.bus.hops_ms for name in hops))
    return {
        "n": len(wanted),
        "v2v_ms": percentiles((t.v2v_ms for t in wanted), 50, 95, 99),
        "cut_in_rate": rate(cut_ins, pauses),
        "unanswered": sum(t.is_unanswered for t in wanted),
        "barge_in_ms": percentiles((t.barge_in_ms for t in over), 50, 95),
        "false_stop_rate": rate(sum(a.is_stopped for a in run.asides), len(run.asides)),
        "speculation": {
            "hits": run.bus.hits,
            "misses": max(0, run.bus.drafts - run.bus.hits),
            "wasted_tokens": run.bus.wasted_tokens,
        },
        "calls": run.calls,
        "pauses": pauses,
        "cut_ins": cut_ins,
        "interruptions": len(over),
        "interruptions_not_heard": sum(t.is_deaf for t in over),
        "asides": len(run.asides),
        "false_stops": dict(Counter(a.kind for a in run.asides if a.is_stopped)),
        "asides_by_kind": dict(Counter(a.kind for a in run.asides)),
        "muted_ms": percentiles((a.muted_ms for a in run.asides if not a.is_stopped), 50, 95),
        "resumed": {"n": len(resumed), "at_word": sum(r.is_at_word for r in resumed)},
        "waits": {"n": len(waits), "answered": sum(t.is_wait_answered for t in waits)},
        "steps_not_played": run.missed,
        "v2v_ms_by_kind": {
            kind: percentiles((t.v2v_ms for t in wanted if t.kind == kind), 50, 95)
            for kind in sorted({t.kind for t in wanted})
        },
        "bus_and_router_ms": percentiles(own, 50, 99),
        "hops_ms": {name: percentiles((hops.get(name) for hops in run.bus.hops_ms), 50, 95) for name in names},
        "stalls": {
            "n": sum(t.stall_ms >= STALL_MS for t in wanted),
            **percentiles((t.stall_ms for t in wanted if t.stall_ms >= STALL_MS), 50, 95),
        },
        "caller_less_router_ms": percentiles((_unseen_ms(t) for t in wanted), 50, 95),
        "over_budget": dict(run.bus.over_budget),
        "errors": dict(run.bus.errors),
    }


def _unseen_ms(turn: TurnScore) -> float | None:
    """What the caller waited and the router did not see."""
    if turn.v2v_ms is None or turn.answer is None or turn.answer.v2v_ms is None:
        return None
    return turn.v2v_ms - turn.answer.v2v_ms


def over_runs(runs: Sequence[Run]) -> dict[str, Any]:
    """Returns the medians over the runs (counts of things that must not happen: their sum), and each run's numbers."""
    each = [numbers_of(run) for run in runs]
    merged: dict[str, Any] = _median(each)
    merged["n"] = sum(numbers["n"] for numbers in each)
    for name in ("unanswered", "interruptions_not_heard", "calls", "pauses", "cut_ins", "interruptions", "asides"):
        merged[name] = sum(numbers[name] for numbers in each)
    merged["spread"] = {
        "v2v_ms": _spread([numbers["v2v_ms"] for numbers in each]),
        "barge_in_ms": _spread([numbers["barge_in_ms"] for numbers in each]),
        "cut_in_rate": _spread_of([numbers["cut_in_rate"] for numbers in each]),
        "false_stop_rate": _spread_of([numbers["false_stop_rate"] for numbers in each]),
    }
    merged["runs"] = each
    return merged


def _median(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Mapping):
        keys = list(dict.fromkeys(key for value in values for key in value))
        return {key: _median([value[key] for value in values if key in value]) for key in keys}
    known = [value for value in values if value is not None]
    if not known:
        return None
    middle = statistics.median(known)
    return int(middle) if all(isinstance(v, int) for v in known) else round(middle, 4)


def _spread(values: Sequence[Mapping[str, float | None]]) -> dict[str, list[float] | None]:
    return {key: _spread_of([value[key] for value in values]) for key in values[0]}


def _spread_of(values: Sequence[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None]
    return [min(known), max(known)] if known else None
