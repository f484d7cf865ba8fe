"""A draft forms like an answer, but nothing of it counts before a commit adopts it."""

import pytest
from dialogue_role import FakeRole
from session_steps import answer, call, hear_all, none_of, only, said

from halfbeat.drop import DropReason
from halfbeat.errors import EngineFailed
from services.dialogue.engine import AgentSaid, CallDelta, CallerSaid, Finished, Note, TextDelta, ToolRan, Usage
from services.dialogue.outputs import (
    AnswerKey,
    Ask,
    DraftEnded,
    Dropped,
    Finish,
    Halt,
    Output,
    Prefill,
    RunTool,
    Say,
    VoidDraft,
    Wasted,
    Withheld,
)
from services.dialogue.session import DialogueSession

KEY = AnswerKey(0, 1, 0)


def drafted(session: DialogueSession, said: str = "Send a truck.", revision: int = 0) -> AnswerKey:
    return only(Ask, session.on_drafted(0, 1, revision, said)).key


def adopt(session: DialogueSession, said: str = "Send a truck.", revision: int = 0) -> list[Output]:
    return session.on_committed(0, 1, revision, said, adopts_draft=True)


def outcome(outputs: list[Output]) -> str:
    return only(DraftEnded, outputs).outcome


# Before the commit.


def test_only_the_first_clause_of_a_draft_goes_out_and_says_that_it_is_one() -> None:
    session = DialogueSession(FakeRole())
    key = drafted(session)
    outputs = answer(session, key, "Sure, I can do that. Is there anything else?")
    assert outputs == [Say(key, 0, "Sure,", is_draft=True)]


def test_a_draft_leaves_the_conversation_and_the_role_as_they_are() -> None:
    role = FakeRole("book")
    role.is_hanging_up = True
    session = DialogueSession(role)
    answer(session, drafted(session), "Sure, I can do that.")
    assert session.conversation.items() == []
    assert (role.heard, role.checked, role.is_hanging_up) == ([], [], True)


def test_a_tool_that_a_draft_calls_does_not_run_before_the_commit() -> None:
    session = DialogueSession(FakeRole("book"))
    assert call(session, drafted(session), "book") == []
    run = only(RunTool, adopt(session))
    assert (run.key, run.name) == (KEY, "book")


def test_a_draft_is_told_what_the_answer_would_be_told() -> None:
    session = DialogueSession(FakeRole("book"))
    session.on_committed(0, 1, 0, "Hello")
    answer(session, KEY, "Good day.")
    hear_all(session, 1)
    drafted_prompt = only(Ask, session.on_drafted(0, 2, 0, "Send a truck.")).prompt
    assert drafted_prompt.items == [CallerSaid("Hello"), AgentSaid("Good day."), CallerSaid("Send a truck.")]
    other = DialogueSession(FakeRole("book"))
    other.conversation = session.conversation
    assert only(Ask, other.on_committed(0, 2, 0, "Send a truck.")).prompt == drafted_prompt


def test_the_instructions_of_the_answer_before_are_not_those_of_a_draft() -> None:
    session = DialogueSession(FakeRole())
    session.on_committed(0, 1, 0, "", is_prompted=True, instructions="Greet.")
    answer(session, KEY, "Good day.")
    assert only(Ask, session.on_drafted(0, 2, 0, "Hi")).prompt.items == [CallerSaid("Hi")]


def test_a_draft_that_may_not_be_said_is_asked_for_once_more() -> None:
    session = DialogueSession(FakeRole())
    key = drafted(session)
    outputs = session.on_delta(key, TextDelta("It comes at 9 AM. "))
    assert (only(Withheld, outputs).why, said(outputs)) == ("invented", [])
    assert isinstance(only(Ask, outputs).prompt.items[-1], Note)
    assert said(answer(session, key, "A truck comes at 11 AM.")) == ["I do not know that."]
    assert said(adopt(session)) == []
    assert session.conversation.exchanges[-1].clauses[0].text == "I do not know that."


