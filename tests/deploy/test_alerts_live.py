"""The whole chain, for real: calls are held, something breaks, an alert fires and reaches who is to be told.

One system for all of it, in the order of an evening: a call goes well, the only slot is taken, callers are turned away,
the recogniser is killed.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from live_monitoring import SERVICES, Watched, until, watched

from halfbeat.caller.conversation import converse
from halfbeat.caller.phone import Line, Phone
from halfbeat.caller.transports import dial
from halfbeat.caller.voice import speak
from halfbeat.client import VoiceClient
from halfbeat.errors import AtCapacity
from halfbeat.v1 import session_pb2

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.models,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]
RATE_HZ = 24_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lines() -> list[Line]:
    return await speak(["Yes, nobody picked up our trash."], RATE_HZ)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory, lines: list[Line]) -> AsyncIterator[Watched]:
    async with watched(tmp_path_factory.mktemp("watched")) as started:
        phone = Phone(RATE_HZ)
        async with dial("grpc", started.running.grpc_target, phone, "+15550100143") as call:
            await converse(call, lines, limit_s=60, linger_s=3)
        assert phone.said, "the caller heard nothing"
        yield started


async def test_every_process_is_scraped_and_is_ready(system: Watched) -> None:
    async def ready() -> bool:
        return {labels["job"] for labels, value in await system.query("halfbeat_ready") if value} == set(SERVICES)

    await until(ready, "all four services say in Prometheus that they are ready")
    assert {labels["job"]: value for labels, value in await system.query("up")} == dict.fromkeys((*SERVICES, "nats"), 1)


async def test_what_rules_and_alerts_ask_of_nats_is_there(system: Watched) -> None:
    for expression in ("nats_up == 1", "gnatsd_varz_slow_consumers == 0", "halfbeat:jetstream_store_used:ratio < 0.8"):
        await until(lambda expression=expression: system.query(expression), f"{expression} has data")  # type: ignore[misc]


async def test_a_turns_spans_arrive_by_otlp_with_what_the_collector_samples_by(system: Watched) -> None:
    def spoken() -> list[tuple[bytes, int]]:
        return [
            (span.trace_id, attribute.value.int_value)
            for service, span in system.receivers.spans
            if (service, span.name) == ("router", "turn")
            for attribute in span.attributes
            if attribute.key == "halfbeat.v2v_ms"
        ]

    trace_id, v2v_ms = (await until(spoken, "a span `turn` with halfbeat.v2v_ms"))[0]
    assert 0 < v2v_ms < 5000
    wanted = {("asr", "asr.flush"), ("dialogue", "llm.clause"), ("tts", "tts.first_audio"), ("router", "turn")}

    def of_the_turn() -> bool:
        return wanted <= {(service, span.name) for service, span in system.receivers.spans if span.trace_id == trace_id}

    await until(of_the_turn, "spans of all four services in one trace")


async def test_an_exemplar_in_prometheus_leads_to_that_trace(system: Watched) -> None:
    found = await until(lambda: system.exemplars("halfbeat_v2v_seconds_bucket"), "Prometheus has stored an exemplar")
    traces = {span.trace_id.hex() for _, span in system.receivers.spans}
    assert {labels["trace_id"] for labels in found} <= traces
    hops = await until(lambda: system.exemplars('halfbeat_hop_seconds_bucket{job="asr"}'), "so has asr's hop")
    assert {labels["trace_id"] for labels in hops} <= traces


async def test_the_alerts_of_an_evening(system: Watched) -> None:
    await until(lambda: _all_quiet(system), "nothing fires while all is well")
    grpc = system.running.grpc_target
    async with VoiceClient(grpc) as client, client.converse(session_pb2.SessionConfig()):
        free = await until(lambda: system.query('halfbeat:slots_free:sum{job="asr"} == 0'), "no slot of asr is free")
        assert len(free) == 1
        ticket = await until(
            lambda: system.receivers.notified.get(("ticket", "NoFreeSlots")), "a ticket for NoFreeSlots"
        )
        assert ticket["labels"]["job"] == "asr"
        _is_usable(ticket)

        for _ in range(4):
            with pytest.raises(AtCapacity):
                async with VoiceClient(grpc) as other, other.converse(session_pb2.SessionConfig()):
                    pass
        page = await until(lambda: system.receivers.notified.get(("page", "CallsFailing")), "a page for CallsFailing")
        assert page["labels"]["severity"] == "page"
        _is_usable(page)

        async def kept_back() -> bool:
            states = {a["labels"]["alertname"]: a["status"] for a in await system.alerts()}
            return bool(states.get("CallsRefused", {}).get("inhibitedBy"))

        await until(kept_back, "CallsRefused is kept back: somebody looks at CallsFailing already")

        system.running.children["asr"].process.kill()
        gone = await until(lambda: system.receivers.notified.get(("page", "ServiceAbsent")), "a page for ServiceAbsent")
        assert gone["labels"]["job"] == "asr"
        _is_usable(gone)
        failed = 'halfbeat_calls_total{outcome="failed", cause="unavailable"} == 1'
        assert len(await until(lambda: system.query(failed), "the call that was held has failed")) == 1
    [line] = [line for line in system.log_of("router") if line["message"].startswith("the call fails")]
    assert line["sid"]
    assert "asr" in line["message"]


async def _all_quiet(system: Watched) -> bool:
    return not await system.query('ALERTS{alertstate="firing"}') and bool(await system.query("halfbeat:slots_free:sum"))


def _is_usable(alert: dict[str, dict[str, str]]) -> None:
    """Templates were filled in, and the links are there."""
    notes = alert["annotations"]
    assert notes["runbook_url"].endswith(f"/{alert['labels']['alertname']}.md")
    assert "First:" in notes["description"]
    assert "<error" not in notes["description"] + notes["summary"]
    assert "{{" not in notes["description"] + notes["summary"]
    assert alert["labels"]["cluster"] == "compose"
