"""Latency budget: where the time between the caller's last sound and the agent's first one goes."""

from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.aims import BROKEN_S, BUDGET_S, BUS_S, FRAME_S
from deploy.grafana.board import AMBER, RED, Board, Panel, Query, bars, curves, lines, traces
from deploy.grafana.promql import RANGE, mean, of, per_minute, quantile, rate, share

V2V = "halfbeat_v2v_seconds"
#: What was waited for: its hops follow each other, so they add up to voice to voice.
WAITED = "halfbeat_v2v_hop_seconds"
#: What the hops themselves took, also while nobody waited (a draft, words of a partial).
WORK = "halfbeat_hop_seconds"
OF_AN_ANSWER = "~endpoint|asr.flush|llm.*|tts.*|playout.*"
OF_AN_INTERRUPTION = "~barge_in.*"
BUDGET = lines((BUDGET_S, AMBER), (BROKEN_S, RED))


def board() -> Dashboard:
    """Returns the dashboard."""
    result = Board(
        "halfbeat-latency",
        "Latency budget",
        "For whoever makes slow calls fast: which hop spends the 600 ms of a turn, and where to look next. endpoint:"
        " was the caller finished? asr.flush: the last words. llm.clause: the answer's first clause. tts.first_audio:"
        " its first sound. bus: NATS and queues. playout.first_frame: the router.",
        instances=f"{WORK}_count",
        has_traces=True,
    )
    result.row("What a caller waited for", *_waited())
    result.row("Who spent it", *_spent())
    result.row("What the hops did meanwhile", *_work())
    result.row("One turn at a time", *_traces())
    return result.build()


def _waited() -> list[Panel]:
    return [
        curves(
            "Mean wait of a turn, hop by hop", "The parts are what was still waited for, so they add up to the mean"
            " voice to voice exactly. Amber from the budget of 600 ms, red from 700 ms.",
            Query(f"sum by (hop) (rate({of(f'{WAITED}_sum')}[$__rate_interval]))"
                  f" / on () group_left () {rate(f'{V2V}_count')}", "{{hop}}"),
            unit="s", stacking=StackingMode.NORMAL, levels=BUDGET, span=12, height=10,
        ),
        curves(
            "Voice to voice, with its traces", "Median, p95 and p99 of all answers. A dot is one turn: click it and"
            " follow its trace through all services.",
            Query(quantile(0.5, V2V), "median", has_exemplars=True),
            Query(quantile(0.95, V2V), "p95"), Query(quantile(0.99, V2V), "p99"),
            unit="s", levels=BUDGET, span=12, height=10, runbook="TurnsTooSlow",
        ),
        curves(
            "A usual turn: median of each hop", "Stacked for its shape. Medians do not add up exactly; the mean above"
            " does. A hop at 0 was ready before it was asked for: a draft was adopted.",
            Query(quantile(0.5, WAITED, "hop"), "{{hop}}"), unit="s", stacking=StackingMode.NORMAL, levels=BUDGET,
            span=12,
        ),
        curves(
            "A slow turn: p95 of each hop", "Stacked for its shape: an upper bound, as no turn is slow in every hop."
            " What is thick here and thin at the left is what makes the slow turns slow.",
            Query(quantile(0.95, WAITED, "hop"), "{{hop}}"), unit="s", stacking=StackingMode.NORMAL, levels=BUDGET,
            span=12,
        ),
    ]  # fmt: skip


def _spent() -> list[Panel]:
    over = "halfbeat_turns_over_budget_total"
    return [
        bars(
            "Mean wait for each hop", "Over the time shown. The longest bar is where a millisecond is found first.",
            Query(mean(WAITED, "hop", over=RANGE), "{{hop}}"), unit="s",
        ),
        curves(
            "Turns over their budget a minute, by who spent most", "Each turn that was slower than 600 ms counts once,"
            " under the hop that took the largest part of it.",
            Query(per_minute(over, "hop"), "{{hop}}"), unit="short", stacking=StackingMode.NORMAL,
            runbook="TurnsTooSlow",
        ),
        curves(
            "Hops that took their cheaper way, a minute", "With the budget nearly gone a hop saves time: partial words"
            " (asr.flush), an opener (llm.clause), a shorter first piece (tts.first_audio). It has too much to do.",
            Query(per_minute("halfbeat_missed_deadlines_total", "hop"), "{{hop}}"), unit="short",
            stacking=StackingMode.NORMAL,
        ),
    ]  # fmt: skip


def _work() -> list[Panel]:
    bus = {"hop": "bus"}
    return [
        curves(
            "Work of each hop, median", "How long the services themselves took for a turn, also where nobody waited"
            " because it was done ahead. They run side by side: no sum.",
            Query(quantile(0.5, WORK, "hop", hop=OF_AN_ANSWER), "{{hop}}"), unit="s",
        ),
        curves(
            "Work of each hop, p95", "The same for the slow ones.",
            Query(quantile(0.95, WORK, "hop", hop=OF_AN_ANSWER), "{{hop}}"), unit="s",
        ),
        curves(
            "Bus and router's share of a turn", "Transit both ways and queues, silence left out. Aims: median 15 ms,"
            " p99 40 ms. More is a busy loop or a busy NATS, not a slow model.",
            Query(quantile(0.5, WAITED, **bus), "median"), Query(quantile(0.99, WAITED, **bus), "p99"), unit="s",
            levels=lines((BUS_S[0], AMBER), (BUS_S[1], RED)),
        ),
        curves(
            "Event loop lag, p99 by service", "How late the loops of the services wake up. Read every latency beside"
            " it: above 20 ms the next frame is late, and all hops look slow together.",
            Query(quantile(0.99, "halfbeat_loop_lag_seconds", "job"), "{{job}}"), unit="s",
            levels=lines((FRAME_S, RED)), runbook="EventLoopLag",
        ),
        curves(
            "An opinion about the end of a turn", "Time for the turn detector's model, queueing included; the router"
            " waits 600 ms at most. It runs while silence is counted, so only a long one is felt.",
            Query(quantile(0.5, "halfbeat_router_turn_detector_seconds"), "median"),
            Query(quantile(0.95, "halfbeat_router_turn_detector_seconds"), "p95"), unit="s",
            levels=lines((BUDGET_S, RED)),
        ),
        curves(
            "From a stop to its end, p95 by service", "How long work goes on that a message has made void: an"
            " interrupted answer, a draft. It takes the engines from other calls.",
            Query(quantile(0.95, "halfbeat_stop_seconds", "service"), "{{service}}"), unit="s",
        ),
        curves(
            "Interruption: from voice to silence, hop by hop", "Means, which add up: detect is hearing the caller,"
            " judge deciding that they mean it, stop the audio on its way.",
            Query(mean(WORK, "hop", hop=OF_AN_INTERRUPTION), "{{hop}}"), unit="s", stacking=StackingMode.NORMAL,
            levels=lines((0.25, AMBER), (0.4, RED)), span=12,
        ),
        curves(
            "Answers ready when the turn was over", "Share of turns whose answer was a draft made while it was still"
            " open. Each saves the time of words, model and voice.",
            Query(share(rate("halfbeat_drafts_total", outcome="hit"), rate(f"{V2V}_count")), "adopted drafts"),
            unit="percentunit", span=12,
        ),
    ]  # fmt: skip


def _traces() -> list[Panel]:
    return [
        traces(
            "Turns that took longer than 700 ms", "From Tempo: open one to see every hop of it. The same in a terminal:"
            " halfbeat trace SID.", "{ name = \"turn\" && span.halfbeat.v2v_ms > 700 }",
        ),
    ]  # fmt: skip