def test_of_a_draft_that_was_asked_for_twice_only_the_second_try_counts() -> None:
    session = DialogueSession(FakeRole())
    key = drafted(session)
    session.on_delta(key, TextDelta("It comes at 9 AM. "))
    session.on_delta(key, TextDelta("Sure, I can do that. Anything "))
    assert said(adopt(session)) == ["I can do that."]


def test_the_model_is_asked_once_more_and_not_twice_whenever_the_commit_comes() -> None:
    session = DialogueSession(FakeRole())
    key = drafted(session)
    session.on_delta(key, TextDelta("It comes at 9 AM. "))
    adopt(session)
    assert said(session.on_delta(key, TextDelta("Or at 11 AM. "))) == ["I do not know that."]


def test_a_draft_that_was_replaced_by_the_fallback_is_so_when_it_is_used_again() -> None:
    session = DialogueSession(FakeRole())
    key = drafted(session)
    answer(session, key, "It comes at 9 AM. ")
    answer(session, key, "Or at 11 AM.")
    session.on_resumed(0, 1, 1)
    outputs = session.on_drafted(0, 1, 1, "Send a truck.")
    assert said(outputs) == ["I do not know that."]
    assert none_of(Ask, outputs)


def test_a_long_draft_is_read_no_further_than_its_bound_once_its_first_clause_is_there() -> None:
    session = DialogueSession(FakeRole(), draft_tokens=4)
    key = drafted(session)
    for _ in range(6):
        session.on_delta(key, TextDelta("word "))
    assert not session.is_waiting(key)
    session.on_delta(key, TextDelta("end. "))
    session.on_delta(key, TextDelta("More "))
    assert session.is_waiting(key)
    adopt(session)
    assert not session.is_waiting(key)


def test_nothing_is_read_ahead_while_a_draft_is_alive() -> None:
    session = DialogueSession(FakeRole())
    drafted(session)
    assert session.on_transcript(0, 1, 0, "Send a truck to my house now") == []


# The commit.


def test_the_commit_releases_what_a_draft_has_held_in_order() -> None:
    session = DialogueSession(FakeRole())
    key = drafted(session)
    session.on_delta(key, TextDelta("Sure, I can do that. Is there"))
    outputs = adopt(session)
    assert outcome(outputs) == "adopted"
    assert none_of(Ask, outputs)
    assert [s for s in outputs if isinstance(s, Say)] == [Say(key, 1, "I can do that.")]
    outputs = answer(session, key, " anything else?") + session.on_heard(1, 0, 2, 0, is_complete=True)
    assert said(outputs) == ["Is there anything else?"]
    assert only(Finish, outputs).clauses == 3
    assert session.conversation.items() == [
        CallerSaid("Send a truck."),
        AgentSaid("Sure, I can do that. Is there anything else?"),
    ]


def test_a_draft_that_is_complete_is_all_there_at_the_commit() -> None:
    session = DialogueSession(FakeRole())
    key = drafted(session)
    session.on_delta(key, TextDelta("Sure."))
    session.on_delta(key, Usage(9, 4, 2))
    session.on_delta(key, Finished("stop"))
    finish = only(Finish, adopt(session))
    assert (finish.clauses, finish.usage, finish.wasted_tokens) == (1, Usage(9, 4, 2), 0)


def test_a_commit_before_the_first_clause_goes_on_with_the_same_stream() -> None:
    session = DialogueSession(FakeRole())
    key = drafted(session)
    session.on_delta(key, TextDelta("Sure"))
    outputs = adopt(session)
    assert none_of(Ask, outputs)
    assert none_of(Halt, outputs)
    assert [s for s in answer(session, key, ", I can.") if isinstance(s, Say)] == [
        Say(key, 0, "Sure,"),
        Say(key, 1, "I can."),
    ]


