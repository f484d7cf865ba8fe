"""Who holds the floor, event by event."""

import pytest
from floor_driver import Driver, commands, of

from halfbeat.errors import Unavailable
from halfbeat.v1 import common_pb2
from services.router import edge
from services.router import floor_events as fe
from services.router.endpoint import EndpointSettings
from services.router.turn_state import Holder


@pytest.fixture
def call() -> Driver:
    return Driver()


def test_the_opening_is_turn_zero_and_asked_for_without_words(call: Driver) -> None:
    (commit,) = of(call.feed(fe.CallBegan(has_opening=True)), fe.Commit)
    assert (commit.turn, commit.is_prompted, commit.wants_answer) == (0, True, True)
    call.answer()
    assert call.floor.holder is Holder.AGENT


def test_a_call_without_opening_waits_for_the_caller(call: Driver) -> None:
    assert call.feed(fe.CallBegan(has_opening=False)) == []
    assert call.floor.holder is Holder.NOBODY


def test_a_click_is_no_speech(call: Driver) -> None:
    assert call.voice(32) + call.quiet(500) == []


def test_the_first_short_pause_asks_for_words_and_opinion_but_commits_nothing(call: Driver) -> None:
    assert commands(call.voice(800)) == ["speech_started"]
    outputs = call.quiet(224)
    assert commands(outputs) == ["flush"]
    assert [o.kind for o in of(outputs, fe.Announce)] == ["eager"]
    assert len(of(outputs, fe.AskDetector)) == 1
    assert of(call.said, fe.Commit) == []


def test_pre_roll_is_recognised_too(call: Driver) -> None:
    call.quiet(1024)
    (started,) = of(call.voice(320), fe.Recognise)
    assert started.offset_samples == 1024 * 16 - call.settings.pre_roll_ms * 16


def test_a_sure_detector_commits_after_the_short_silence(call: Driver) -> None:
    call.voice(800)
    call.quiet(128)
    call.judge(0.95)
    assert of(call.words("Book a truck."), fe.Commit) == []
    (commit,) = of(call.quiet(32), fe.Commit)
    assert commit.transcript == "Book a truck."
    assert commit.speech_end_samples == 800 * 16
    assert of(call.said, fe.Announce)[-1].cause == "detector"
    assert of(call.said, fe.Announce)[-1].silence_ms == 160


def test_an_unsure_detector_is_asked_again_and_then_silence_decides(call: Driver) -> None:
    call.voice(800)
    call.quiet(224)
    call.judge(0.02)
    call.words("Book a")
    assert len(of(call.quiet(320), fe.AskDetector)) == 1
    call.judge(0.01)
    assert of(call.quiet(928), fe.Commit) == []
    (commit,) = of(call.quiet(64), fe.Commit)
    assert commit.transcript == "Book a"
    assert of(call.said, fe.Announce)[-1].cause == "silence"


def test_a_second_opinion_that_is_sure_commits_at_once(call: Driver) -> None:
    call.voice(800)
    call.quiet(224)
    call.judge(0.02)
    call.words("Book a truck")
    assert len(of(call.quiet(96), fe.AskDetector)) == 1
    assert of(call.said, fe.Commit) == []
    assert len(of(call.judge(0.98), fe.Commit)) == 1


def test_a_detector_that_fails_leaves_it_to_silence(call: Driver) -> None:
    call.voice(800)
    call.quiet(224)
    call.judge(None)
    call.words("Book a")
    assert of(call.quiet(320), fe.Commit) == []
    assert len(of(call.quiet(992), fe.Commit)) == 1


def test_the_commit_waits_for_the_words(call: Driver) -> None:
    call.voice(800)
    call.quiet(224)
    call.judge(0.95)
    assert of(call.quiet(1500), fe.Commit) == []
    (commit,) = of(call.words("Book a truck."), fe.Commit)
    assert commit.decided_ns < call.now_ms * 1_000_000


