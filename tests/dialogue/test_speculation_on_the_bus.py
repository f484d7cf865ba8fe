"""Drafts, openers and fillers on the bus with a scripted model, in virtual time."""

import asyncio
import random
from collections.abc import AsyncGenerator, Iterable

from dialogue_bus import SID, Router, dialogue
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from halfbeat import subjects
from halfbeat.application import Application, Call, Context, ToolResult
from halfbeat.clock import run_virtual
from halfbeat.v1 import common_pb2, dialogue_pb2, session_pb2, tts_pb2, turn_pb2
from services.dialogue.engine import CallDelta, CallerSaid, Delta, Prompt, Sampling, ToolRan, Usage
from services.dialogue.engines.scripted import Line, Scripted

LONG = "Well, this is a story. It goes on and on. And on for a very long while. Until nobody listens any more. " * 3


class Model(Scripted):
    """Counts what it does at the same time, reading ahead included; takes a while to let go of what is stopped."""

    most = 0
    closing_s = 0.015

    async def stream(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Delta]:
        inner = super().stream(prompt, sampling)
        try:
            async for delta in inner:
                self.most = max(self.most, self.running)
                yield delta
        finally:
            try:
                await asyncio.sleep(self.closing_s)
            finally:
                await inner.aclose()

    async def prefill(self, prompt: Prompt) -> Usage:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0.05)
            return await super().prefill(prompt)
        finally:
            try:
                await asyncio.sleep(self.closing_s)
            finally:
                self.running -= 1


def desk() -> tuple[Application, list[str]]:
    app, done = Application("desk", "You help.", apology="Oh dear.", fallback="No idea."), list[str]()

    @app.context
    async def context(call: Call) -> Context:
        return Context("Hello.")

    @app.tool(opener="Okay,")
    async def book(call: Call) -> ToolResult:
        """The caller books."""
        done.append(call.said)
        call.data["is_booked"] = True
        return ToolResult(say="Okay, it is booked.")

    @app.tool()
    async def slow(call: Call) -> ToolResult:
        """It takes two seconds."""
        await asyncio.sleep(2.0)
        return ToolResult(say="Here it is.")

    return app, done


def script(prompt: Prompt) -> Iterable[Line]:
    last = prompt.items[-1]
    if isinstance(last, ToolRan):
        return ["It is done."]
    said = last.text.lower() if isinstance(last, CallerSaid) else ""
    if "book" in said:
        return [CallDelta("", "book", "{}")]
    if "slow" in said:
        return [CallDelta("", "slow", "{}")]
    return [LONG] if "story" in said else ["Sure, I can help. Is there more?"]


def clauses(router: Router, turn: int) -> list[tuple[str, bool]]:
    return [(clause.text, clause.is_draft) for clause in router.of(dialogue_pb2.Clause, turn)]


def tokens(kind: str) -> float:
    return REGISTRY.get_sample_value("halfbeat_tokens_total", {"kind": kind}) or 0.0


def drafts(outcome: str) -> float:
    return REGISTRY.get_sample_value("halfbeat_dialogue_drafts_total", {"outcome": outcome}) or 0.0


def test_a_draft_sends_one_clause_and_the_commit_the_rest_and_then_the_tool_runs() -> None:
    async def scene() -> None:
        app, done = desk()
        engine = Model(script, first_token_s=0.1, token_s=0.02)
        async with dialogue(engine, app) as router:
            await router.open()
            await router.draft(1, "Book it")
            await router.until(lambda: clauses(router, 1))
            await asyncio.sleep(1.0)
            assert (clauses(router, 1), done, router.of(dialogue_pb2.ToolCall)) == ([("Okay,", True)], [], [])
            await router.commit(1, "Book it.", adopts_draft=True)
            await router.until(lambda: router.done(1))
            assert clauses(router, 1) == [("Okay,", True), ("it is booked.", False)]
            assert done == ["Book it."]
            await router.draft(2, "And now?")
            await asyncio.sleep(1.0)
            assert clauses(router, 2) == [("Sure,", True)]
            await router.commit(2, "And now?", adopts_draft=True)
            await router.until(lambda: router.done(2))
            assert clauses(router, 2) == [("Sure,", True), ("I can help.", False), ("Is there more?", False)]
            assert len(engine.prompts) == 2

    run_virtual(scene())


def test_a_caller_who_goes_on_stops_the_model_and_its_words_are_counted_as_wasted() -> None:
    async def scene() -> None:
        app, done = desk()
        engine = Model(script, first_token_s=0.1, token_s=0.02)
        before, resumed = tokens("wasted"), drafts("resumed")
        async with dialogue(engine, app) as router:
            await router.open()
            await router.draft(1, "A story")
            await asyncio.sleep(0.19)
            await router.resume(1, 1)
            await asyncio.sleep(0.02)
            assert engine.running == 0
            await router.commit(1, "Book it", revision=1)
            await router.until(lambda: router.done(1))
        wasted = router.done(1)[0].wasted_tokens
        assert 4 <= wasted <= 6
        assert (tokens("wasted") - before, drafts("resumed") - resumed) == (wasted, 1)
        assert done == ["Book it"]

    run_virtual(scene())


