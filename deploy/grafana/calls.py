"""Calls: does it feel like talking to a person, and are all callers served?"""

from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.aims import ANSWERED_IN_TIME, BARGE_IN_S, BROKEN_S, BUDGET_S, CUT_IN, HOP_S, HUMAN_S
from deploy.grafana.board import (
    AMBER,
    CLEAR,
    GREEN,
    RED,
    Board,
    Panel,
    Query,
    above,
    below,
    curves,
    heat,
    lines,
    number,
)
from deploy.grafana.promql import RANGE, WINDOW, grown, of, per_minute, quantile, rate, share, total

V2V = "halfbeat_v2v_seconds"
TURNS = "halfbeat_turns_total"
CALLS = "halfbeat_calls_total"
OVERLAPS = "halfbeat_router_overlaps_total"
#: How people answer, our budget, and where a call feels broken.
V2V_BANDS = lines((HUMAN_S[0], GREEN), (HUMAN_S[1], CLEAR), (BUDGET_S, AMBER), (BROKEN_S, RED))


def _within(seconds: float, over: float | None = None) -> str:
    """Turns answered within so many seconds, but not within `over`, per second."""
    slower = rate(f"{V2V}_bucket", le=str(seconds))
    return slower if over is None else f"{slower} - {rate(f'{V2V}_bucket', le=str(over))}"


def board() -> Dashboard:
    """Returns the dashboard."""
    result = Board(
        "halfbeat-calls",
        "Calls",
        "For whoever answers for the calls: do answers come as fast as a person's, do callers and agent take turns as"
        " people do, is anybody turned away? All of it as the router sees it.",
        instances="halfbeat_router_calls_total",
    )
    result.row("Now", *_now())
    result.row("Voice to voice: the caller's last sound to the agent's first", *_voice_to_voice())
    result.row("Who is served", *_served())
    result.row("Taking turns", *_turns())
    result.row("Interruptions", *_interruptions())
    return result.build()


def _now() -> list[Panel]:
    in_time = share(grown(f"{V2V}_bucket", le=str(BROKEN_S)), grown(f"{V2V}_count"))
    return [
        number(
            "Turns answered within 700 ms", "Share of turns that the agent answered before the call felt broken."
            " The service level objective is 99 %.", Query(in_time), unit="percentunit",
            levels=below((0.95, AMBER), (ANSWERED_IN_TIME, GREEN)),
        ),
        number(
            "Median voice to voice", "Half of the answers came faster. People take 200 to 300 ms; the budget is"
            " 600 ms.", Query(quantile(0.5, V2V, over=RANGE)), unit="s",
            levels=above((BUDGET_S, AMBER), (BROKEN_S, RED)),
        ),
        number(
            "Slowest 5 % begin at", "The 95th percentile of voice to voice. It should stay below 700 ms.",
            Query(quantile(0.95, V2V, over=RANGE)), unit="s", levels=above((BUDGET_S, AMBER), (BROKEN_S, RED)),
        ),
        number(
            "Calls in progress", "Calls that routers hold at this moment.",
            Query(total("halfbeat_active_sessions", service="router")), unit="short",
        ),
        number(
            "Callers turned away", "Calls refused in the time shown for want of a slot or a worker. Each was a person"
            " who heard nothing.", Query(grown(CALLS, outcome="refused")), unit="short", levels=above((0.5, RED)),
        ),
        number(
            "Answers that failed", "Turns that ended without an answer because an engine or a worker failed.",
            Query(grown(TURNS, end="failed")), unit="short", levels=above((0.5, RED)),
        ),
    ]  # fmt: skip


def _voice_to_voice() -> list[Panel]:
    in_time = share(rate(f"{V2V}_bucket", le=str(BROKEN_S)), rate(f"{V2V}_count"))
    return [
        heat(
            "Every answer by how long its caller waited",
            "Each column is a moment, each cell a span of waiting time, its colour the number of turns. People answer"
            " within the two cells of 0.2 to 0.3 s; the budget ends at 0.6 s; above 0.7 s a call feels broken. All"
            " four are edges of cells. Dots are single turns: click one for its trace.",
            Query(f"sum by (le) (increase({of(f'{V2V}_bucket')}[{WINDOW}]))", "{{le}}", has_exemplars=True), unit="s",
        ),
        curves(
            "Median and slowest answers, beside a person's",
            "Green band: how people answer (200 to 300 ms). Amber from the budget of 600 ms, red from 700 ms, where a"
            " call feels broken. Dots lead to the trace of a turn.",
            Query(quantile(0.5, V2V), "median", has_exemplars=True), Query(quantile(0.95, V2V), "p95"),
            Query(quantile(0.99, V2V), "p99"), unit="s", levels=V2V_BANDS, span=12, height=10,
            runbook="TurnsTooSlow",
        ),
        curves(
            "How answers felt to callers", "Turns by the time their caller waited, as shares of all. What grows from"
            " below is good.", Query(_within(0.3), "like a person (to 0.3 s)"),
            Query(_within(0.6, 0.3), "in the budget (to 0.6 s)"), Query(_within(0.7, 0.6), "late (to 0.7 s)"),
            Query(f"{rate(f'{V2V}_count')} - {rate(f'{V2V}_bucket', le=str(BROKEN_S))}", "broken (longer)"),
            unit="short", stacking=StackingMode.PERCENT, span=12,
        ),
        curves(
            "Share of turns answered within 700 ms", "The objective is 99 %; what is missing to it is the error budget"
            " that the alert watches.", Query(in_time, "within 700 ms"), unit="percentunit",
            levels=[(None, RED), (0.95, AMBER), (ANSWERED_IN_TIME, CLEAR)], span=12, runbook="TurnsTooSlow",
        ),
    ]  # fmt: skip