def test_a_recogniser_that_never_answers_does_not_hang_the_turn(call: Driver) -> None:
    call.voice(800)
    call.words("Book a", is_final=False)
    (commit,) = of(call.quiet(4000), fe.Commit)
    assert commit.transcript == "Book a"


def test_a_caller_who_goes_on_before_the_commit_gets_a_new_revision(call: Driver) -> None:
    call.voice(800)
    call.quiet(224)
    call.judge(0.3)
    call.words("I want to")
    outputs = call.voice(500)
    assert commands(outputs) == ["speech_started"]
    assert [o.kind for o in of(outputs, fe.Announce)] == ["resumed"]
    assert call.floor.utterance is not None
    assert (call.floor.utterance.turn, call.floor.utterance.revision) == (1, 1)
    outputs = call.quiet(224)
    assert commands(outputs) == ["flush"]
    call.judge(0.95)
    (commit,) = of(call.words("I want to book a truck."), fe.Commit)
    assert (commit.turn, commit.revision, commit.epoch) == (1, 1, 0)
    assert commit.transcript == "I want to book a truck."


def test_words_and_opinions_of_an_older_revision_are_dropped(call: Driver) -> None:
    call.voice(800)
    call.quiet(224)
    call.voice(500)
    call.quiet(224)
    outputs = call.feed(fe.TranscriptArrived(1, 0, "I want to", is_final=True))
    outputs += call.feed(fe.TurnJudged(1, 0, 0.99))
    assert [o.reason for o in of(outputs, fe.Discard)] == ["stale_transcript", "stale_judgement"]
    assert of(call.quiet(800), fe.Commit) == []


def test_noise_without_words_is_not_answered_and_its_number_is_used_again(call: Driver) -> None:
    call.voice(300)
    call.quiet(224)
    outputs = call.words("") + call.quiet(call.settings.noise_ms - 224)
    assert commands(outputs) == ["reset"]
    assert of(call.quiet(2000), fe.Commit) == []
    call.voice(500)
    assert call.floor.utterance is not None
    assert (call.floor.utterance.turn, call.floor.utterance.revision) == (1, 1)


def test_a_turn_without_any_pause_ends_at_the_limit() -> None:
    call = Driver(endpoint=EndpointSettings(max_turn_ms=5000))
    outputs = call.voice(5100)
    assert commands(outputs) == ["speech_started", "flush"]
    (commit,) = of(call.words("la la la"), fe.Commit)
    assert commit.transcript == "la la la"
    # Music goes on: it neither reopens the turn nor stops the answer.
    assert of(call.voice(2000), fe.CutPlayout) == []
    call.answer()
    assert of(call.voice(2000), fe.CutPlayout) == []


def test_audio_that_stops_coming_counts_as_silence(call: Driver) -> None:
    call.voice(800)
    outputs = call.wait(600)
    assert commands(outputs) == ["flush"]
    assert of(call.words("Book a"), fe.Commit) == []
    assert len(of(call.wait(1000), fe.Commit)) == 1


def test_an_answer_is_followed_to_its_end(call: Driver) -> None:
    call.turn()
    assert commands(call.answer(2)) == ["reset"]
    outputs = call.played_out()
    assert [o.end for o in of(outputs, fe.CloseAnswer)] == ["heard"]
    assert call.floor.holder is Holder.NOBODY
    call.turn("Thank you.")
    assert [c.turn for c in call.all(fe.Commit)] == [1, 2]


def test_speech_over_the_agent_stops_it_with_a_new_epoch(call: Driver) -> None:
    call.speaks()
    outputs = call.voice(160)
    assert of(outputs, fe.Mute), "out of the way long before it is known what is meant"
    assert of(outputs, fe.CutPlayout) == []
    assert call.floor.holder is Holder.BOTH
    call.words("No", is_final=False)
    outputs = call.voice(160)
    (cut,) = of(outputs, fe.CutPlayout)
    (advance,) = of(outputs, fe.AdvanceEpoch)
    assert (cut.turn, cut.epoch, advance.epoch, advance.cause) == (1, 1, 1, "barge_in")
    assert [o.end for o in of(outputs, fe.CloseAnswer)] == ["cut"]
    assert outputs.index(cut) < outputs.index(advance), "what was heard must be known before the epoch is void"
    call.quiet(224)
    call.judge(0.95)
    (commit,) = of(call.words("No, stop."), fe.Commit)
    assert (commit.turn, commit.revision, commit.epoch) == (2, 0, 1)