def test_a_draft_waits_at_its_bound_and_goes_on_after_the_commit() -> None:
    async def scene() -> None:
        app, _ = desk()
        given = 0

        class Counting(Model):
            async def stream(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Delta]:
                nonlocal given
                async for delta in super().stream(prompt, sampling):
                    given += 1
                    yield delta

        async with dialogue(Counting(script, token_s=0.01), app, draft_tokens=8) as router:
            await router.open()
            await router.draft(1, "A story")
            await asyncio.sleep(2.0)
            assert given == 8
            await router.commit(1, "A story", adopts_draft=True)
            await router.until(lambda: router.done(1))
        assert router.words(1) == LONG.strip()

    run_virtual(scene())


def test_nothing_more_is_read_of_an_answer_that_was_ended_early() -> None:
    async def scene() -> None:
        app, _ = desk()
        given = 0

        class Counting(Model):
            async def stream(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Delta]:
                nonlocal given
                async for delta in super().stream(prompt, sampling):
                    given += 1
                    yield delta

        engine = Counting(lambda prompt: ["I can tell you all that. It costs 25 dollars. " + LONG], token_s=0.01)
        async with dialogue(engine, app) as router:
            await router.open()
            assert await router.say(1, "How much?") == "I can tell you all that."
            await asyncio.sleep(1.0)
        assert given == 10

    run_virtual(scene())


def test_tokens_that_are_read_ahead_are_counted() -> None:
    async def scene() -> None:
        app, _ = desk()
        async with dialogue(Model(script), app) as router:
            await router.open()
            await router.commit(1, "one two three", wants_answer=False)
            before = tokens("prefill")
            await asyncio.sleep(1.0)
            assert tokens("prefill") - before == 3

    run_virtual(scene())


def test_a_draft_that_nobody_ever_commits_is_given_up() -> None:
    async def scene() -> None:
        app, _ = desk()
        engine = Model(script, token_s=0.01)
        async with dialogue(engine, app, draft_tokens=8) as router:
            await router.open()
            await router.draft(1, "A story")
            await router.until(lambda: router.of(dialogue_pb2.DraftVoided), limit_s=20)
            await asyncio.sleep(0.02)
            assert engine.running == 0
            assert not router.done(1)

    run_virtual(scene())


def test_a_change_of_the_session_voids_a_draft_on_the_bus() -> None:
    async def scene() -> None:
        app, _ = desk()
        async with dialogue(Model(script), app) as router:
            await router.open(instructions="You are Bob.")
            await router.draft(1, "Hello")
            await router.until(lambda: clauses(router, 1))
            update = session_pb2.SessionUpdated(stamp=common_pb2.Stamp(sid=SID))
            update.config.instructions = "You are Ann."
            await router.bus.publish(subjects.SESSION_UPDATE, update)
            await router.until(lambda: router.of(dialogue_pb2.DraftVoided))
            stamp = router.of(dialogue_pb2.DraftVoided)[0].stamp
            assert (stamp.turn, stamp.revision) == (1, 0)

    run_virtual(scene())


def test_what_is_left_of_the_budget_goes_on_with_the_first_clause() -> None:
    async def scene() -> None:
        app, _ = desk()
        async with dialogue(Model(script), app) as router:
            await router.open()
            await router.draft(1, "Hello", budget_left_ms=500)
            await router.until(lambda: clauses(router, 1))
            await router.commit(1, "Hello", adopts_draft=True, budget_left_ms=300)
            await router.until(lambda: router.done(1))
            first, second, *_ = router.of(dialogue_pb2.Clause, 1)
            assert 300 < first.budget_left_ms <= 500
            assert [hop.hop for hop in first.stamp.residence] == ["dialogue"]
            assert (second.budget_left_ms, list(second.stamp.residence)) == (0, [])

    run_virtual(scene())


def test_a_model_over_its_budget_gets_an_opener_in_time_and_one_within_it_none() -> None:
    async def scene(first_token_s: float) -> list[tuple[str, bool]]:
        app, _ = desk()
        async with dialogue(Model(script, first_token_s=first_token_s), app) as router:
            await router.open()
            await router.commit(1, "Hello", budget_left_ms=400)
            began = asyncio.get_running_loop().time()
            await router.until(lambda: clauses(router, 1))
            assert asyncio.get_running_loop().time() - began <= 0.281
            await router.until(lambda: router.done(1))
            return [(router.words(1), router.done(1)[0].is_over_budget)]

    assert run_virtual(scene(0.26)) == [("Sure, I can help. Is there more?", False)]
    assert run_virtual(scene(0.9)) == [("Well, I can help. Is there more?", True)]
    assert run_virtual(scene(1.5)) == [("Well, Let me see. I can help. Is there more?", True)]


