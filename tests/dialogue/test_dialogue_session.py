"""The decisions of a dialogue, event by event."""

import json

import pytest
from dialogue_role import FakeRole
from session_steps import answer, hear_all, only, said

from halfbeat.drop import DropReason
from halfbeat.errors import EngineFailed, ToolFailed
from services.dialogue.engine import (
    AgentSaid,
    CallDelta,
    CallerSaid,
    Finished,
    Note,
    TextDelta,
    ToolRan,
    Usage,
)
from services.dialogue.outputs import (
    AnswerKey,
    Ask,
    CancelTool,
    Dropped,
    Finish,
    Halt,
    Prefill,
    RunTool,
    Say,
    Withheld,
)
from services.dialogue.role import Cause
from services.dialogue.session import DialogueSession


def test_the_opening_is_spoken_word_for_word_when_the_router_asks_for_it() -> None:
    session = DialogueSession(FakeRole(), "Hi, I see you call from Oak Street. Is it the trash?")
    only(Prefill, session.on_opened())
    outputs = session.on_committed(0, 0, 0, "", is_prompted=True, cause=Cause.OPENING)
    assert said(outputs) == ["Hi, I see you call from Oak Street.", "Is it the trash?"]
    assert only(Finish, outputs).clauses == 2


def test_the_prompt_of_the_opening_is_read_before_it_is_spoken() -> None:
    session = DialogueSession(FakeRole(), "Hello there.")
    assert only(Prefill, session.on_opened()).prompt.items == [AgentSaid("Hello there.")]


def test_a_committed_turn_is_answered_in_clauses_as_they_form() -> None:
    session = DialogueSession(FakeRole())
    key = only(Ask, session.on_committed(0, 1, 0, " Hello  there ")).key
    assert said(session.on_delta(key, TextDelta("Sure, I can "))) == ["Sure,"]
    outputs = session.on_delta(key, TextDelta("help.")) + session.on_delta(key, Usage(10, 8, 4))
    outputs += session.on_delta(key, Finished("stop"))
    assert said(outputs) == ["I can help."]
    finish = only(Finish, outputs)
    assert (finish.clauses, finish.usage, finish.error) == (2, Usage(10, 8, 4), None)


def test_the_next_prompt_holds_what_was_heard_and_only_appends() -> None:
    session = DialogueSession(FakeRole())
    key = only(Ask, session.on_committed(0, 1, 0, "Hello")).key
    prefill = only(Prefill, answer(session, key, "Good day."))
    hear_all(session, 1)
    ask = only(Ask, session.on_committed(0, 2, 0, "Bye"))
    assert ask.prompt.items == [*prefill.prompt.items, CallerSaid("Bye")]
    assert ask.prompt.items == [CallerSaid("Hello"), AgentSaid("Good day."), CallerSaid("Bye")]


def test_after_a_barge_in_the_history_ends_at_the_last_heard_word() -> None:
    session = DialogueSession(FakeRole())
    key = only(Ask, session.on_committed(0, 1, 0, "Hello")).key
    answer(session, key, "Good day, how may I help you?")
    session.on_heard(1, 0, 1, len("how may I he"), is_cut=True)
    session.on_epoch(1)
    ask = only(Ask, session.on_committed(1, 2, 0, "Wait"))
    assert ask.prompt.items[1] == AgentSaid("Good day, how may I", is_cut=True)


def test_a_mark_that_arrives_after_the_next_turn_still_counts() -> None:
    session = DialogueSession(FakeRole())
    key = only(Ask, session.on_committed(0, 1, 0, "Hello")).key
    answer(session, key, "Good day.")
    session.on_committed(0, 2, 0, "Bye")
    session.on_heard(1, 0, 0, 99, is_complete=True)
    assert AgentSaid("Good day.") in session.conversation.items()


def test_a_newer_epoch_stops_the_model_and_voids_its_words() -> None:
    session = DialogueSession(FakeRole())
    key = only(Ask, session.on_committed(0, 1, 0, "Hello")).key
    assert only(Halt, session.on_epoch(1)).key == key
    assert session.on_delta(key, TextDelta("Too late.")) == []


def test_a_new_revision_is_answered_in_place_of_the_old_one() -> None:
    session = DialogueSession(FakeRole())
    old = only(Ask, session.on_committed(0, 1, 0, "Can you")).key
    outputs = session.on_committed(1, 1, 1, "Can you send somebody")
    assert only(Halt, outputs).key == old
    assert only(Ask, outputs).prompt.items == [CallerSaid("Can you send somebody")]


