"""The dialogue service on an in-memory bus with a scripted model."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from dialogue_bus import SID, dialogue
from prometheus_client import REGISTRY

from halfbeat import subjects
from halfbeat.application import Application, Call, Context, ToolResult
from halfbeat.clock import run_virtual
from halfbeat.errors import EngineFailed, Unavailable
from halfbeat.v1 import asr_pb2, common_pb2, dialogue_pb2, session_pb2
from services.dialogue.engine import AgentSaid, CallDelta, CallerSaid, Prompt, ToolRan, Usage
from services.dialogue.engines.scripted import Line, Scripted


def pizzeria(gate: asyncio.Event | None = None) -> tuple[Application, list[str]]:
    app, orders = Application("pizza", "You sell pizza.", apology="Oh dear.", fallback="No idea."), list[str]()

    @app.context
    async def context(call: Call) -> Context:
        return Context("Pizza here. What would you like?", (f"The caller's number is {call.caller.number}.",))

    @app.tool(filler="One moment.", when=lambda call: not call.data.get("is_ordered"))
    async def order(call: Call, size: str) -> ToolResult:
        """The caller orders."""
        if gate is not None:
            await gate.wait()
        orders.append(size)
        call.data["is_ordered"] = True
        return ToolResult({"size": size}, say=f"One {size} pizza, ready in 20 minutes.")

    @app.tool()
    async def look_up(call: Call) -> ToolResult:
        """The caller asks for the price."""
        return ToolResult({"price": 12})

    @app.tool()
    async def broken(call: Call) -> str:
        """It never works."""
        raise RuntimeError("no oven")

    @app.tool(cancel_on_barge_in=True)
    async def bye(call: Call) -> ToolResult:
        """The caller is done."""
        call.hang_up()
        return ToolResult(say="Goodbye!")

    return app, orders


def script(prompt: Prompt) -> Iterable[Line]:
    """A model that understands key words."""
    last = prompt.items[-1]
    if isinstance(last, ToolRan):
        return [f"It says {json.loads(last.result_json or '')['price']} dollars."]
    said = last.text if isinstance(last, CallerSaid) else ""
    answers: dict[str, list[Line]] = {
        "large": ["Sure, ", CallDelta("", "order", '{"size": "large"}')],
        "bad": [CallDelta("", "order", '{"colour": "red"}')],
        "fly": [CallDelta("", "fly", "{}")],
        "price": [CallDelta("", "look_up", "{}")],
        "broken": [CallDelta("", "broken", "{}")],
        "bye": [CallDelta("", "bye", "{}")],
        "fail": [EngineFailed("boom")],
        "weather": ["I can ask. "],
    }
    return next((lines for word, lines in answers.items() if word in said), ["Sorry, what was that?"])


def outcome(tool: str, kind: str) -> float:
    return REGISTRY.get_sample_value("halfbeat_tool_calls_total", {"tool": tool, "outcome": kind}) or 0.0


async def eventually(condition: Callable[[], Awaitable[bool]], limit_s: float = 5.0) -> None:
    """Returns once the condition holds; fails when it does not in time."""
    async with asyncio.timeout(limit_s):
        while not await condition():  # noqa: ASYNC110 - other tasks make it true, and none has an event
            await asyncio.sleep(0.005)


async def test_a_whole_call_opens_orders_tells_the_price_and_hangs_up() -> None:
    app, orders = pizzeria()
    engine = Scripted(script)
    async with dialogue(engine, app) as router:
        assert not (await router.open(caller_number="+15550100142")).HasField("error")
        assert await router.say(0, "", is_prompted=True) == "Pizza here. What would you like?"
        assert await router.say(1, "a large one") == "Sure, One large pizza, ready in 20 minutes."
        assert await router.say(2, "and the price?") == "It says 12 dollars."
        assert await router.say(3, "bye") == "Goodbye!"
    assert orders == ["large"]
    assert [done.hangs_up for done in router.of(dialogue_pb2.AnswerDone)] == [False, False, False, True]
    assert engine.prompts[0].facts == ("The caller's number is +15550100142.",)
    assert engine.prompts[1].items[:2] == [
        AgentSaid("Pizza here. What would you like?"),
        CallerSaid("a large one"),
    ]


async def test_every_tool_call_is_logged_with_its_key_and_its_result() -> None:
    app, _ = pizzeria()
    async with dialogue(Scripted(script), app) as router:
        await router.open()
        await router.say(1, "a large one")
        await router.until(lambda: router.of(dialogue_pb2.ToolResult))
    call, result = router.of(dialogue_pb2.ToolCall)[0], router.of(dialogue_pb2.ToolResult)[0]
    assert (call.name, json.loads(call.arguments_json)) == ("order", {"size": "large"})
    assert call.idempotency_key.startswith(f"{SID}:order:")
    assert result.call_id == call.call_id
    assert json.loads(result.result_json)["size"] == "large"


async def test_failed_tools_are_apologised_for_and_counted_by_kind() -> None:
    app, _ = pizzeria()
    before = {kind: outcome(tool, kind) for tool, kind in FAILURES.values()}
    async with dialogue(Scripted(script), app) as router:
        await router.open()
        for turn, words in enumerate(FAILURES, 1):
            assert await router.say(turn, words) == "Oh dear."
    assert all(done.error.code == common_pb2.ERROR_CODE_TOOL for done in router.of(dialogue_pb2.AnswerDone))
    assert {kind: outcome(tool, kind) - before[kind] for tool, kind in FAILURES.values()} == dict.fromkeys(before, 1.0)


FAILURES = {
    "bad arguments": ("order", "invalid_arguments"),
    "fly": ("unknown", "unknown"),
    "broken": ("broken", "raised"),
}


async def test_a_model_that_fails_is_apologised_for_and_the_call_goes_on() -> None:
    app, _ = pizzeria()
    async with dialogue(Scripted(script), app) as router:
        await router.open()
        assert await router.say(1, "fail") == "Oh dear."
        assert await router.say(2, "hello") == "Sorry, what was that?"
    assert router.done(1)[0].error.code == common_pb2.ERROR_CODE_ENGINE


async def test_a_barge_in_stops_the_model_and_its_words() -> None:
    app, _ = pizzeria()
    engine = Scripted(lambda prompt: ["This is a very long story. " * 50], token_s=0.01)
    async with dialogue(engine, app) as router:
        await router.open()
        await router.commit(1, "tell me")
        await router.until(lambda: router.of(dialogue_pb2.Clause, 1))
        stops = REGISTRY.get_sample_value("halfbeat_stop_seconds_count", {"service": "dialogue"}) or 0
        await router.barge_in(1)

        async def has_stopped() -> bool:
            return engine.running == 0

        await eventually(has_stopped)
        assert REGISTRY.get_sample_value("halfbeat_stop_seconds_count", {"service": "dialogue"}) == stops + 1
        spoken = len(router.of(dialogue_pb2.Clause, 1))
        await router.commit(2, "stop", epoch=1)
        await router.until(lambda: router.of(dialogue_pb2.Clause, 2))
    assert len(router.of(dialogue_pb2.Clause, 1)) <= spoken + 1
    assert not router.done(1)


async def test_a_booking_outlives_a_barge_in_and_a_hang_up() -> None:
    gate = asyncio.Event()
    app, orders = pizzeria(gate)
    async with dialogue(Scripted(script), app) as router:
        await router.open()
        await router.commit(1, "a large one")
        await router.until(lambda: router.of(dialogue_pb2.ToolCall))
        await router.barge_in(1)
        await router.close()
        asyncio.get_running_loop().call_later(0.05, gate.set)
        await router.until(lambda: router.of(dialogue_pb2.ToolResult))
    assert orders == ["large"]
    assert "pizza, ready" not in router.words(1)


def test_a_slow_tool_gets_its_filler() -> None:
    async def scene() -> str:
        gate = asyncio.Event()
        app, _ = pizzeria(gate)
        async with dialogue(Scripted(script), app, filler_after_s=0.8) as router:
            await router.open()
            asyncio.get_running_loop().call_later(1.5, gate.set)
            return await router.say(1, "a large one")

    assert run_virtual(scene()) == "Sure, One moment. One large pizza, ready in 20 minutes."


async def test_a_client_with_its_own_persona_runs_its_own_tools() -> None:
    app, _ = pizzeria()
    tool = session_pb2.ClientTool(name="look_up", description="Price.", parameters_json='{"type": "object"}')
    engine = Scripted(script)
    async with dialogue(engine, app, dialect="native") as router:
        await router.open(instructions="You are Bob.", client_tools=[tool])
        await router.commit(1, "the price?")
        await router.until(lambda: router.of(dialogue_pb2.ToolCall))
        call = router.of(dialogue_pb2.ToolCall)[0]
        assert (call.is_client, call.name) == (True, "look_up")
        assert not router.done(1)
        result = dialogue_pb2.ToolResult(
            stamp=common_pb2.Stamp(sid=SID, turn=1), call_id=call.call_id, result_json='{"price": 5}'
        )
        await router.bus.publish(subjects.TOOL_RESULT, result)
        await router.until(lambda: router.done(1))
    assert router.words(1) == "It says 5 dollars."
    assert engine.prompts[0].instructions == "You are Bob."


def test_a_client_that_never_answers_is_given_up() -> None:
    async def scene() -> Any:
        app, _ = pizzeria()
        tool = session_pb2.ClientTool(name="look_up", description="Price.")
        async with dialogue(Scripted(script), app, client_tool_s=3.0) as router:
            await router.open(client_tools=[tool])
            await router.commit(1, "the price?")
            await router.until(lambda: router.done(1))
            return router.done(1)[0]

    assert run_virtual(scene()).error.code == common_pb2.ERROR_CODE_TIMED_OUT


async def test_new_instructions_apply_from_the_next_answer() -> None:
    app, _ = pizzeria()
    engine = Scripted(script)
    async with dialogue(engine, app) as router:
        await router.open(instructions="You are Bob.")
        update = session_pb2.SessionUpdated(stamp=common_pb2.Stamp(sid=SID))
        update.config.instructions = "You are Ann."
        await router.bus.publish(subjects.SESSION_UPDATE, update)
        await router.say(1, "hello")
    assert engine.prompts[0].instructions == "You are Ann."


async def test_the_prompt_is_read_ahead_at_the_opening_and_while_the_caller_speaks() -> None:
    app, _ = pizzeria()
    engine = Scripted(script)
    async with dialogue(engine, app) as router:
        assert len(engine.prefilled) == 1  # at the start: persona and examples
        await router.open()
        partial = asr_pb2.Transcript(stamp=common_pb2.Stamp(sid=SID, turn=1), stable="I would like a")
        await router.bus.publish(subjects.ASR_PARTIAL, partial)

        async def has_read_ahead() -> bool:
            return len(engine.prefilled) >= 3

        await eventually(has_read_ahead)
    assert engine.prefilled[1].items == [AgentSaid("Pizza here. What would you like?")]
    assert engine.prefilled[2].items == [CallerSaid("I would like")]


async def test_a_failed_prefill_harms_nothing() -> None:
    class Cold(Scripted):
        async def prefill(self, prompt: Prompt) -> Usage:
            raise Unavailable("cold")

    app, _ = pizzeria()
    async with dialogue(Cold(script), app) as router:
        await router.open()
        assert await router.say(1, "weather") == "I can ask."


async def test_the_state_of_the_session_is_stored_while_it_lasts() -> None:
    app, _ = pizzeria()
    async with dialogue(Scripted(script), app) as router:
        await router.open()
        await router.say(1, "a large one")
        store = await router.bus.key_value("dialogue")

        async def is_stored() -> bool:
            entry = await store.get(SID)
            return entry is not None and b"is_ordered" in entry[0]

        async def is_gone() -> bool:
            return await store.get(SID) is None

        await eventually(is_stored)
        entry = await store.get(SID)
        assert entry is not None
        assert json.loads(entry[0])["exchanges"][0]["said"] == "a large one"
        await router.close()
        await eventually(is_gone)


async def test_the_first_clause_tells_where_its_time_went() -> None:
    app, _ = pizzeria()
    async with dialogue(Scripted(script, first_token_s=0.03), app) as router:
        await router.open()
        await router.say(1, "hello", budget_left_ms=500)
    first = router.of(dialogue_pb2.Clause, 1)[0]
    residence = first.stamp.residence
    assert [hop.hop for hop in residence] == ["dialogue"]
    assert residence[0].work_us >= 30_000
    assert first.budget_left_ms <= 470
    assert [clause.stamp.seq for clause in router.of(dialogue_pb2.Clause)] == [0, 1]


async def test_one_session_too_many_is_refused() -> None:
    app, _ = pizzeria()
    async with dialogue(Scripted(script), app, slots=1) as router:
        await router.open()
        request = session_pb2.OpenRequest(stamp=common_pb2.Stamp(sid="another"))
        reply = await router.bus.request(subjects.DIALOGUE_OPEN, request, session_pb2.OpenReply, timeout_s=5)
    assert reply.error.code == common_pb2.ERROR_CODE_AT_CAPACITY
