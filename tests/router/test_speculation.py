"""Whole calls with drafts, in virtual time: what is ready at the commit sounds at once, and nothing before it."""

import asyncio

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from scene import Detector, FakeDialogue, Line, Scene, Script
from test_call import play

from halfbeat import subjects, telemetry
from halfbeat.v1 import common_pb2, dialogue_pb2, tts_pb2, turn_pb2
from services.router import edge

#: Fast enough to have a first clause ready (80 + 40 + 100 + 100 ms) before a turn ends after 500 ms of silence.
QUICK = {"asr_s": 0.04, "clause_s": 0.1}
PATIENT = {"sure_ms": 500, "unsure_ms": 800}


async def logged(scene: Scene, line: Line) -> list[object]:
    return [delivery.message async for delivery in scene.bus.log(line.call.sid)]


async def one_turn(scene: Scene) -> tuple[Line, edge.TurnDone]:
    line = await scene.dial()
    await line.speak(1000)
    done = await line.until(edge.TurnDone)
    assert isinstance(done, edge.TurnDone)
    return line, done


def test_the_held_clause_sounds_in_the_very_moment_of_the_commit() -> None:
    async def scenario(scene: Scene) -> None:
        line, done = await one_turn(scene)
        (committed_s,) = line.when(edge.TurnCommitted)
        assert line.audio()[0][0] == committed_s, "virtual time: not a microsecond later"
        assert done.v2v_ms == 500
        assert {name: ms for name, ms in done.hops_ms.items() if ms} == {"endpoint": 500}
        (commit,) = scene.dialogue[0].commits
        assert commit.adopts_draft
        await line.hang_up()

    play(scenario, Script(**QUICK), **PATIENT)


def test_without_speculation_the_same_turn_waits_for_model_and_voice() -> None:
    async def scenario(scene: Scene) -> None:
        line, done = await one_turn(scene)
        assert done.v2v_ms == pytest.approx(500 + 100 + 100, abs=1)
        assert scene.dialogue[0].drafts == []
        await line.hang_up()

    play(scenario, Script(**QUICK), **PATIENT, speculates=False)


def test_a_draft_in_the_making_at_the_commit_saves_what_it_had_done() -> None:
    async def scenario(scene: Scene) -> None:
        line, done = await one_turn(scene)
        # Paused after 80 ms, drafted when the words came, audible 300 ms after that.
        assert done.v2v_ms == 80 + 40 + 300
        assert sum(done.hops_ms.values()) == done.v2v_ms
        assert done.hops_ms["endpoint"] == 250
        assert done.hops_ms["llm.clause"] + done.hops_ms["bus"] < 200, "a part was done before the commit"
        assert [e.text for e in line.of(edge.AgentCaption)] == ["Okay,", "a truck comes tomorrow."]
        await line.hang_up()

    play(scenario, Script(asr_s=0.04), sure_ms=250)


def test_a_caller_who_goes_on_never_hears_the_draft() -> None:
    async def scenario(scene: Scene) -> None:
        scene.models.turn_detector = Detector(0.5)
        line = await scene.dial()
        await line.speak(700)
        await line.pause(460)
        assert len(scene.dialogue[0].drafts) == 1
        await line.speak(700)
        assert line.audio() == []
        await line.until(edge.TurnDone)
        await line.pause(500)
        dialogue = scene.dialogue[0]
        assert [(d.stamp.turn, d.stamp.revision) for d in dialogue.drafts] == [(1, 0), (1, 1)]
        assert [(c.stamp.turn, c.stamp.revision, c.adopts_draft) for c in dialogue.commits] == [(1, 1, True)]
        (committed_s,) = line.when(edge.TurnCommitted)
        assert line.audio()[0][0] >= committed_s, "nothing is audible before the commit"
        said_ms = sum(len(a.pcm) for _, a in line.audio()) / 32
        assert said_ms == pytest.approx(len("Okay,a truck comes tomorrow.") * 40, abs=40), "one answer, once"
        (done,) = [m for m in await logged(scene, line) if isinstance(m, turn_pb2.TurnDone)]
        assert (done.drafts, done.is_draft_adopted) == (2, True)
        await line.hang_up()

    play(scenario, Script(**QUICK), sure_ms=600, turn_threshold=0.95)


def test_a_draft_that_dialogue_takes_back_is_answered_anew() -> None:
    async def regret(dialogue: FakeDialogue, drafted: turn_pb2.TurnDrafted) -> None:
        await dialogue.say(drafted.stamp, 0, "Wrong words.", is_draft=True)
        await asyncio.sleep(0.15)
        await dialogue.bus.publish(subjects.DIALOGUE_VOID, dialogue_pb2.DraftVoided(stamp=drafted.stamp))

    async def scenario(scene: Scene) -> None:
        line, _ = await one_turn(scene)
        assert [e.text for e in line.of(edge.AgentCaption)] == ["Okay,", "a truck comes tomorrow."]
        (commit,) = scene.dialogue[0].commits
        assert (commit.stamp.revision, commit.adopts_draft) == (1, False)
        await line.hang_up()

    play(scenario, Script(**QUICK, on_draft=regret), **PATIENT)