@pytest.mark.parametrize(
    ("epoch", "turn", "revision", "reason"),
    [
        (1, 3, 0, DropReason.STALE_EPOCH),
        (2, 1, 5, DropReason.STALE_TURN),
        (2, 2, 0, DropReason.STALE_REVISION),
        (2, 2, 1, DropReason.DUPLICATE),
    ],
)
def test_what_is_older_than_the_present_turn_is_dropped_with_its_reason(
    epoch: int, turn: int, revision: int, reason: DropReason
) -> None:
    session = DialogueSession(FakeRole())
    session.on_committed(2, 2, 1, "Now")
    assert session.on_committed(epoch, turn, revision, "Then") == [Dropped("turn.commit", reason)]


def test_words_without_a_wish_for_an_answer_only_enter_the_history() -> None:
    session = DialogueSession(FakeRole())
    outputs = session.on_committed(0, 1, 0, "By the way", wants_answer=False)
    assert only(Prefill, outputs).prompt.items == [CallerSaid("By the way")]
    assert not any(isinstance(output, Ask) for output in outputs)


def test_a_silent_turn_is_answered_only_when_an_answer_is_asked_for() -> None:
    session = DialogueSession(FakeRole())
    assert not any(isinstance(output, Ask) for output in session.on_committed(0, 1, 0, ""))
    ask = only(Ask, session.on_committed(0, 2, 0, "", is_prompted=True, instructions="Greet."))
    assert ask.prompt.items == [Note("Greet.")]


# Reading ahead.


def test_words_of_the_caller_are_read_ahead_but_for_the_last() -> None:
    session = DialogueSession(FakeRole())
    assert session.on_transcript(0, 1, 0, "can you") == []
    prefill = only(Prefill, session.on_transcript(0, 1, 0, "can you send"))
    assert prefill.prompt.items == [CallerSaid("can you")]
    assert session.on_transcript(0, 1, 0, "can you send somebody") == []


def test_words_that_were_recognised_anew_are_read_anew() -> None:
    session = DialogueSession(FakeRole())
    only(Prefill, session.on_transcript(0, 1, 0, "can you sent some body to"))
    assert session.on_transcript(0, 1, 0, "can you sent some body") == []
    prefill = only(Prefill, session.on_transcript(0, 1, 0, "can you send somebody to"))
    assert prefill.prompt.items == [CallerSaid("can you send somebody")]


def test_the_final_words_are_left_to_the_draft_that_mostly_follows_at_once() -> None:
    session = DialogueSession(FakeRole())
    assert only(Prefill, session.on_transcript(0, 1, 0, "can you send")).after_s == 0.0
    assert only(Prefill, session.on_transcript(0, 1, 0, "can you send one.", is_final=True)).after_s > 0.0


def test_at_the_first_pause_every_word_is_read_before_the_turn_is_committed() -> None:
    session = DialogueSession(FakeRole())
    prefill = only(Prefill, session.on_transcript(0, 1, 0, "can you", is_final=True))
    assert session.on_transcript(0, 1, 0, "can you", is_final=True) == []
    assert only(Ask, session.on_committed(0, 1, 0, "can you")).prompt == prefill.prompt


def test_nothing_is_read_ahead_while_an_answer_forms() -> None:
    session = DialogueSession(FakeRole())
    session.on_committed(0, 1, 0, "Hello")
    assert session.on_transcript(0, 2, 0, "wait I want to say something") == []


# Tools.


def booked(session: DialogueSession, turn: int = 1) -> RunTool:
    key = only(Ask, session.on_committed(session.epoch, turn, 0, "Book it")).key
    session.on_delta(key, CallDelta("", "book", "{}"))
    return only(RunTool, session.on_delta(key, Finished("tool")))


def test_the_exact_words_of_a_tool_are_spoken_and_end_the_answer() -> None:
    session = DialogueSession(FakeRole("book"))
    run = booked(session)
    outputs = session.on_tool_result(run.call_id, {"ref": 7}, say="Done. It comes at 9 AM.")
    assert said(outputs) == ["Done.", "It comes at 9 AM."]
    assert only(Finish, outputs).error is None
    hear_all(session, 1)
    assert session.conversation.items()[1:] == [
        ToolRan(run.call_id, "book", "{}", '{"ref": 7, "said": "Done. It comes at 9 AM."}', is_spoken=True),
        AgentSaid("Done. It comes at 9 AM."),
    ]


