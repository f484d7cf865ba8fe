"""Bus: is NATS healthy, and does every process read as fast as the others write?"""

from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.aims import BUS_S
from deploy.grafana.board import AMBER, RED, Board, Panel, Query, above, curves, lines, number
from deploy.grafana.promql import grown, of, per_minute, quantile, rate, share, total

DROPPED = "halfbeat_dropped_total"
DWELL = "halfbeat_bus_dwell_seconds"
#: Dropped by comparison, as designed: the message was void when it came.
STALE = "~stale_.*|duplicate"
#: Dropped because somebody could not keep up or the connection was gone.
LOST = "!~stale_.*|duplicate"
USED = share(total("gnatsd_varz_jetstream_stats_storage"), total("gnatsd_varz_jetstream_config_max_storage"))


def board() -> Dashboard:
    """Returns the dashboard."""
    result = Board(
        "halfbeat-bus",
        "Bus",
        "For whoever runs NATS: live calls go over core NATS, what must outlive them into JetStream. The first rows are"
        " NATS as it sees itself, the last one as the services see it.",
        instances="gnatsd_varz_connections|halfbeat_bus_reconnects_total",
    )
    result.row("Now", *_now())
    result.row("NATS", *_nats())
    result.row("JetStream: what outlives the call", *_jetstream())
    result.row("As the services see it", *_services())
    return result.build()


def _now() -> list[Panel]:
    return [
        number(
            "Connections", "Clients of NATS: every service process is one, operators' tools come and go.",
            Query(total("gnatsd_varz_connections")), unit="short",
        ),
        number(
            "Messages in", "Published a second. A call is 50 frames of the caller's, as many of the agent's while it"
            " speaks, and little else.",
            Query(f"sum(rate({of('gnatsd_varz_in_msgs')}[$__range]))"), unit="cps",
        ),
        number(
            "Slow consumers", "Connections that NATS has cut in the time shown because they did not read.",
            Query(grown("gnatsd_varz_slow_consumers")), unit="short", levels=above((0.5, RED)),
        ),
        number(
            "Waiting for readers", "Bytes that NATS holds for clients now. It cuts a client at 16 MB.",
            Query(total("gnatsd_connz_pending_bytes")), unit="bytes",
            levels=above((1_000_000, AMBER), (8_000_000, RED)),
        ),
        number(
            "JetStream store in use", "Share of the room for streams. When it is full, turns are no longer kept; calls"
            " go on.", Query(USED), unit="percentunit", levels=above((0.7, AMBER), (0.9, RED)),
        ),
        number(
            "Reconnects", "Times that a service lost NATS and found it again, in the time shown.",
            Query(grown("halfbeat_bus_reconnects_total")), unit="short", levels=above((0.5, AMBER)),
        ),
    ]  # fmt: skip


def _nats() -> list[Panel]:
    return [
        curves(
            "Messages a second", "in: published by services; out: delivered, once for each reader.",
            Query(rate("gnatsd_varz_in_msgs"), "in"), Query(rate("gnatsd_varz_out_msgs"), "out"), unit="cps",
        ),
        curves(
            "Bytes a second", "Audio makes most of it: 32 kB a second for each voice that is heard.",
            Query(rate("gnatsd_varz_in_bytes"), "in"), Query(rate("gnatsd_varz_out_bytes"), "out"), unit="Bps",
        ),
        curves(
            "Connections and subscriptions", "Subscriptions grow with the calls and go with them. If they stay, a"
            " process forgets to unsubscribe.", Query(total("gnatsd_varz_connections"), "connections"),
            Query(total("gnatsd_varz_subscriptions"), "subscriptions"), unit="short",
        ),
        curves(
            "Bytes that wait for slow readers", "What NATS holds because a client does not read. Normally 0 to some"
            " kB; a rising line ends in a cut connection at 16 MB.",
            Query(total("gnatsd_connz_pending_bytes", "instance"), "{{instance}}"), unit="bytes",
            levels=lines((1_000_000, AMBER), (8_000_000, RED)), runbook="NatsSlowConsumer",
        ),
        curves(
            "Slow consumers a minute", "Connections cut by NATS. The process behind one reconnects, and loses what"
            " came meanwhile.", Query(per_minute("gnatsd_varz_slow_consumers", "instance"), "{{instance}}"),
            unit="short", levels=lines((0.01, RED)), runbook="NatsSlowConsumer",
        ),
        curves(
            "Memory of NATS", "Resident memory of each server.", Query(of("gnatsd_varz_mem"), "{{instance}}"),
            unit="bytes",
        ),
    ]  # fmt: skip


def _jetstream() -> list[Panel]:
    return [
        curves(
            "Messages kept, by stream", "TURNS holds what was said and decided in every call, TRACES the spans of a"
            " day, KV_... the leases and states of calls. Each falls as its messages grow old.",
            Query(total("jetstream_stream_total_messages", "stream_name", is_stream_leader="true"), "{{stream_name}}"),
            unit="short",
        ),
        curves(
            "Bytes kept, by stream", "The same in bytes, of one copy.",
            Query(total("jetstream_stream_total_bytes", "stream_name", is_stream_leader="true"), "{{stream_name}}"),
            unit="bytes", stacking=StackingMode.NORMAL,
        ),
        curves(
            "Share of the store in use", "Over all servers. Give the streams a shorter life, or NATS a larger volume,"
            " before it is full.", Query(USED, "in use"), unit="percentunit", levels=lines((0.7, AMBER), (0.9, RED)),
            runbook="JetStreamFilling",
        ),
    ]  # fmt: skip


def _services() -> list[Panel]:
    return [
        curves(
            "How long messages waited in our own queues", "From their arrival to the code that wanted them, by lane:"
            " realtime is audio, control everything else. The share of bus and router in a turn should stay below"
            " 15 ms (median) and 40 ms (p99).",
            Query(quantile(0.5, DWELL, "lane"), "{{lane}} median"), Query(quantile(0.99, DWELL, "lane"),
            "{{lane}} p99"), unit="s", levels=lines((BUS_S[0], AMBER), (BUS_S[1], RED)),
        ),
        curves(
            "Messages lost a minute, by service and reason", "late and ring_full: the reader has too little CPU."
            " disconnected, buffer_full: NATS was away or slow. malformed, unknown_kind: versions that do not fit.",
            Query(per_minute(DROPPED, "job, reason", reason=LOST) + " or vector(0)", "{{job}} {{reason}}"),
            unit="short", levels=lines((1, AMBER)), runbook="AudioDropped",
        ),
        curves(
            "Messages lost a minute, by kind", "Which messages those were. Audio may be lost a little; control never.",
            Query(per_minute(DROPPED, "kind", reason=LOST) + " or vector(0)", "{{kind}}"), unit="short",
        ),
        curves(
            "Void messages dropped a minute, by reason", "As it should be: what an interruption or a new turn made"
            " void is recognised by its numbers and thrown away by its receiver.",
            Query(per_minute(DROPPED, "reason", reason=STALE) + " or vector(0)", "{{reason}}"), unit="short",
        ),
        curves(
            "Void or late at the router, a minute", "What the router itself threw away, by reason.",
            Query(per_minute("halfbeat_router_dropped_total", "reason"), "{{reason}}"), unit="short",
        ),
        curves(
            "Reconnects a minute, by service", "A process found NATS again after it was gone. All at once: NATS"
            " restarted. One alone: that process was cut off.",
            Query(per_minute("halfbeat_bus_reconnects_total", "job"), "{{job}}"), unit="short",
            levels=lines((0.01, AMBER)),
        ),
    ]  # fmt: skip
