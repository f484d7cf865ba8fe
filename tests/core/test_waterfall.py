import asyncio
import io

from rich.console import Console

from halfbeat import telemetry, waterfall
from halfbeat.bus.memory import MemoryBroker
from halfbeat.record import Turn
from halfbeat.v1 import common_pb2


async def test_spans_of_a_turn_travel_over_the_bus_and_become_one_waterfall() -> None:
    stamp = common_pb2.Stamp(sid="s1", turn=3, epoch=1)
    async with MemoryBroker().connect("test") as bus:
        provider = telemetry.setup("router", "r1", bus)
        tracer = provider.get_tracer("test")
        attributes = {"halfbeat.sid": "s1", "halfbeat.turn": 3}
        root = tracer.start_span("turn", attributes=attributes, start_time=1_000_000_000)
        root.set_attribute("halfbeat.v2v_ms", 420)
        context = waterfall_context(root)
        child = tracer.start_span("asr.flush", context, attributes=attributes, start_time=1_100_000_000)
        child.end(1_250_000_000)
        root.end(2_000_000_000)
        unrelated = tracer.start_span("startup")
        unrelated.end()
        async with asyncio.timeout(5):
            spans: list[waterfall.Span] = []
            while len(spans) < 2:
                await asyncio.sleep(0)
                spans = [s async for p in bus.spans("s1") for s in waterfall.decode(p)]
        provider.shutdown()
    assert {s.name for s in spans} == {"turn", "asr.flush"}
    [turn] = waterfall.to_json(spans)
    assert turn["turn"] == stamp.turn
    assert [(s["name"], s["start_ms"], s["ms"]) for s in turn["spans"]] == [
        ("turn", 0.0, 1000.0),
        ("asr.flush", 100.0, 150.0),
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(waterfall.draw(spans))
    text = console.export_text()
    assert "turn 3" in text
    assert "420 ms" in text
    assert "+150 ms" in text


def waterfall_context(span: object) -> object:
    from opentelemetry import trace

    return trace.set_span_in_context(span)  # type: ignore[arg-type]


def test_work_for_a_revision_that_came_to_nothing_is_left_out_once_its_turn_is_done() -> None:
    def span(name: str, trace_id: str, turn: int) -> waterfall.Span:
        return waterfall.Span(name, "dialogue", trace_id, turn, revision=0, start_ns=0, end_ns=1_000_000)

    def drawn(*spans: waterfall.Span) -> str:
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(waterfall.draw(spans))
        return console.export_text()

    discarded = span("llm.clause", "a", 1)
    assert "llm.clause" in drawn(discarded), "it may still become the answer"
    assert "llm.clause" not in drawn(discarded, span("turn", "b", 1))
    assert "llm.clause" in drawn(span("turn", "b", 1), span("llm.clause", "b", 1))
    assert drawn(span("asr.flush", "c", 2)).strip() == ""


def test_an_answer_that_was_cut_says_what_was_heard_of_it_and_how_fast_it_was_silent() -> None:
    cut = Turn(1, clauses={0: "Okay,", 1: "a truck comes."}, heard_chars={0: 5, 1: 7}, played_ms=1240, trace_id="a")
    cut.is_interrupted, cut.barge_in_ms, cut.barge_in_hops_ms = True, 208, {"detect": 60, "judge": 108, "stop": 40}
    spans = [
        waterfall.Span("turn", "router", trace_id, turn, revision=0, start_ns=0, end_ns=1_000_000)
        for trace_id, turn in (("a", 1), ("b", 2))
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(waterfall.draw(spans, said=[cut, Turn(2, trace_id="b")]))
    text = console.export_text()
    assert "cut after 1.2 s, silent 208 ms after the caller's first sound; heard: Okay, a truck\n" in text
    assert text.count("cut") == 1
    assert [turn["cut"] for turn in waterfall.to_json(spans, [cut])] == [
        {
            "played_ms": 1240,
            "heard": "Okay, a truck",
            "barge_in_ms": 208,
            "barge_in_hops_ms": {"detect": 60, "judge": 108, "stop": 40},
        },
        None,
    ]