def test_without_exact_words_the_model_speaks_of_the_result_and_may_not_call_again() -> None:
    session = DialogueSession(FakeRole("book"))
    run = booked(session)
    ask = only(Ask, session.on_tool_result(run.call_id, {"time": "9 AM"}))
    assert ask.prompt.open_tools == []
    assert ask.prompt.items[-1] == ToolRan(run.call_id, "book", "{}", '{"time": "9 AM"}')
    assert said(answer(session, ask.key, "It comes at 9 AM.")) == ["It comes at 9 AM."]


def test_two_calls_of_one_answer_run_one_after_the_other() -> None:
    session = DialogueSession(FakeRole("book", "text"))
    key = only(Ask, session.on_committed(0, 1, 0, "Book and text me")).key
    session.on_delta(key, CallDelta("a", "book", "{}"))
    session.on_delta(key, CallDelta("b", "text", "{}"))
    assert only(RunTool, session.on_delta(key, Finished("tool"))).call_id == "a"
    outputs = session.on_tool_result("a", {}, say="Booked.")
    assert only(RunTool, outputs).call_id == "b"
    assert not any(isinstance(output, Finish) for output in outputs)
    assert only(Finish, session.on_tool_result("b", {}, say="Texted.")).clauses == 2


def test_a_failed_tool_is_apologised_for() -> None:
    session = DialogueSession(FakeRole("book"))
    run = booked(session)
    outputs = session.on_tool_result(run.call_id, {"error": "raised"}, error=ToolFailed("book"))
    assert said(outputs) == ["Sorry about that."]
    assert isinstance(only(Finish, outputs).error, ToolFailed)


def test_a_barge_in_does_not_undo_a_booking_but_its_words_are_not_spoken() -> None:
    session = DialogueSession(FakeRole("book"))
    run = booked(session)
    assert not any(isinstance(output, CancelTool) for output in session.on_epoch(1))
    assert session.on_tool_result(run.call_id, {"ref": 7}, say="Done.") == []
    ask = only(Ask, session.on_committed(1, 2, 0, "Wait"))
    ran = next(item for item in ask.prompt.items if isinstance(item, ToolRan))
    assert json.loads(ran.result_json or "") == {"ref": 7, "said": "Done."}
    assert not ran.is_spoken


def test_a_barge_in_cancels_the_tools_that_say_so() -> None:
    role = FakeRole("end_call")
    role.cancelling = {"end_call"}
    session = DialogueSession(role)
    key = only(Ask, session.on_committed(0, 1, 0, "Bye")).key
    session.on_delta(key, CallDelta("c", "end_call", "{}"))
    session.on_delta(key, Finished("tool"))
    assert only(CancelTool, session.on_epoch(1)).call_id == "c"


def test_an_answer_hangs_up_unless_the_caller_goes_on_talking() -> None:
    role = FakeRole("end_call")
    session = DialogueSession(role)
    run = booked(session)
    role.is_hanging_up = True
    outputs = session.on_tool_result(run.call_id, {}, say="Goodbye!")
    assert only(Finish, outputs).hangs_up
    session.on_epoch(1)
    key = only(Ask, session.on_committed(1, 2, 0, "One more thing")).key
    assert not only(Finish, answer(session, key, "Yes?")).hangs_up


def test_a_slow_tool_gets_its_filler_which_stays_out_of_the_history() -> None:
    role = FakeRole("book")
    role.fillers = {"book": "One moment."}
    session = DialogueSession(role)
    run = booked(session)
    filler = only(Say, session.on_tool_slow(run.call_id))
    assert (filler.text, filler.is_filler) == ("One moment.", True)
    assert only(Say, session.on_tool_result(run.call_id, {}, say="Done.")).index == 1
    assert session.on_tool_slow(run.call_id) == []
    hear_all(session, 1)
    assert session.conversation.items()[-1] == AgentSaid("Done.")


def test_the_state_of_the_conversation_decides_what_is_open() -> None:
    role = FakeRole("book", "text")
    session = DialogueSession(role)
    role.open = {"text"}
    ask = only(Ask, session.on_committed(0, 1, 0, "Book"))
    assert [tool.name for tool in ask.prompt.open_tools] == ["text"]
    assert [tool.name for tool in ask.prompt.tools] == ["book", "text"]