def test_words_that_differ_in_case_and_marks_are_the_same_words() -> None:
    session = DialogueSession(FakeRole())
    answer(session, drafted(session, "send a truck"), "Sure.")
    assert outcome(adopt(session, "Send a truck.")) == "adopted"
    assert session.conversation.items()[0] == CallerSaid("send a truck")  # as the model has read it


def test_what_the_role_must_know_it_learns_at_the_commit_and_checks_are_made_again() -> None:
    role = FakeRole()
    session = DialogueSession(role)
    answer(session, drafted(session), "Goodbye, then. Farewell.")
    adopt(session)
    assert role.heard == ["Send a truck."]
    assert role.checked == ["Goodbye,", "then.", "Farewell."]


def test_another_revision_is_answered_anew_and_the_draft_is_wasted() -> None:
    session = DialogueSession(FakeRole())
    key = drafted(session)
    session.on_delta(key, TextDelta("Sure, "))
    session.on_delta(key, TextDelta("I can"))
    outputs = session.on_committed(0, 1, 1, "Send a truck. Or two.")
    assert only(Halt, outputs).key == key
    assert outcome(outputs) == "passed"
    assert only(Wasted, outputs).usage.completion_tokens == 2
    ask = only(Ask, outputs)
    assert ask.prompt.items == [CallerSaid("Send a truck. Or two.")]
    assert session.on_delta(key, TextDelta("do. ")) == []
    assert only(Finish, answer(session, ask.key, "Fine.")).wasted_tokens == 2


def test_a_commit_that_adopts_what_was_never_drafted_is_answered() -> None:
    session = DialogueSession(FakeRole())
    ask = only(Ask, adopt(session))
    assert said(answer(session, ask.key, "Sure.")) == ["Sure."]
    assert session.on_drafted(0, 1, 0, "Send a truck.") == [Dropped("turn.draft", DropReason.DUPLICATE)]


# The caller goes on.


def test_a_caller_who_goes_on_voids_the_draft_at_once() -> None:
    session = DialogueSession(FakeRole("book"))
    key = drafted(session)
    call(session, key, "book")
    outputs = session.on_resumed(0, 1, 1)
    assert only(Halt, outputs).key == key
    assert outcome(outputs) == "resumed"
    outputs = session.on_committed(0, 1, 1, "Send a truck. No, do not.")
    assert none_of(RunTool, outputs)


def test_a_draft_that_is_asked_for_after_the_caller_went_on_is_stale() -> None:
    session = DialogueSession(FakeRole())
    session.on_resumed(0, 1, 1)
    assert session.on_drafted(0, 1, 0, "Send") == [Dropped("turn.draft", DropReason.STALE_REVISION)]
    drafted(session, revision=1)


def test_a_turn_that_was_resumed_long_ago_voids_no_newer_draft() -> None:
    session = DialogueSession(FakeRole())
    drafted(session, revision=1)
    assert session.on_resumed(0, 1, 1) == []


def test_an_equal_draft_is_not_formed_twice() -> None:
    session = DialogueSession(FakeRole("book"))
    role_opener = {"book": "Okay,"}
    session.role.tool_openers = role_opener  # type: ignore[attr-defined]
    call(session, drafted(session, "Book it"), "book")
    session.on_resumed(0, 1, 1)
    outputs = session.on_drafted(0, 1, 1, "book it.")
    key = AnswerKey(0, 1, 1)
    assert outputs == [Say(key, 0, "Okay,", is_draft=True)]
    outputs = adopt(session, "book it.", revision=1)
    assert only(RunTool, outputs).key == key
    assert none_of(Wasted, outputs)


def test_a_draft_that_was_not_finished_is_formed_anew_and_the_old_one_is_wasted() -> None:
    session = DialogueSession(FakeRole())
    session.on_delta(drafted(session), TextDelta("Sure, I "))
    session.on_resumed(0, 1, 1)
    key = drafted(session, revision=1)
    assert only(Wasted, session.on_resumed(0, 1, 2)).usage.completion_tokens == 1
    assert session.on_delta(key, TextDelta("can. ")) == []