def _served() -> list[Panel]:
    return [
        curves(
            "Calls in progress, by router", "What each router holds, and the slots of all of them as the upper line.",
            Query(total("halfbeat_active_sessions", "instance", service="router"), "{{instance}}"),
            Query(total("halfbeat_capacity_sessions", service="router"), "slots of all routers"), unit="short",
        ),
        curves(
            "Calls ended a minute, by who ended them", "caller and agent hang up as people do; timeout is a silent"
            " line; client one that did not read; router is a call that we could not go on with.",
            Query(per_minute("halfbeat_router_calls_total", "by"), "{{by}}"), unit="short",
            stacking=StackingMode.NORMAL, runbook="CallsFailing",
        ),
        curves(
            "Callers turned away a minute", "refused: no slot or no worker, which asks for more capacity; rejected:"
            " the caller's program asked for what cannot be. Below, connections that did not become calls.",
            Query(per_minute(CALLS, "outcome, cause", outcome="~refused|rejected"), "call {{outcome}}: {{cause}}"),
            Query(per_minute("halfbeat_edge_refused_total", "reason"), "connection: {{reason}}"), unit="short",
            runbook="CallsRefused",
        ),
        curves(
            "Connections, by edge", "Open connections of telephone numbers (twilio), API clients (realtime) and"
            " programs (grpc).", Query(total("halfbeat_edge_connections", "edge"), "{{edge}}"), unit="short",
            stacking=StackingMode.NORMAL, span=12,
        ),
        curves(
            "What callers' programs did wrong, a minute", "Messages an edge could not use, and connections cut because"
            " the client did not read. Nothing here is ours to fix, unless all clients do it.",
            Query(per_minute("halfbeat_edge_bad_input_total", "edge, reason") + " or vector(0)",
                  "{{edge}} {{reason}}"),
            Query(per_minute("halfbeat_edge_stuck_total", "edge") + " or vector(0)", "{{edge}} did not read"),
            unit="short", span=12,
        ),
    ]  # fmt: skip


def _turns() -> list[Panel]:
    committed = "halfbeat_router_endpoints_total"
    return [
        curves(
            "Turns a minute, by how their answer ended", "heard: to its end; cut: interrupted; resumed: taken back"
            " before it sounded, as the caller went on; failed: there was none.",
            Query(per_minute(TURNS, "end"), "{{end}}"), unit="short", stacking=StackingMode.NORMAL,
            runbook="AnswersFailing",
        ),
        curves(
            "Answers begun into a pause", "Share of turns that were reopened because their caller was only pausing:"
            " the agent had taken the floor too early. The aim is 5 % at most; to wait longer costs voice to voice.",
            Query(share(rate(TURNS, end="resumed"), rate(TURNS)), "reopened"), unit="percentunit",
            levels=lines((CUT_IN, RED)),
        ),
        curves(
            "Why turns were taken for over, a minute", "detector: sound and words were sure; silence: patience ran"
            " out; limit: a turn without an end; client: the program said so.",
            Query(per_minute(committed, "cause", kind="committed"), "{{cause}}"), unit="short",
            stacking=StackingMode.NORMAL,
        ),
    ]  # fmt: skip


def _interruptions() -> list[Panel]:
    stop = quantile(0.95, "halfbeat_barge_in_seconds")
    return [
        curves(
            "How soon the agent is silent when interrupted", "From the caller's first voiced sample to silence at"
            " their end. Aims: median 250 ms, p95 400 ms.",
            Query(quantile(0.5, "halfbeat_barge_in_seconds"), "median"), Query(stop, "p95"), unit="s",
            levels=lines((BARGE_IN_S[0], AMBER), (BARGE_IN_S[1], RED)),
        ),
        curves(
            "What callers' sounds over the agent came to, a minute", "barge_in stopped it. All others let it go on:"
            " backchannel (mm-hm), noise, click, faint, dropped (no words); limit was muted without a verdict.",
            Query(per_minute(OVERLAPS, "outcome"), "{{outcome}}"), unit="short", stacking=StackingMode.NORMAL,
        ),
        curves(
            "Share of sounds over the agent that stopped it", "Rises when noise or echo is taken for an interruption,"
            " falls when callers cannot get through. Compare with its own past.",
            Query(share(rate(OVERLAPS, outcome="barge_in"), rate(OVERLAPS)), "stopped it"), unit="percentunit",
        ),
        curves(
            "Answers made void a minute, by why", "barge_in: interrupted; resumed: the caller went on before it"
            " sounded; cancelled: the call or the client ended it.",
            Query(per_minute("halfbeat_router_barge_ins_total", "cause"), "{{cause}}"), unit="short",
            stacking=StackingMode.NORMAL,
        ),
        curves(
            "Gaps in the agent's speech, a minute", "in_clause: a word was torn, because audio came late."
            " between_clauses: a pause that was not meant.",
            Query(per_minute("halfbeat_router_underruns_total", "where"), "{{where}}"), unit="short",
            levels=lines((0.5, AMBER)),
        ),
        curves(
            "Time to clean 10 ms of callers' audio", "Echo and noise are taken out of all calls together; above 10 ms"
            " it cannot keep up and audio waits.",
            Query(quantile(0.5, "halfbeat_router_cleaning_seconds"), "median"),
            Query(quantile(0.99, "halfbeat_router_cleaning_seconds"), "p99"), unit="s", levels=lines((HOP_S, RED)),
        ),
    ]  # fmt: skip
