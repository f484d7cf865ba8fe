from bench.turns.scenario import Role
from bench.turns.score import AsideScore, TurnScore
from bench.turns.tally import Bus, Run, numbers_of, over_runs


def turn(v2v_ms: float | None = 400.0, role: Role = Role.TURN, **more: object) -> TurnScore:
    fields: dict[str, object] = {
        "sid": "s",
        "scenario": "c",
        "clip": "x",
        "text": "",
        "kind": "plain",
        "start_s": 0.0,
        "end_ms": 900,
    }
    return TurnScore(**{**fields, "role": role, "v2v_ms": v2v_ms, "is_unanswered": False, **more})  # type: ignore[arg-type]


def aside(is_stopped: bool) -> AsideScore:
    return AsideScore("s", "c", "x", "", "cough", 0.0, is_stopped=is_stopped, muted_ms=200.0)


RUN = Run(
    turns=[
        *(turn(ms) for ms in (300.0, 400.0, 500.0)),
        turn(None, is_unanswered=True),
        turn(600.0, pauses_ms=((100, 300), (900, 300)), cut_ins_ms=(150,)),
        turn(350.0, Role.INTERRUPTION, barge_in_ms=200.0),
        turn(None, Role.INTERRUPTION, is_deaf=True),
        turn(None, Role.WAIT, is_wait_answered=True),
    ],
    asides=[aside(True), aside(False), aside(False), aside(False)],
    bus=Bus(hops_ms=[{"bus": 10, "playout.first_frame": 2, "llm.clause": 90}], drafts=5, hits=3, wasted_tokens=12),
    calls=2,
)


def test_the_numbers_of_a_run_keep_the_contract() -> None:
    numbers = numbers_of(RUN)
    assert numbers["n"] == 7  # a "hold on" wants no answer
    assert numbers["v2v_ms"] == {"p50": 400.0, "p95": 580.0, "p99": 596.0}
    assert numbers["cut_in_rate"] == 0.5
    assert numbers["unanswered"] == 1
    assert numbers["barge_in_ms"] == {"p50": 200.0, "p95": 200.0}
    assert numbers["false_stop_rate"] == 0.25
    assert numbers["speculation"] == {"hits": 3, "misses": 2, "wasted_tokens": 12}
    assert (numbers["interruptions"], numbers["interruptions_not_heard"]) == (2, 1)
    assert numbers["bus_and_router_ms"] == {"p50": 12.0, "p99": 12.0}
    assert numbers["waits"] == {"n": 1, "answered": 1}


def test_several_runs_give_the_median_their_spread_and_the_sum_of_what_must_not_happen() -> None:
    runs = [Run(turns=[turn(ms), turn(None, is_unanswered=True)]) for ms in (300.0, 500.0, 400.0)]
    numbers = over_runs(runs)
    assert numbers["v2v_ms"]["p50"] == 400.0
    assert numbers["spread"]["v2v_ms"]["p50"] == [300.0, 500.0]
    assert (numbers["n"], numbers["unanswered"]) == (6, 3)
    assert [run["v2v_ms"]["p50"] for run in numbers["runs"]] == [300.0, 500.0, 400.0]


def test_a_run_without_pauses_interruptions_or_asides_has_no_rate_of_them() -> None:
    numbers = over_runs([Run(turns=[turn()])])
    assert numbers["cut_in_rate"] is None
    assert numbers["false_stop_rate"] is None
    assert numbers["barge_in_ms"] == {"p50": None, "p95": None}