def test_two_words_stop_the_agent_before_the_duration_does(call: Driver) -> None:
    call.speaks()
    call.voice(160)
    assert len(of(call.words("stop that", is_final=False), fe.CutPlayout)) == 1


def test_one_short_word_stops_the_agent_once_it_is_known(call: Driver) -> None:
    call.speaks()
    call.voice(192)
    assert of(call.quiet(224), fe.CutPlayout) == []
    outputs = call.words("Stop!")
    assert len(of(outputs, fe.CutPlayout)) == 1
    (commit,) = of(outputs + call.quiet(512), fe.Commit)
    assert commit.transcript == "Stop!"


@pytest.mark.parametrize("text", ["mm-hm", "Yeah.", "Okay, yes."])
def test_a_backchannel_does_not_stop_the_agent(call: Driver, text: str) -> None:
    call.turn()
    call.answer()
    call.voice(192)
    call.words(text, is_final=False)
    call.voice(192)
    call.quiet(224)
    call.words(text)
    assert of(call.quiet(3000), fe.CutPlayout) == []
    assert call.floor.utterance is None
    assert call.floor.answer is not None


def test_noise_over_the_agent_does_not_stop_it(call: Driver) -> None:
    call.turn()
    call.answer()
    call.voice(192)
    call.quiet(224)
    assert commands(call.words("")) == [], "its next word may come"
    outputs = call.quiet(192)
    assert commands(outputs) == ["reset"]
    assert of(outputs, fe.CutPlayout) == []
    assert of(call.said, edge.SpeechStarted)[-1].turn == 1, "the edge never heard of the noise"


def test_a_yes_over_the_last_words_of_a_question_is_the_reply(call: Driver) -> None:
    call.turn()
    call.answer()
    call.voice(192)
    call.quiet(224)
    call.words("Yes.")
    call.played_out()
    (commit,) = of(call.quiet(1200), fe.Commit)
    assert (commit.turn, commit.transcript) == (2, "Yes.")


def test_a_caller_who_goes_on_before_the_answer_sounds_reopens_the_turn(call: Driver) -> None:
    call.turn("I want a truck")
    call.answer(sounds=False)
    assert of(call.voice(96), fe.HoldPlayout), "the agent must not begin over a caller who may be going on"
    outputs = call.voice(160)
    assert [o.epoch for o in of(outputs, fe.AdvanceEpoch)] == [1]
    assert [o.end for o in of(outputs, fe.CloseAnswer)] == ["resumed"]
    assert [o.kind for o in of(outputs, fe.Announce)] == ["resumed"]
    assert of(outputs, fe.ReleasePlayout)
    call.quiet(224)
    call.judge(0.95)
    (commit,) = of(call.words("I want a truck for tomorrow."), fe.Commit)
    assert (commit.turn, commit.revision, commit.epoch) == (1, 1, 1)
    assert commit.transcript == "I want a truck for tomorrow."


def test_after_the_grace_speech_is_a_turn_of_its_own(call: Driver) -> None:
    call.turn("I want a truck")
    call.quiet(call.settings.resume_grace_ms + 64)
    outputs = call.voice(256)
    assert [o.end for o in of(outputs, fe.CloseAnswer)] == ["cut"]
    assert call.floor.utterance is not None
    assert (call.floor.utterance.turn, call.floor.utterance.revision) == (2, 0)


def test_a_reopened_turn_keeps_its_words_when_the_recogniser_gives_none(call: Driver) -> None:
    call.turn("I want a truck")
    call.voice(256)
    call.quiet(224)
    call.judge(0.95)
    (commit,) = of(call.words(""), fe.Commit)
    assert commit.transcript == "I want a truck"


