"""Capacity: how many more calls fit, and what runs out first."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.aims import FRAME_S, HOP_S, SLOTS_USED
from deploy.grafana.board import AMBER, RED, Board, Panel, Query, above, bars, curves, lines, number
from deploy.grafana.promql import grown, of, per_minute, quantile, rate, share, total

ACTIVE, SLOTS = "halfbeat_active_sessions", "halfbeat_capacity_sessions"
ERRORS = "halfbeat_errors_total"
FULL = {"code": "ERROR_CODE_AT_CAPACITY"}
#: What a process that drains still shows as slots, nobody can have.
DRAINS = "halfbeat_drain_deadline_timestamp_seconds"


def board() -> Dashboard:
    """Returns the dashboard."""
    result = Board(
        "halfbeat-capacity",
        "Capacity",
        "For whoever sizes and scales: slots admit calls, so slots are what to scale on; loop lag and late messages"
        " say whether a slot is worth what it promises. Each service is scaled alone.",
        instances=SLOTS,
    )
    result.row("How many more calls fit", *_left())
    result.row("Slots", *_slots())
    result.row("Refused, late, torn: what too little capacity does", *_signs())
    result.row("Machines", *_machines())
    return result.build()


def _left() -> list[Panel]:
    free = f"{of(SLOTS)} - on (job, instance, service) {of(ACTIVE)}"
    open_now = f"({free}) * on (job, instance) group_left () ({of(DRAINS)} == bool 0)"
    return [
        number(
            "More calls that fit now", "Free slots of the service that has fewest: one call takes one slot of each."
            " Processes that drain are left out.", Query(f"min(sum by (service) ({open_now}))"), unit="short",
            levels=[(None, RED), (1, AMBER), (5, "green")],
        ),
        bars(
            "Slots in use", "Share of each service's slots. Scale out before 70 %: a new process needs its models"
            " first.", Query(share(total(ACTIVE, "service"), total(SLOTS, "service")), "{{service}}"),
            unit="percentunit", levels=above((SLOTS_USED[0], AMBER), (SLOTS_USED[1], RED)), most=1, span=8, height=4,
        ),
        bars(
            "Processes", "Replicas of each service that can be seen.",
            Query(f"count by (service) ({of(SLOTS)})", "{{service}}"), unit="short", span=8, height=4,
        ),
        number(
            "Calls refused", "In the time shown, for want of a slot or a worker.",
            Query(grown("halfbeat_calls_total", outcome="refused")), unit="short", levels=above((0.5, RED)),
        ),
    ]  # fmt: skip


def _slots() -> list[Panel]:
    return [
        curves(
            "Slots in use, by service", "Sessions held now. All services hold the same calls: where one shows more,"
            " it has not been told that a call is over.", Query(total(ACTIVE, "service"), "{{service}}"), unit="short",
        ),
        curves(
            "Share of the slots in use, by service", "The signal of the autoscaler. Amber from 70 %, red from 90 %.",
            Query(share(total(ACTIVE, "service"), total(SLOTS, "service")), "{{service}}"), unit="percentunit",
            levels=lines((SLOTS_USED[0], AMBER), (SLOTS_USED[1], RED)), runbook="NoFreeSlots",
        ),
        curves(
            "Processes, by service", "Replicas over time: does scaling follow the calls, and does it wait for calls"
            " to end before it scales down?", Query(f"count by (service) ({of(SLOTS)})", "{{service}}"), unit="short",
        ),
        curves(
            "Free slots, by process", "Where calls go next is by bid, not by number: some difference is normal, a"
            " process that stays empty is not.",
            Query(f"{of(SLOTS)} - on (job, instance, service) {of(ACTIVE)}", "{{service}} {{instance}}"), unit="short",
            span=12,
        ),
        curves(
            "Processes that take calls, and that drain", "ready: started and on the bus. draining: takes no new calls"
            " and waits for its own to end.",
            Query(f"sum by (job) ({of('halfbeat_ready')})", "{{job}} ready"),
            Query(f"sum by (job) ({of(DRAINS)} > bool 0)", "{{job}} draining"), unit="short", span=12,
            runbook="DrainStuck",
        ),
    ]  # fmt: skip


def _signs() -> list[Panel]:
    return [
        curves(
            "Sessions refused a minute, by service", "Workers that had no slot when asked. The router asks the next"
            " one, so this rises before callers are refused.",
            Query(per_minute(ERRORS, "service", **FULL), "{{service}}"), unit="short", levels=lines((0.01, AMBER)),
            runbook="CallsRefused",
        ),
        curves(
            "Language model: requests that wait", "Answers in the model server's own queue: vLLM's and llama.cpp's."
            " A first token cannot come before its turn; scale the model server on this.",
            Query(f"sum by (job) ({of('vllm:num_requests_waiting')})", "{{job}} vLLM"),
            Query(f"sum by (job) ({of('llamacpp:requests_deferred')})", "{{job}} llama.cpp"), unit="short",
            levels=lines((1, AMBER)), runbook="LlmSlow",
        ),
        curves(
            "Event loop lag, p99 by service", "How late the loops wake up. From 20 ms, a frame's length, on the slots"
            " promise more than the machine can hold: lower them or add cores.",
            Query(quantile(0.99, "halfbeat_loop_lag_seconds", "job"), "{{job}} p99"),
            Query(quantile(0.5, "halfbeat_loop_lag_seconds", "job"), "{{job}} median"), unit="s",
            levels=lines((FRAME_S, RED)), runbook="EventLoopLag",
        ),
        curves(
            "Messages too late or without room, a minute", "Audio that waited longer than it was worth, or found its"
            " queue full: the receiver has too little CPU.",
            Query(per_minute("halfbeat_dropped_total", "job, reason", reason="~late|ring_full") + " or vector(0)",
                  "{{job}} {{reason}}"), unit="short",
        ),
        curves(
            "Gaps in the agent's speech, a minute", "Words that were torn, and pauses that were not meant: tts or the"
            " machine cannot keep up with real time.",
            Query(per_minute("halfbeat_router_underruns_total", "where"), "{{where}}"), unit="short",
            levels=lines((0.5, AMBER)),
        ),
        curves(
            "Errors a minute, by service and kind", "All kinds but a full process, which is above.",
            Query(f'60 * sum by (service, code) (rate({of(ERRORS, code="!" + FULL["code"])}[$__rate_interval]))',
                  "{{service}} {{code}}"), unit="short",
        ),
    ]  # fmt: skip


def _machines() -> list[Panel]:
    return [
        curves(
            "CPU of each process, in cores", "With the slots in use beside it: what one call costs here.",
            Query(f"rate({of('process_cpu_seconds_total')}[$__rate_interval])", "{{job}} {{instance}}"), unit="short",
        ),
        curves(
            "Memory of each process", "Resident. Models make most of it; it should not grow with calls that are over.",
            Query(of("process_resident_memory_bytes"), "{{job}} {{instance}}"), unit="bytes",
        ),
        curves(
            "CPU of one call at the router, in cores", "The router's CPU by the calls it holds: the number to size"
            " routers with. Without calls there is none.",
            Query(f'{rate("process_cpu_seconds_total", job="router")} / ({total(ACTIVE, service="router")} > 0)',
                  "cores a call"), unit="none",
        ),
        curves(
            "Echo canceller: time for 10 ms of all calls", "Above 10 ms the router cannot keep up with its calls; the"
            " first thing to run out on a small router.",
            Query(quantile(0.99, "halfbeat_router_cleaning_seconds", "instance"), "{{instance}} p99"), unit="s",
            levels=lines((HOP_S, RED)), span=12,
        ),
        curves(
            "Calls for which audio is cleaned", "Pieces of 10 ms a second, as calls: those with the echo canceller"
            " on. Browsers bring their own.",
            Query(f"{rate('halfbeat_router_cleaned_hops_total', 'instance')} / 100", "{{instance}}"), unit="short",
            span=12,
        ),
    ]  # fmt: skip