# Something changes.


def with_running_tool() -> tuple[DialogueSession, RunTool]:
    session = DialogueSession(FakeRole("book"))
    session.on_committed(0, 1, 0, "Book it")
    run = only(RunTool, call(session, KEY, "book"))
    session.on_epoch(1)
    return session, run


def test_a_result_that_comes_while_a_draft_is_alive_voids_it() -> None:
    session, run = with_running_tool()
    key = only(Ask, session.on_drafted(1, 2, 0, "And?")).key
    outputs = session.on_tool_result(run.call_id, {"ref": 7}, say="Done.")
    assert only(VoidDraft, outputs).key == key
    assert only(Halt, outputs).key == key
    assert outcome(outputs) == "voided"
    ask = only(Ask, session.on_committed(1, 2, 1, "And?"))
    assert isinstance(ask.prompt.items[1], ToolRan)
    assert ask.prompt.items[1].result_json is not None


def test_a_late_mark_that_changes_the_history_voids_a_draft_and_another_does_not() -> None:
    session = DialogueSession(FakeRole())
    session.on_committed(0, 1, 0, "Hello")
    answer(session, KEY, "Good day to you.")
    hear_all(session, 1)
    key = only(Ask, session.on_drafted(0, 2, 0, "Hi")).key
    assert session.on_heard(1, 0, 0, 4) == []
    session.on_resumed(0, 2, 1)
    session.conversation.exchanges[0].clauses[0].heard_chars = 4
    key = only(Ask, session.on_drafted(0, 2, 1, "Hi there")).key
    assert only(VoidDraft, session.on_heard(1, 0, 0, 99, is_complete=True)).key == key


def test_another_role_voids_a_draft() -> None:
    session = DialogueSession(FakeRole())
    key = drafted(session)
    role = FakeRole()
    role.facts = ("No truck can come.",)
    assert only(VoidDraft, session.on_updated(role)).key == key


def test_words_that_are_added_to_the_history_void_a_draft_that_does_not_know_them() -> None:
    session = DialogueSession(FakeRole())
    session.on_drafted(0, 2, 0, "Hi")
    outputs = session.on_committed(0, 1, 0, "By the way", wants_answer=False)
    assert only(VoidDraft, outputs).key == AnswerKey(0, 2, 0)
    only(Prefill, outputs)


def test_the_routers_word_counts_when_it_adopts_a_draft_that_was_voided_meanwhile() -> None:
    session, run = with_running_tool()
    key = only(Ask, session.on_drafted(1, 2, 0, "And?")).key
    session.on_delta(key, TextDelta("Well, I "))
    session.on_tool_result(run.call_id, {"ref": 7}, say="Done.")
    outputs = session.on_committed(1, 2, 0, "And?", adopts_draft=True)
    assert outcome(outputs) == "changed"
    assert said(outputs) == []
    only(Wasted, outputs)
    ask = only(Ask, outputs)
    outputs = answer(session, ask.key, "Well, it is done. Anything else?")
    assert [(s.index, s.text) for s in outputs if isinstance(s, Say)] == [(1, "it is done."), (2, "Anything else?")]


def test_a_change_that_only_the_commit_shows_leaves_nothing_of_a_draft_that_has_said_nothing() -> None:
    role = FakeRole("book")
    session = DialogueSession(role)
    drafted(session)
    role.open = set()
    outputs = adopt(session)
    assert outcome(outputs) == "changed"
    assert only(Ask, outputs).prompt.open_tools == []


def test_a_model_that_fails_in_a_draft_is_not_apologised_for() -> None:
    session = DialogueSession(FakeRole())
    key = drafted(session)
    outputs = session.on_failure(key, EngineFailed("gone"))
    assert only(VoidDraft, outputs).key == key
    assert said(outputs) == []
    only(Ask, session.on_committed(0, 1, 1, "Send a truck."))