def test_a_cough_before_the_answer_sounds_only_holds_it_for_a_moment(call: Driver) -> None:
    call.turn()
    call.voice(96)
    assert call.all(fe.HoldPlayout)
    assert not call.all(fe.ReleasePlayout)
    call.quiet(224)
    assert len(of(call.words(""), fe.ReleasePlayout)) == 1
    assert call.floor.answer is not None
    assert call.floor.epoch == 0


def test_the_turn_after_such_a_cough_has_a_number_of_its_own(call: Driver) -> None:
    call.turn()
    call.voice(96)
    call.quiet(224)
    call.words("")
    call.answer()
    call.played_out()
    call.turn("Thank you.")
    assert [(c.turn, c.revision) for c in call.all(fe.Commit)] == [(1, 0), (2, 0)]


def test_speech_that_began_before_the_answer_sounds_is_not_forgotten_with_its_turn() -> None:
    call = Driver(fmt=edge.EdgeFormat(interrupts_response=False))
    call.turn()
    call.voice(320)
    assert commands(call.answer()) == [], "a reset now would take the words of the turn that has begun"


def test_a_hold_ends_without_the_recogniser(call: Driver) -> None:
    call.turn()
    call.voice(96)
    call.quiet(224)
    assert of(call.quiet(call.settings.hold_ms + 64), fe.ReleasePlayout)


def test_hello_before_the_greeting_does_not_take_it_away(call: Driver) -> None:
    call.feed(fe.CallBegan(has_opening=True))
    outputs = call.voice(400) + call.quiet(224) + call.words("Hello?") + call.quiet(1500)
    assert of(outputs, fe.CutPlayout) == []
    assert call.floor.answer is not None
    assert of(call.answer(), fe.Discard) == []


def test_the_farewell_is_heard_before_the_call_ends(call: Driver) -> None:
    call.turn("That was all.")
    call.answer(hangs_up=True)
    assert not call.all(fe.EndCall)
    assert [o.by for o in of(call.played_out(), fe.EndCall)] == ["agent"]
    assert call.voice(500) == [], "nothing follows the end"


def test_a_barge_in_takes_the_hang_up_back(call: Driver) -> None:
    call.turn("That was all.")
    call.answer(hangs_up=True)
    call.voice(400)
    call.quiet(224)
    call.judge(0.95)
    assert len(of(call.words("Wait, one more thing."), fe.Commit)) == 1
    assert not call.all(fe.EndCall)


def test_speech_at_the_end_of_the_farewell_is_judged_before_the_call_ends(call: Driver) -> None:
    call.turn("That was all.")
    call.answer(hangs_up=True)
    call.voice(128)
    assert of(call.played_out(), fe.EndCall) == []
    call.quiet(224)
    assert [o.by for o in of(call.words(""), fe.EndCall)] == ["agent"]


def test_an_answer_without_words_ends_at_once(call: Driver) -> None:
    call.turn()
    assert [o.end for o in of(call.answer(0, sounds=False), fe.CloseAnswer)] == ["heard"]
    assert call.floor.answer is None


def test_a_stale_answer_is_dropped_by_comparison(call: Driver) -> None:
    call.turn()
    call.answer()
    call.feed(fe.StopRequested())
    outputs = call.feed(fe.ClauseArrived(0, 1, 0, 1)) + call.feed(fe.AnswerEnded(0, 1, 0, 2, hangs_up=True))
    assert [o.reason for o in of(outputs, fe.Discard)] == ["stale_answer", "stale_answer"]
    assert not call.all(fe.EndCall)


def test_a_stale_end_does_not_end_the_answer_that_lives(call: Driver) -> None:
    call.turn()
    call.answer()
    call.feed(fe.TextSent("Never mind."))
    outputs = call.feed(fe.AnswerEnded(0, 1, 0, 0, hangs_up=True))
    assert [o.reason for o in of(outputs, fe.Discard)] == ["stale_answer"]
    assert call.floor.answer is not None
    assert call.floor.answer.ended is None