def test_an_unknown_budget_asks_for_no_opener() -> None:
    async def scene() -> str:
        app, _ = desk()
        async with dialogue(Model(script, first_token_s=3.0), app) as router:
            await router.open()
            return await router.say(1, "Hello")

    assert run_virtual(scene()) == "Sure, I can help. Is there more?"


def test_a_tool_without_a_filler_gets_that_of_the_application_but_not_before_its_time() -> None:
    async def scene() -> None:
        app, _ = desk()
        async with dialogue(Model(script), app) as router:
            await router.open()
            await router.commit(1, "The slow one")
            await asyncio.sleep(0.65)
            assert clauses(router, 1) == []
            await router.until(lambda: router.done(1))
            found = [(clause.text, clause.is_filler) for clause in router.of(dialogue_pb2.Clause, 1)]
            assert found == [("Let me see.", True), ("Here it is.", False)]

    run_virtual(scene())


def test_a_silent_caller_is_asked_and_in_the_end_hung_up_on() -> None:
    async def scene() -> None:
        app, _ = desk()
        engine = Model(script)
        async with dialogue(engine, app) as router:
            await router.open()
            for turn, cause in enumerate((turn_pb2.PROMPT_CAUSE_SILENCE, turn_pb2.PROMPT_CAUSE_GOODBYE), 1):
                await router.say(turn, "", is_prompted=True, prompt_cause=cause)
        assert router.words(1) == "Are you still there?"
        assert [done.hangs_up for done in router.of(dialogue_pb2.AnswerDone)] == [False, True]
        assert engine.prompts == []

    run_virtual(scene())


def test_the_voice_is_told_at_the_start_what_it_is_likely_to_need() -> None:
    async def scene() -> None:
        app, _ = desk()
        async with dialogue(Model(script), app) as router:
            await router.open()
            await router.until(lambda: router.of(tts_pb2.PrepareSpeech))
            texts = list(router.of(tts_pb2.PrepareSpeech)[0].texts)
            assert {"Well,", "Okay,", "Let me see.", "Oh dear.", "Are you there?"} <= set(texts)
            assert len(texts) == len(set(texts))

    run_virtual(scene())


def test_twenty_barge_ins_in_a_second_leave_one_generation_at_any_moment() -> None:
    async def scene() -> None:
        app, done = desk()
        engine = Model(script, first_token_s=0.02, token_s=0.005)
        async with dialogue(engine, app) as router:
            await router.open()
            for n in range(1, 21):
                await router.draft(n, "A story", epoch=n - 1)
                await asyncio.sleep(0.02)
                await router.commit(n, "A story", epoch=n - 1, adopts_draft=n % 3 > 0, revision=int(n % 3 == 0))
                await asyncio.sleep(0.02)
                await router.barge_in(n)
                await asyncio.sleep(0.01)
            await router.commit(21, "Book it", epoch=20)
            await router.until(lambda: router.done(21))
        assert engine.most == 1
        assert done == ["Book it"]

    run_virtual(scene())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_no_timing_makes_a_tool_run_without_its_commit_or_two_generations_at_once(seed: int) -> None:
    async def scene() -> None:
        chance = random.Random(seed)
        app, done = desk()
        engine = Model(script, first_token_s=0.03, token_s=0.004)
        epoch, turn, revision, is_drafted = 0, 1, 0, False
        wanted = list[str]()
        async with dialogue(engine, app, draft_tokens=5) as router:
            await router.open()
            for number in range(25):
                await asyncio.sleep(chance.choice((0, 0.001, 0.02, 0.06, 0.2)))
                words = chance.choice(("A story", "Book it", "Hello")) + f" {number}"
                match chance.choice(("draft", "commit", "resume", "barge_in", "heard")):
                    case "draft" if not is_drafted:
                        is_drafted, drafted = True, words
                        await router.draft(turn, words, epoch=epoch, revision=revision)
                    case "commit":
                        adopts = is_drafted and chance.random() < 0.7
                        words, revision = (drafted, revision) if adopts else (words, revision + is_drafted)
                        await router.commit(turn, words, epoch=epoch, revision=revision, adopts_draft=adopts)
                        wanted.append(words)
                        turn, revision, is_drafted = turn + 1, 0, False
                    case "resume":
                        revision, is_drafted = revision + 1, False
                        await router.resume(turn, revision, epoch=epoch)
                    case "barge_in":
                        epoch, is_drafted = epoch + 1, False
                        await router.barge_in(epoch)
                        revision += 1
                    case "heard" if turn > 1:
                        await router.heard(turn - 1, clause=0, chars=chance.randrange(6), is_cut=True)
            await asyncio.sleep(3)
        assert set(done) <= set(wanted)
        assert len(done) == len(set(done))
        assert engine.most <= 1

    run_virtual(scene())