def test_a_newer_epoch_ends_a_draft() -> None:
    session = DialogueSession(FakeRole())
    drafted(session)
    assert outcome(session.on_epoch(1)) == "epoch"
    assert session.on_drafted(0, 1, 1, "Send") == [Dropped("turn.draft", DropReason.STALE_EPOCH)]


def test_a_draft_is_refused_while_an_answer_forms() -> None:
    session = DialogueSession(FakeRole())
    session.on_committed(0, 1, 0, "Hello")
    outputs = session.on_drafted(0, 2, 0, "Hi")
    assert (only(VoidDraft, outputs).key, outcome(outputs)) == (AnswerKey(0, 2, 0), "refused")
    assert said(answer(session, KEY, "Good day.")) == ["Good day."]


def test_the_same_draft_asked_for_twice_is_formed_once() -> None:
    session = DialogueSession(FakeRole())
    key = drafted(session)
    assert session.on_drafted(0, 1, 0, "Send a truck.") == [Dropped("turn.draft", DropReason.DUPLICATE)]
    assert session.is_current(key)


@pytest.mark.parametrize("is_adopted", [True, False])
def test_an_opener_of_a_tool_goes_out_with_the_draft_and_is_heard_once(is_adopted: bool) -> None:
    role = FakeRole("book")
    role.tool_openers = {"book": "Okay,"}
    session = DialogueSession(role)
    if is_adopted:
        assert said(call(session, drafted(session), "book")) == ["Okay,"]
        outputs = adopt(session)
    else:
        session.on_committed(0, 1, 0, "Send a truck.")
        outputs = call(session, KEY, "book")
        assert said(outputs) == ["Okay,"]
    run = only(RunTool, outputs)
    assert said(session.on_tool_result(run.call_id, {}, say="Okay, a truck comes.")) == ["a truck comes."]
    hear_all(session, 1)
    assert session.conversation.items()[1:] == [
        ToolRan(run.call_id, "book", "{}", '{"said": "Okay, a truck comes."}', is_spoken=True),
        AgentSaid("Okay, a truck comes."),
    ]


def test_words_that_are_known_are_said_before_the_tool_runs_and_need_no_second_question() -> None:
    role = FakeRole("bye")
    role.known = {"bye": "You are welcome. Goodbye!"}
    session = DialogueSession(role)
    assert said(call(session, drafted(session), "bye")) == ["You are welcome."]
    outputs = adopt(session)
    assert said(outputs) == ["Goodbye!"]
    role.is_hanging_up = True
    outputs = session.on_tool_result(only(RunTool, outputs).call_id, {})
    assert (said(outputs), only(Finish, outputs).hangs_up) == ([], True)
    hear_all(session, 1)
    assert session.conversation.items()[-1] == AgentSaid("You are welcome. Goodbye!")


def test_a_tool_adds_no_opener_to_words_of_the_model() -> None:
    role = FakeRole("book")
    role.tool_openers = {"book": "Okay,"}
    session = DialogueSession(role)
    session.on_committed(0, 1, 0, "Book it")
    assert said(session.on_delta(KEY, TextDelta("Sure, "))) == ["Sure,"]
    assert said(call(session, KEY, "book")) == []


def test_of_a_second_tool_the_opener_is_not_said_but_the_known_words_are() -> None:
    role = FakeRole("book", "bye")
    role.tool_openers, role.known = {"book": "Okay,"}, {"bye": "Goodbye!"}
    session = DialogueSession(role)
    session.on_committed(0, 1, 0, "Book it, bye")
    session.on_delta(KEY, CallDelta("a", "book", "{}"))
    session.on_delta(KEY, CallDelta("b", "bye", "{}"))
    session.on_delta(KEY, Finished("tool"))
    outputs = session.on_tool_result("a", {}, say="Booked.")
    assert said(outputs) == ["Booked.", "Goodbye!"]
    assert only(RunTool, outputs).call_id == "b"