def test_an_answer_that_makes_no_progress_fails_aloud(call: Driver) -> None:
    call.turn()
    outputs = call.wait(21_000)
    assert [e.error.code for e in of(outputs, edge.Failed)] == [common_pb2.ERROR_CODE_TIMED_OUT]
    assert [o.end for o in of(outputs, fe.CloseAnswer)] == ["failed"]
    assert call.floor.epoch == 1, "what comes late must be void"


def test_a_tool_at_work_is_progress(call: Driver) -> None:
    call.turn()
    call.wait(15_000)
    call.feed(fe.ToolUsed(0, 1, 0, is_client=False))
    assert of(call.wait(15_000), edge.Failed) == []


def test_a_client_can_stop_the_agent(call: Driver) -> None:
    call.turn()
    call.answer()
    outputs = call.feed(fe.StopRequested())
    assert [o.cause for o in of(outputs, fe.AdvanceEpoch)] == ["cancelled"]
    assert call.feed(fe.StopRequested()) == [], "with nothing to stop, nothing happens"


def test_text_takes_the_turn_at_once(call: Driver) -> None:
    call.turn()
    call.answer()
    outputs = call.feed(fe.TextSent("Never mind."))
    assert [o.end for o in of(outputs, fe.CloseAnswer)] == ["cut"]
    (commit,) = of(outputs, fe.Commit)
    assert (commit.turn, commit.epoch, commit.transcript) == (2, 1, "Never mind.")
    assert commit.speech_end_samples is None


def test_text_takes_the_hang_up_back(call: Driver) -> None:
    call.turn("That was all.")
    call.answer(hangs_up=True)
    call.voice(128)
    call.played_out()
    assert of(call.feed(fe.TextSent("Wait.")), fe.EndCall) == []
    assert call.floor.answer is not None


def test_added_text_waits_until_the_answer_is_over(call: Driver) -> None:
    call.turn()
    call.answer()
    assert call.feed(fe.TextAdded("[pressed the key 1]")) == []
    (commit,) = of(call.played_out(), fe.Commit)
    assert (commit.turn, commit.wants_answer) == (2, False)


def test_an_answer_on_request_is_refused_while_one_is_given(call: Driver) -> None:
    (commit,) = of(call.feed(fe.AnswerRequested("Be brief.")), fe.Commit)
    assert (commit.is_prompted, commit.instructions) == (True, "Be brief.")
    outputs = call.feed(fe.AnswerRequested())
    assert [e.error.code for e in of(outputs, edge.Failed)] == [common_pb2.ERROR_CODE_INVALID]


def test_an_answer_on_request_after_a_client_tool_waits_for_the_words_before_it(call: Driver) -> None:
    call.turn()
    call.feed(fe.ToolUsed(0, 1, 0, is_client=True))
    call.answer()
    assert call.feed(fe.AnswerRequested()) == []
    (commit,) = of(call.played_out(), fe.Commit)
    assert (commit.turn, commit.is_prompted) == (2, True)


MANUAL = edge.EdgeFormat(has_turn_detection=False, creates_response=False, interrupts_response=False)


def test_a_client_that_takes_its_turns_itself_is_not_interrupted_by_pauses() -> None:
    call = Driver(fmt=MANUAL)
    outputs = call.voice(500) + call.quiet(2000) + call.voice(500)
    assert commands(outputs) == ["speech_started"]
    assert of(outputs, edge.SpeechStarted) == []
    assert commands(call.feed(fe.InputCommitted(0, call.samples))) == ["flush"]
    (commit,) = of(call.words("One two."), fe.Commit)
    assert (commit.transcript, commit.wants_answer) == ("One two.", False)
    assert len(of(call.feed(fe.AnswerRequested()), fe.Commit)) == 1