def test_a_client_runs_no_tool_for_a_draft() -> None:
    async def hasty(dialogue: FakeDialogue, drafted: turn_pb2.TurnDrafted) -> None:
        stamp = common_pb2.Stamp()
        stamp.CopyFrom(drafted.stamp)
        tool = dialogue_pb2.ToolCall(stamp=stamp, call_id="c1", name="book", arguments_json="{}", is_client=True)
        await dialogue.bus.publish(subjects.TOOL_CALL, tool)

    async def scenario(scene: Scene) -> None:
        line, _ = await one_turn(scene)
        assert scene.dialogue[0].drafts
        assert line.of(edge.ToolCalled) == []
        await line.hang_up()

    play(scenario, Script(**QUICK, on_draft=hasty), **PATIENT)


def test_the_budget_counts_from_the_callers_last_voiced_sample() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        spoken_s = await line.speak(1000)
        while not scene.dialogue[0].drafts:
            await line.pause(20)
        (drafted,) = scene.dialogue[0].drafts
        now_s = line.clock.now_ns() / 1e9
        assert drafted.budget_left_ms == pytest.approx(600 - (now_s - spoken_s) * 1000, abs=21)
        await line.until(edge.TurnDone)
        (commit,) = scene.dialogue[0].commits
        assert commit.budget_left_ms == 100
        await line.hang_up()

    play(scenario, Script(**QUICK), **PATIENT)


def test_who_took_the_cheaper_way_is_told_with_the_turn() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await line.speak(1000)
        while not scene.dialogue[0].commits:
            await line.pause(20)
        stamp = scene.dialogue[0].commits[0].stamp
        cheap = tts_pb2.SpeechAudio(stamp=stamp, clause=5, pcm=bytes(640), is_last=True, is_over_budget=True)
        await scene.tts[0].bus.publish(subjects.TTS_AUDIO, cheap)
        await line.until(edge.TurnDone)
        (done,) = [m for m in await logged(scene, line) if isinstance(m, turn_pb2.TurnDone)]
        assert list(done.over_budget) == ["tts.first_audio"]
        await line.hang_up()

    play(scenario, Script(**QUICK), **PATIENT)


def test_twenty_interruptions_in_a_second_leave_one_generation() -> None:
    script = Script(answers=[["This is going to be a rather long sentence about bins."]], clause_s=0.02)

    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        began_s = line.clock.now_ns() / 1e9
        for n in range(20):
            if n % 2:
                line.call.interrupt()
            line.call.send_text(f"Question {n}")
            await line.speak(40)
        assert line.clock.now_ns() / 1e9 - began_s <= 1.0
        dialogue = scene.dialogue[0]
        for _ in range(500):
            await line.pause(20)
            if dialogue.heard and dialogue.heard[-1].is_complete:
                break
        assert len(line.of(edge.TurnDone)) == len(dialogue.commits) >= 20
        assert dialogue.most_at_once == 1
        assert [h.stamp.turn for h in dialogue.heard if h.is_complete][-1] == dialogue.commits[-1].stamp.turn
        epochs = [a.epoch for _, a in line.audio()]
        assert epochs == sorted(epochs)
        assert dialogue.epoch == scene.dialogue[0].commits[-1].stamp.epoch
        numbers = [(c.stamp.turn, c.stamp.revision) for c in dialogue.commits]
        assert numbers == sorted(set(numbers))
        offsets = [a.offset_samples for _, a in line.audio()]
        assert offsets == list(range(0, 320 * len(offsets), 320))
        await line.hang_up()

    play(scenario, script)


def test_a_budget_that_is_spent_at_the_commit_is_not_taken_for_an_unknown_one() -> None:
    async def scenario(scene: Scene) -> None:
        line, _ = await one_turn(scene)
        (commit,) = scene.dialogue[0].commits
        assert commit.budget_left_ms == 1
        await line.hang_up()

    play(scenario, Script(**QUICK), sure_ms=700, unsure_ms=900)


def test_the_trace_of_a_turn_links_to_its_discarded_drafts(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(telemetry.trace, "get_tracer", provider.get_tracer)

    async def scenario(scene: Scene) -> None:
        scene.models.turn_detector = Detector(0.5)
        line = await scene.dial()
        await line.speak(700)
        await line.pause(460)
        await line.speak(700)
        await line.until(edge.TurnDone)
        await line.hang_up()

    play(scenario, Script(**QUICK), sure_ms=600, turn_threshold=0.95)
    (turn,) = [span for span in spans.get_finished_spans() if span.name == "turn"]
    assert turn.attributes is not None
    assert (turn.attributes["halfbeat.drafts"], turn.attributes["halfbeat.is_draft_adopted"]) == (2, True)
    (link,) = turn.links
    assert link.context.trace_id != turn.get_span_context().trace_id, "the void revision had a trace of its own"
