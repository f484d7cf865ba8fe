"""What alerts and autoscaling count on: what became of calls, turns over their budget, missed deadlines, exemplars."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import REGISTRY
from prometheus_client.openmetrics import exposition
from scene import FakeDialogue, Scene, Script

from halfbeat import subjects, telemetry
from halfbeat.clock import run_virtual
from halfbeat.errors import AtCapacity, EngineFailed, InvalidRequest, Unavailable
from halfbeat.v1 import dialogue_pb2, turn_pb2
from services.router import edge


def play(scenario: Callable[[Scene], Awaitable[None]], script: Script | None = None, **settings: object) -> None:
    async def run() -> None:
        async with asyncio.timeout(600), Scene(script, **settings) as scene:  # type: ignore[arg-type]
            await scenario(scene)

    run_virtual(run())


@pytest.fixture
def counted() -> Callable[..., float]:
    """How much a counter has grown since the test began."""

    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    start = {(s.name, *sorted(s.labels.items())): s.value for metric in REGISTRY.collect() for s in metric.samples}
    return lambda name, **labels: value(name, **labels) - start.get((name, *sorted(labels.items())), 0.0)


def calls(counted: Callable[..., float], outcome: str, cause: str = "") -> float:
    return counted("halfbeat_calls_total", outcome=outcome, cause=cause)


def test_a_call_that_its_caller_ends_is_completed(counted: Callable[..., float]) -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await line.speak(1000)
        await line.until(edge.TurnDone)
        await line.hang_up()

    play(scenario)
    assert calls(counted, "completed") == 1


def test_a_call_that_no_worker_had_a_slot_for_is_refused_at_capacity(counted: Callable[..., float]) -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        with pytest.raises(AtCapacity):
            await scene.dial()
        await line.hang_up()

    play(scenario, slots=1)
    assert calls(counted, "refused", "at_capacity") == 1
    full = {"service": "asr", "code": "ERROR_CODE_AT_CAPACITY"}
    assert counted("halfbeat_errors_total", **full) > 0, "the service that is full says so itself"
    own = {"service": "router", "code": "ERROR_CODE_AT_CAPACITY"}
    assert counted("halfbeat_errors_total", **own) == 0, "more routers would not help"


def test_a_call_that_a_missing_service_prevents_is_refused_as_unavailable(counted: Callable[..., float]) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.workers["tts"].drain()
        with pytest.raises(Unavailable):
            await scene.dial()

    play(scenario)
    assert calls(counted, "refused", "unavailable") == 1


def test_a_call_with_a_wrong_request_is_rejected_not_refused(counted: Callable[..., float]) -> None:
    async def scenario(scene: Scene) -> None:
        with pytest.raises(InvalidRequest):
            await scene.dial(edge.EdgeFormat(sample_rate_hz=11_025))

    play(scenario)
    assert calls(counted, "rejected", "invalid") == 1
    assert calls(counted, "refused", "invalid") == 0


def test_a_call_whose_worker_dies_has_failed(counted: Callable[..., float]) -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await scene.workers["asr"].__aexit__(None, None, None)
        await line.until(edge.Ended)

    play(scenario)
    assert calls(counted, "failed", "unavailable") == 1
    assert calls(counted, "completed") == 0


def test_a_call_that_a_stopping_router_cuts_off_has_failed(counted: Callable[..., float]) -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await scene.calls.aclose()
        await line.until(edge.Ended)

    play(scenario)
    assert calls(counted, "failed", "unavailable") == 1


def test_a_call_that_its_client_does_not_read_is_abandoned(counted: Callable[..., float]) -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        line.task.cancel()
        for _ in range(1000):
            line.call.tell(edge.SpeechStarted(1, 0))
        await asyncio.sleep(1)

    play(scenario)
    assert calls(counted, "abandoned", "timed_out") == 1
    assert calls(counted, "failed", "timed_out") == 0


def test_a_slow_turn_is_over_budget_by_the_hop_that_took_longest(counted: Callable[..., float]) -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await line.speak(1000)
        await line.until(edge.TurnDone)
        await line.hang_up()

    play(scenario, Script(clause_s=1.5), speculates=False)
    assert counted("halfbeat_turns_over_budget_total", hop="llm.clause") == 1


def test_a_quick_turn_is_not(counted: Callable[..., float]) -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await line.speak(1000)
        await line.until(edge.TurnDone)
        await line.hang_up()

    play(scenario, Script(clause_s=0.05, asr_s=0.02), budget_ms=2000)
    grown = [
        s
        for metric in REGISTRY.collect()
        if metric.name == "halfbeat_turns_over_budget"
        for s in metric.samples
        if s.name.endswith("_total") and counted(s.name, **s.labels)
    ]
    assert not grown


def test_a_hop_that_took_its_cheaper_way_has_missed_its_deadline(counted: Callable[..., float]) -> None:
    async def hurried(dialogue: FakeDialogue, commit: turn_pb2.TurnCommitted) -> None:
        await dialogue.say(commit.stamp, 0, "Okay,")
        done = dialogue_pb2.AnswerDone(stamp=commit.stamp, clauses=1, is_over_budget=True)
        await dialogue.bus.publish(subjects.DIALOGUE_DONE, done)

    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await line.speak(1000)
        await line.until(edge.TurnDone)
        await line.hang_up()

    play(scenario, Script(on_commit=hurried))
    assert counted("halfbeat_missed_deadlines_total", hop="llm.clause") == 1


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry.trace, "get_tracer", lambda _: provider.get_tracer("halfbeat"))
    return exporter


def test_v2v_leads_to_the_trace_of_its_turn_and_the_turn_says_how_slow_it_was(spans: InMemorySpanExporter) -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await line.speak(1000)
        await line.until(edge.TurnDone)
        await line.hang_up()

    play(scenario)
    [turn] = [span for span in spans.get_finished_spans() if span.name == "turn"]
    assert turn.attributes is not None
    assert int(turn.attributes["halfbeat.v2v_ms"]) > 0
    assert turn.status.status_code is StatusCode.UNSET
    shown = exposition.generate_latest(REGISTRY).decode()
    trace_id = f"{turn.context.trace_id:032x}"
    for name in ("halfbeat_v2v_seconds_bucket", "halfbeat_hop_seconds_bucket"):
        assert any(f'trace_id="{trace_id}"' in line for line in shown.splitlines() if line.startswith(name)), name


def test_a_turn_whose_answer_failed_has_a_failed_span(spans: InMemorySpanExporter) -> None:
    async def failing(dialogue: FakeDialogue, commit: turn_pb2.TurnCommitted) -> None:
        error = EngineFailed("the model is gone").to_message()
        await dialogue.bus.publish(
            subjects.DIALOGUE_DONE, dialogue_pb2.AnswerDone(stamp=commit.stamp, clauses=0, error=error)
        )

    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await line.speak(1000)
        await line.until(edge.TurnDone)
        await line.hang_up()

    play(scenario, Script(on_commit=failing))
    [turn] = [span for span in spans.get_finished_spans() if span.name == "turn"]
    assert turn.status.status_code is StatusCode.ERROR