def test_commit_and_request_at_once_give_one_answer_to_the_words() -> None:
    call = Driver(fmt=MANUAL)
    call.voice(500)
    call.feed(fe.InputCommitted(0, call.samples))
    assert of(call.feed(fe.AnswerRequested("Short.")), fe.Commit) == []
    (commit,) = of(call.words("One two."), fe.Commit)
    assert (commit.wants_answer, commit.instructions, commit.transcript) == (True, "Short.", "One two.")


def test_a_commit_without_voice_still_asks_the_recogniser() -> None:
    call = Driver(fmt=MANUAL)
    call.quiet(500)
    assert commands(call.feed(fe.InputCommitted(0, call.samples))) == ["speech_started", "flush"]
    (commit,) = of(call.words(""), fe.Commit)
    assert commit.transcript == ""


def test_cleared_input_is_forgotten(call: Driver) -> None:
    call.voice(500)
    assert commands(call.feed(fe.InputCleared())) == ["reset"]
    assert call.floor.utterance is None


def test_a_client_that_does_not_want_to_be_interrupted_is_heard_without_a_second_answer() -> None:
    call = Driver(fmt=edge.EdgeFormat(interrupts_response=False))
    call.turn()
    call.answer()
    outputs = call.voice(1000) + call.quiet(224) + call.words("And another thing.") + call.quiet(1200)
    assert of(outputs, fe.CutPlayout) == []
    assert of(outputs, fe.Commit) == [], "a newer commit would end the answer"
    (commit,) = of(call.played_out(), fe.Commit)
    assert (commit.transcript, commit.wants_answer) == ("And another thing.", False)


def test_a_silent_call_ends_by_itself_even_when_nobody_asks() -> None:
    call = Driver(settings=fe.FloorSettings(silence_prompt_s=0))
    call.feed(fe.CallBegan(has_opening=True))
    call.answer()
    call.wait(10_000)
    call.played_out()
    assert of(call.wait(74_000), fe.EndCall) == []
    assert [o.by for o in of(call.wait(2000), fe.EndCall)] == ["timeout"]


def test_no_call_lasts_forever() -> None:
    call = Driver(settings=fe.FloorSettings(max_call_s=60, idle_s=1000))
    assert of(call.wait(59_000), fe.EndCall) == []
    assert [o.by for o in of(call.wait(2000), fe.EndCall)] == ["timeout"]


def test_a_lost_worker_closes_the_answer_and_ends_the_call(call: Driver) -> None:
    call.turn()
    call.answer()
    outputs = call.feed(fe.CallLost("router", Unavailable("tts is silent").to_message()))
    assert [o.end for o in of(outputs, fe.CloseAnswer)] == ["cut"]
    (end,) = of(outputs, fe.EndCall)
    assert end.error is not None
    assert outputs[-1] is end


def test_a_yes_is_answered_sooner_when_the_agent_has_asked() -> None:
    def silence_before_the_commit(*, asks: bool) -> int:
        call = Driver(endpoint=EndpointSettings())
        call.turn()
        call.quiet(1600)
        answer = call.floor.answer
        assert answer is not None
        key = (answer.epoch, answer.turn, answer.revision)
        for index, is_question in enumerate((False, asks)):
            call.feed(fe.ClauseArrived(*key, index, is_question))
        call.feed(fe.AnswerEnded(*key, 2))
        call.feed(fe.PlayoutBegan(answer.turn))
        call.played_out()
        call.quiet(640)
        call.voice(400)
        call.quiet(128)
        call.words("Yes.")
        while not of(call.quiet(32), fe.Commit):
            pass
        (committed,) = (c for c in of(call.said, fe.Announce) if c.kind == "committed" and c.turn == 2)
        return committed.silence_ms

    assert silence_before_the_commit(asks=True) < silence_before_the_commit(asks=False) - 100


def test_a_moment_that_has_passed_is_none_to_be_woken_for(call: Driver) -> None:
    call.voice(400)
    utterance = call.floor.utterance
    assert utterance is not None
    utterance.pauses_ns = call.now_ms * 1_000_000
    assert call.floor.due_ns is None
    utterance.pauses_ns += 1
    assert call.floor.due_ns == utterance.pauses_ns