def test_a_result_that_nobody_waits_for_is_dropped() -> None:
    session = DialogueSession(FakeRole())
    assert session.on_tool_result("nobody", {}) == [Dropped("tool.result", DropReason.STALE_TURN)]


# What may be said.


def test_an_invented_time_is_not_spoken_and_the_model_is_asked_once_more() -> None:
    session = DialogueSession(FakeRole())
    key = only(Ask, session.on_committed(0, 1, 0, "When?")).key
    outputs = session.on_delta(key, TextDelta("It comes at 9 AM. "))
    assert said(outputs) == []
    assert only(Withheld, outputs).why == "invented"
    retry = only(Ask, outputs)
    assert retry.is_retry
    assert isinstance(retry.prompt.items[-1], Note)
    outputs = answer(session, key, "It comes at 10 AM.")
    assert said(outputs) == ["I do not know that."]
    assert only(Finish, outputs).error is None
    assert only(Withheld, outputs).why == "invented"


def test_an_invention_after_true_words_ends_the_answer_before_it() -> None:
    session = DialogueSession(FakeRole())
    key = only(Ask, session.on_committed(0, 1, 0, "When?")).key
    outputs = session.on_delta(key, TextDelta("A truck can come tomorrow. It comes at 9 AM. "))
    assert said(outputs) == ["A truck can come tomorrow."]
    only(Finish, outputs)
    assert only(Withheld, outputs).why == "invented"


def test_an_invention_after_no_more_than_an_opener_is_replaced() -> None:
    session = DialogueSession(FakeRole())
    key = only(Ask, session.on_committed(0, 1, 0, "When?")).key
    outputs = answer(session, key, "Well, it comes at 9 AM.")
    assert said(outputs) == ["Well,", "I do not know that."]
    assert only(Withheld, outputs).why == "invented"


@pytest.mark.parametrize("begun", ["Sorry,", "I'm sorry,", "Well,", "Okay,", "No,"])
@pytest.mark.parametrize("ending", ["it comes at 9 AM.", None])
def test_an_answer_that_breaks_off_after_an_opener_goes_on_without_a_second_one(begun: str, ending: str | None) -> None:
    role = FakeRole()
    role.fallback = role.apology = "Sorry, I do not know that."
    session = DialogueSession(role)
    key = only(Ask, session.on_committed(0, 1, 0, "When?")).key
    outputs = session.on_delta(key, TextDelta(f"{begun} "))
    outputs += answer(session, key, ending) if ending else session.on_failure(key, EngineFailed("gone"))
    assert " ".join(said(outputs)) == f"{begun} I do not know that."


def test_a_draft_that_breaks_off_after_an_opener_goes_on_without_a_second_one_and_is_counted_once() -> None:
    role = FakeRole()
    role.fallback = "Sorry, I do not know that."
    session = DialogueSession(role)
    session.on_drafted(0, 1, 0, "When?")
    outputs = answer(session, AnswerKey(0, 1, 0), "I'm sorry, it comes at 9 AM.")
    outputs += session.on_committed(0, 1, 0, "When?", adopts_draft=True)
    assert said(outputs) == ["I'm sorry,", "I do not know that."]
    assert only(Withheld, outputs).why == "invented"


def test_a_claim_that_the_application_refuses_is_not_spoken() -> None:
    role = FakeRole()
    role.forbidden = {"I have booked it."}
    session = DialogueSession(role)
    key = only(Ask, session.on_committed(0, 1, 0, "Book")).key
    assert only(Withheld, answer(session, key, "I have booked it.")).why == "claim"


def test_an_empty_answer_is_asked_for_again_and_then_replaced() -> None:
    session = DialogueSession(FakeRole())
    key = only(Ask, session.on_committed(0, 1, 0, "Hm")).key
    assert only(Withheld, session.on_delta(key, Finished("stop"))).why == "empty"
    assert said(session.on_delta(key, Finished("stop"))) == ["I do not know that."]


def test_a_failed_model_is_apologised_for_and_the_call_goes_on() -> None:
    session = DialogueSession(FakeRole())
    key = only(Ask, session.on_committed(0, 1, 0, "Hello")).key
    outputs = session.on_failure(key, EngineFailed("gone"))
    assert said(outputs) == ["Sorry about that."]
    assert isinstance(only(Finish, outputs).error, EngineFailed)
    only(Ask, session.on_committed(0, 2, 0, "Again"))
