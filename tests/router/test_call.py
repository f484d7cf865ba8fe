"""Whole calls on the memory bus: real shell, scripted workers, virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from callers_end import played, silent_s
from scene import Detector, FakeDialogue, Scene, Script, silence, tone

from halfbeat import subjects
from halfbeat.clock import run_virtual
from halfbeat.errors import AtCapacity, InvalidRequest, NotFound, TooFast, Unavailable
from halfbeat.v1 import common_pb2, dialogue_pb2, session_pb2, turn_pb2
from services.router import edge


def play(scenario: Callable[[Scene], Awaitable[None]], script: Script | None = None, **settings: object) -> Scene:
    """Runs a scenario; nothing may be left behind on the bus."""
    scene = Scene(script, **settings)  # type: ignore[arg-type]

    async def run() -> None:
        async with asyncio.timeout(600):
            async with scene:
                before = scene.broker.interests
                await scenario(scene)
                await scene.calls.aclose()
                await asyncio.sleep(2)
                assert scene.broker.interests <= before, "subscriptions are left over"
                assert len(scene.calls) == 0

    run_virtual(run())
    return scene


def test_a_call_from_greeting_to_farewell() -> None:
    script = Script(opening=["Hi, is it about the trash?"], hangs_up_after=2)
    script.heard = ["Yes, it is.", "Thank you, bye."]
    script.answers = [["Okay,", "a truck comes tomorrow."], ["Goodbye!"]]

    async def scenario(scene: Scene) -> None:
        line = await scene.dial(has_opening=True)
        await line.until(edge.TurnDone)
        await line.speak(1000)
        await line.until(edge.TurnDone, count=2)
        await line.speak(700)
        await line.until(edge.Ended)
        assert [e.transcript for e in line.of(edge.TurnCommitted)] == ["Yes, it is.", "Thank you, bye."]
        assert [e.text for e in line.of(edge.AgentCaption)] == [
            "Hi, is it about the trash?",
            "Okay,",
            "a truck comes tomorrow.",
            "Goodbye!",
        ]
        assert [e.text_heard for e in line.of(edge.AnswerDone)] == [
            "Hi, is it about the trash?",
            "Okay, a truck comes tomorrow.",
            "Goodbye!",
        ]
        assert line.of(edge.Ended) == [edge.Ended("agent")]
        assert isinstance(line.events[-1][1], edge.Ended)

    scene = play(scenario, script)
    assert scene.asr[0].commands == [
        ("speech_started", 1, 0),
        ("flush", 1, 0),
        ("reset", 1, 0),
        ("speech_started", 2, 0),
        ("flush", 2, 0),
        ("reset", 2, 0),
    ]


def test_v2v_is_what_the_callers_end_measures_and_the_hops_add_up_to_it() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        spoken_s = await line.speak(1000)
        done = await line.until(edge.TurnDone)
        assert isinstance(done, edge.TurnDone)
        measured_ms = (line.audio()[0][0] - spoken_s) * 1000
        assert done.v2v_ms == pytest.approx(measured_ms, abs=25)
        assert sum(done.hops_ms.values()) == done.v2v_ms
        assert done.hops_ms["llm.clause"] == pytest.approx(200, abs=5)
        assert done.hops_ms["tts.first_audio"] == pytest.approx(100, abs=5)
        assert line.of(edge.AnswerStarted) == [edge.AnswerStarted(1, done.v2v_ms)]
        await line.hang_up()

    play(scenario)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000, 48000])
def test_every_rate_of_an_edge_is_heard_and_spoken(rate_hz: int) -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial(edge.EdgeFormat(sample_rate_hz=rate_hz))
        await line.speak(1000)
        await line.until(edge.TurnDone)
        heard_s = len(scene.asr[0].audio) / 2 / 16000
        assert heard_s == pytest.approx(line.clock.now_ns() / 1e9 - 1000, abs=0.2)
        said_ms = sum(len(a.pcm) for _, a in line.audio()) / 2 * 1000 / rate_hz
        assert said_ms == pytest.approx(len("Okay,a truck comes tomorrow.") * 40, abs=40)
        await line.hang_up()

    play(scenario)


def test_the_agents_audio_is_paced_in_real_time() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await line.speak(800)
        await line.until(edge.TurnDone)
        frames = line.audio()
        begun = frames[0][0]
        ahead_ms = [a.offset_samples / 16 - (at - begun) * 1000 for at, a in frames]
        assert max(ahead_ms) <= line.format.lead_ms
        assert min(ahead_ms) >= -1
        await line.hang_up()

    play(scenario)


def test_a_barge_in_stops_the_agent_and_only_heard_words_count() -> None:
    script = Script(answers=[["Well, the rules about bulky items are long and I will read them."], ["Okay."]])

    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await line.speak(800)
        await line.until(edge.AnswerStarted)
        await line.pause(800)
        began_s = line.clock.now_ns() / 1e9
        await line.speak(900)
        interrupted = await line.until(edge.Interrupted)
        assert isinstance(interrupted, edge.Interrupted)
        assert (interrupted.turn, interrupted.epoch) == (1, 1)
        silent_ms = (silent_s(played(line.events), 1) - began_s) * 1000
        assert 120 <= silent_ms <= 250, "at the caller's end, what was sent ahead included"
        assert line.when(edge.Interrupted)[0] - began_s <= 0.78, "without words it takes a little longer to be sure"
        await line.until(edge.TurnDone, count=2)
        assert all(a.epoch == 1 for at, a in line.audio() if at > line.when(edge.Interrupted)[0])
        cut = line.of(edge.AnswerDone)[0]
        assert cut.is_cut
        assert cut.text_heard.startswith("Well, the rules")
        assert not cut.text_heard.endswith("them.")
        done = line.of(edge.TurnDone)[0]
        assert done.is_interrupted
        await line.hang_up()
        dialogue = scene.dialogue[0]
        assert dialogue.epoch == 1
        assert [h.is_cut for h in dialogue.heard if h.stamp.turn == 1][-1]
        records = [d async for d in scene.bus.log(line.call.sid)]
        (turn,) = [d.message for d in records if d.kind is subjects.TURN_DONE and d.message.stamp.turn == 1]
        assert turn.barge_in_ms == pytest.approx(silent_ms, abs=40)
        assert sum(turn.barge_in_hops_ms.values()) == turn.barge_in_ms
        assert turn.barge_in_hops_ms["detect"] <= 60

    play(scenario, script)


def test_a_caller_who_goes_on_before_the_answer_sounds_gets_one_answer_to_all_of_it() -> None:
    script = Script(heard=["I want a truck for tomorrow."], clause_s=1.0)

    async def scenario(scene: Scene) -> None:
        scene.models.turn_detector = Detector(0.95)
        line = await scene.dial()
        await line.speak(600)
        await line.until(edge.TurnCommitted)
        await line.pause(100)
        await line.speak(600)
        await line.until(edge.TurnDone)
        await line.pause(500)
        assert [(c.stamp.turn, c.stamp.revision, c.stamp.epoch) for c in scene.dialogue[0].commits] == [
            (1, 0, 0),
            (1, 1, 1),
        ]
        assert len(line.of(edge.AnswerStarted)) == 1
        assert len(line.of(edge.TurnDone)) == 1
        assert line.of(edge.Interrupted) == []
        await line.hang_up()

    play(scenario, script)


def test_an_eager_flush_reaches_asr_long_before_the_commit() -> None:
    async def scenario(scene: Scene) -> None:
        scene.models.turn_detector = Detector(0.01)
        line = await scene.dial()
        await line.speak(800)
        await line.until(edge.TurnCommitted)
        await line.hang_up()
        log = [d.message async for d in scene.bus.log(line.call.sid)]
        kinds = [(m.kind, m.cause) for m in log if isinstance(m, turn_pb2.Endpoint)]
        assert kinds == [(turn_pb2.ENDPOINT_KIND_EAGER, ""), (turn_pb2.ENDPOINT_KIND_COMMITTED, "silence")]
        ends = [m.silence_ms for m in log if isinstance(m, turn_pb2.Endpoint)]
        assert ends[0] < 180
        assert 1500 <= ends[1] < 1560
        assert len(scene.models.turn_detector.asked) == 2

    play(scenario, Script(heard=["The trash was picked up and"]))


def test_reports_of_the_edge_decide_when_an_answer_was_heard() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial(edge.EdgeFormat(reports_playout=True))
        await line.speak(800)
        await line.until(edge.AnswerStarted)
        for _ in range(120):  # the client is 300 ms behind
            await line.pause(20)
            played = [a for at, a in line.audio() if at <= line.clock.now_ns() / 1e9 - 0.3]
            if played:
                line.call.played(played[-1].offset_samples + len(played[-1].pcm) // 2)
            if line.of(edge.AnswerDone):
                break
        behind_s = line.when(edge.AnswerDone)[0] - line.audio()[-1][0]
        assert 0.28 <= behind_s <= 0.4
        await line.hang_up()

    play(scenario)


def test_text_in_place_of_speech_is_answered() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        line.call.send_text("Book a truck.")
        done = await line.until(edge.TurnDone)
        assert isinstance(done, edge.TurnDone)
        assert done.v2v_ms is None
        assert scene.dialogue[0].commits[0].transcript == "Book a truck."
        await line.hang_up()

    play(scenario)


def test_a_client_that_takes_its_turns_itself() -> None:
    manual = edge.EdgeFormat(has_turn_detection=False, creates_response=False, interrupts_response=False)

    async def scenario(scene: Scene) -> None:
        line = await scene.dial(manual)
        with pytest.raises(InvalidRequest):
            line.call.commit_input()
        line.call.receive_audio(tone(1500) + silence(300))
        line.call.commit_input()
        line.call.create_response("Be brief.")
        await line.until(edge.TurnDone)
        (commit,) = scene.dialogue[0].commits
        assert (commit.transcript, commit.instructions) == ("The trash was not picked up.", "Be brief.")
        assert len(scene.asr[0].audio) >= 1.8 * 32000
        await line.hang_up()

    play(scenario)


def test_cleared_audio_is_not_recognised() -> None:
    manual = edge.EdgeFormat(has_turn_detection=False, creates_response=False, interrupts_response=False)

    async def scenario(scene: Scene) -> None:
        line = await scene.dial(manual)
        await line.speak(500)
        line.call.clear_input()
        await line.pause(200)
        assert ("reset", 1, 0) in scene.asr[0].commands
        line.call.clear_input()
        with pytest.raises(InvalidRequest):
            line.call.commit_input()
        await line.hang_up()

    play(scenario)


def test_a_burst_is_worked_off_faster_than_real_time_and_loses_nothing() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        began_s = line.clock.now_ns() / 1e9
        line.call.receive_audio(tone(5000) + silence(500))
        for _ in range(250):
            await asyncio.sleep(0.02 if not line.of(edge.TurnCommitted) else 0)
        assert line.clock.now_ns() / 1e9 - began_s < 2
        assert len(scene.asr[0].audio) >= 5.5 * 32000
        await line.hang_up()

    play(scenario)


def test_a_client_tool_goes_out_and_its_result_comes_back_once() -> None:
    async def call_tool(dialogue: FakeDialogue, commit: turn_pb2.TurnCommitted) -> None:
        if commit.is_prompted:
            await dialogue.answer(commit.stamp)
            return
        stamp = common_pb2.Stamp()
        stamp.CopyFrom(commit.stamp)
        tool = dialogue_pb2.ToolCall(stamp=stamp, call_id="c1", name="look", arguments_json="{}", is_client=True)
        await dialogue.bus.publish(subjects.TOOL_CALL, tool)
        await dialogue.done(commit.stamp, 0)

    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await line.speak(800)
        assert await line.until(edge.ToolCalled) == edge.ToolCalled(1, "c1", "look", "{}", True)
        line.call.return_tool("c1", '{"found": true}')
        with pytest.raises(NotFound):
            line.call.return_tool("c1", "{}")
        line.call.create_response()
        await line.until(edge.AnswerStarted)
        assert [r.result_json for r in scene.dialogue[0].results] == ['{"found": true}']
        await line.hang_up()

    play(scenario, Script(on_commit=call_tool))


def test_settings_changed_during_the_call_reach_the_workers() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        config = session_pb2.SessionConfig(instructions="Be a pirate.")
        line.call.update(config, edge.EdgeFormat(creates_response=False))
        with pytest.raises(InvalidRequest):
            line.call.update(config, edge.EdgeFormat(sample_rate_hz=8000))
        await line.speak(800)
        await line.until(edge.TurnCommitted)
        await line.pause(1000)
        assert scene.dialogue[0].commits[0].wants_answer is False
        log = [d.message async for d in scene.bus.log(line.call.sid)]
        (updated,) = [m for m in log if isinstance(m, session_pb2.SessionUpdated)]
        assert updated.config.instructions == "Be a pirate."
        await line.hang_up()

    play(scenario)


# --- bad input -----------------------------------------------------------------------------------------------------


def test_half_samples_and_huge_messages_are_refused_and_the_call_goes_on() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        for rubbish in (b"abc", bytes(10_000_000)):
            with pytest.raises(InvalidRequest):
                line.call.receive_audio(rubbish)
        line.call.receive_audio(b"")
        await line.speak(800)
        await line.until(edge.TurnDone)
        await line.hang_up()

    play(scenario)


def test_twice_real_time_is_dropped_above_ten_seconds_and_told_once() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        refused = 0
        for _ in range(1500):
            await asyncio.sleep(0.01)
            try:
                line.call.receive_audio(silence(20))
            except TooFast:
                refused += 1
        assert 200 < refused < 500
        assert [e.error.code for e in line.of(edge.Failed)] == [common_pb2.ERROR_CODE_TOO_FAST]
        assert not line.of(edge.Ended)
        await line.hang_up()

    play(scenario)


def test_a_wrong_sample_rate_is_refused_before_any_worker_is_asked() -> None:
    async def scenario(scene: Scene) -> None:
        with pytest.raises(InvalidRequest):
            await scene.dial(edge.EdgeFormat(sample_rate_hz=11025))
        assert scene.asr == []

    play(scenario)


def test_a_client_that_never_reads_ends_its_own_call_and_no_other() -> None:
    script = Script(answers=[["A very long answer, " * 30]])

    async def scenario(scene: Scene) -> None:
        good = await scene.dial()
        bad = await scene.dial()
        bad.task.cancel()
        bad.call.send_text("Talk.")
        await good.speak(800)
        await good.until(edge.AnswerStarted)
        for _ in range(1500):
            await good.pause(20)
        assert len(scene.calls) == 1, "the call that was not read is over"
        last = [event async for event in bad.call.events()]
        assert [type(e) for e in last] == [edge.Ended], "nothing is kept for it"
        assert last[0].error.code == common_pb2.ERROR_CODE_TIMED_OUT
        assert not good.of(edge.Ended)
        await good.hang_up()

    play(scenario, script)


# --- workers and limits --------------------------------------------------------------------------------------------


def test_a_full_worker_is_said_to_be_full_and_nothing_is_left_open() -> None:
    async def scenario(scene: Scene) -> None:
        first = await scene.dial()
        with pytest.raises(AtCapacity):
            await scene.dial()
        await first.hang_up()
        await asyncio.sleep(0.1)
        again = await scene.dial()
        await again.hang_up()

    play(scenario, Script(), slots=1)


def test_a_router_that_is_full_asks_no_worker() -> None:
    async def scenario(scene: Scene) -> None:
        first = await scene.dial()
        with pytest.raises(AtCapacity):
            await scene.dial()
        assert len(scene.asr) == 1
        await first.hang_up()

    scene = Scene(Script())
    scene.settings = scene.settings.model_copy(update={"slots": 1})
    assert scene.settings.slots == 1

    async def run() -> None:
        async with scene:
            await scenario(scene)

    run_virtual(run())


def test_a_missing_service_is_unavailable_and_the_others_are_let_go() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.workers["tts"].drain()
        with pytest.raises(Unavailable, match="tts"):
            await scene.dial()
        await asyncio.sleep(0.1)
        line_free = scene.asr[0].tasks
        assert not line_free

    play(scenario)


def test_a_worker_that_falls_silent_ends_the_call_with_an_error() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        for task in asyncio.all_tasks():
            if task.get_name() == f"tts-{line.call.sid}":
                task.cancel()
                task.add_done_callback(lambda t: t.cancelled() or t.exception())
        scene.broker.send = _without_status(scene.broker.send)  # type: ignore[method-assign]
        ended = await line.until(edge.Ended)
        assert isinstance(ended, edge.Ended)
        assert ended.by == "router"
        assert ended.error is not None
        assert ended.error.code == common_pb2.ERROR_CODE_UNAVAILABLE
        assert "tts" in ended.error.message

    play(scenario)


def _without_status(send: Callable[..., bool]) -> Callable[..., bool]:
    def filtered(subject: str, *args: object) -> bool:
        return False if subject.startswith("hb.v1.tts.status") else send(subject, *args)

    return filtered


def test_a_worker_that_lets_go_ends_the_call() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await scene.workers["dialogue"].__aexit__()
        ended = await line.until(edge.Ended)
        assert isinstance(ended, edge.Ended)
        assert ended.error is not None
        assert "dialogue" in ended.error.message

    play(scenario)


def test_a_silent_caller_is_hung_up_on_after_a_while() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await line.pause(9000)
        assert not line.of(edge.Ended)
        await line.until(edge.Ended, 2000)
        assert line.of(edge.Ended) == [edge.Ended("timeout")]

    play(scenario, idle_s=10.0)


def test_ownership_is_recorded_while_the_call_lives() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        await line.pause(8000)
        owners = await scene.bus.key_value("owners")
        entry = await owners.get(line.call.sid)
        assert entry is not None
        assert b"router-1" in entry[0]
        assert await (await scene.bus.key_value("sessions")).get(line.call.sid) is not None
        await line.hang_up()
        await asyncio.sleep(0.1)
        assert await owners.get(line.call.sid) is None

    play(scenario)


def test_draining_refuses_new_calls_and_waits_for_the_old() -> None:
    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        draining = asyncio.ensure_future(scene.calls.drain())
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable):
            await scene.dial()
        assert not draining.done()
        await line.hang_up()
        async with asyncio.timeout(5):
            await draining

    play(scenario)


def test_a_hundred_interruptions_leave_nothing_stale_in_the_air() -> None:
    script = Script(answers=[["This is going to be a rather long sentence about bins."]])

    async def scenario(scene: Scene) -> None:
        line = await scene.dial()
        for n in range(1, 40):
            line.call.send_text(f"Question {n}")
            await asyncio.sleep(0.13 * (n % 7) + 0.05)
        await line.until(edge.TurnDone, 10_000, count=39)
        epochs = [a.epoch for _, a in line.audio()]
        assert epochs == sorted(epochs)
        assert [e.turn for e in line.of(edge.TurnDone)] == list(range(1, 40))
        offsets = [a.offset_samples for _, a in line.audio()]
        assert offsets == list(range(0, 320 * len(offsets), 320))
        await line.hang_up()

    play(scenario, script)
