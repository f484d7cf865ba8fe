"""What is said without asking the model: openers when it is late, fillers, and words for a silent caller."""

import pytest
from dialogue_role import FakeRole
from session_steps import answer, call, hear_all, none_of, only, said

from halfbeat.application import GOODBYE, STILL_THERE, Application, Call, ToolFailed
from halfbeat.v1 import session_pb2
from services.dialogue.engine import AgentSaid, CallerSaid, TextDelta
from services.dialogue.outputs import AnswerKey, Ask, Finish, Output, RunTool, Say
from services.dialogue.role import ApplicationRole, Cause, ClientRole
from services.dialogue.session import DialogueSession

KEY = AnswerKey(0, 1, 0)


def asked(role: FakeRole | None = None) -> DialogueSession:
    session = DialogueSession(role or FakeRole("book"))
    session.on_committed(0, 1, 0, "How much is it?")
    return session


# Openers.


def test_a_late_model_gets_an_opener_which_belongs_to_the_history() -> None:
    session = asked()
    say = only(Say, session.on_over_budget(KEY))
    assert (say.index, say.text, say.is_over_budget) == (0, "Well,", True)
    outputs = answer(session, KEY, "It is free.")
    assert only(Finish, outputs).is_over_budget
    hear_all(session, 1)
    assert session.conversation.items() == [CallerSaid("How much is it?"), AgentSaid("Well, It is free.")]


def test_openers_take_turns() -> None:
    session = DialogueSession(FakeRole())
    texts = []
    for turn in range(1, 4):
        session.on_committed(0, turn, 0, "Hm?")
        texts += said(session.on_over_budget(AnswerKey(0, turn, 0)))
    assert texts == ["Well,", "Hm,", "Well,"]


def test_a_model_that_begins_with_the_same_opener_does_not_say_it_twice() -> None:
    session = asked()
    session.on_over_budget(KEY)
    assert said(answer(session, KEY, "Well, it is free.")) == ["it is free."]
    assert only(Finish, session.on_committed(0, 2, 0, "", is_prompted=True, cause=Cause.SILENCE)).clauses == 1


def test_one_opener_is_enough() -> None:
    session = asked()
    session.on_over_budget(KEY)
    assert said(answer(session, KEY, "Hm, it is free.")) == ["it is free."]
    role = FakeRole("book")
    role.tool_openers = {"book": "Hm,"}
    session = asked(role)
    session.on_over_budget(KEY)
    run = only(RunTool, call(session, KEY, "book"))
    assert said(session.on_tool_result(run.call_id, {}, say="Hm, it is booked.")) == ["it is booked."]


@pytest.mark.parametrize(
    ("words", "rest"),
    [
        ("Sure, it is free.", ["it is free."]),
        ("Sorry, I don't know that.", ["I don't know that."]),
        ("Sorry about that.", ["Sorry about that."]),
        ("Of course.", ["Of course."]),
        ("No, it is free.", ["No,", "it is free."]),
    ],
)
def test_the_models_own_opener_is_left_out_after_another_one_but_not_what_says_something(
    words: str, rest: list[str]
) -> None:
    session = asked()
    session.on_over_budget(KEY)
    assert said(answer(session, KEY, words)) == rest


def test_what_replaces_the_models_words_has_no_opener_after_another_one() -> None:
    role = FakeRole()
    role.fallback = "Sorry, I do not know that."
    session = asked(role)
    session.on_over_budget(KEY)
    assert said(answer(session, KEY, "I'm sorry, it is 25 dollars.")) == ["I do not know that."]


def test_the_words_of_a_tool_lose_their_opener_after_another_one_and_keep_their_apology() -> None:
    for words, rest in (("Sure, it is sent.", "it is sent."), ("I'm sorry, we missed it.", "I'm sorry, we missed it.")):
        session = asked()
        session.on_over_budget(KEY)
        run = only(RunTool, call(session, KEY, "book"))
        assert said(session.on_tool_result(run.call_id, {}, say=words)) == [rest]


def test_a_tool_goes_on_from_the_words_of_the_model() -> None:
    for begun, words in (("Okay, ", "Okay, it is booked."), ("Sorry, ", "I'm sorry, it is booked.")):
        session = asked()
        session.on_delta(KEY, TextDelta(begun))
        run = only(RunTool, call(session, KEY, "book"))
        assert said(session.on_tool_result(run.call_id, {}, say=words)) == ["it is booked."]


def test_after_an_opener_the_model_is_still_asked_once_more_instead_of_an_invention() -> None:
    session = asked()
    session.on_over_budget(KEY)
    assert only(Ask, session.on_delta(KEY, TextDelta("It costs 25 dollars. "))).is_retry


def test_after_an_opener_a_tool_adds_none_of_its_own() -> None:
    role = FakeRole("book")
    role.tool_openers = {"book": "Okay,"}
    session = asked(role)
    session.on_over_budget(KEY)
    assert said(call(session, KEY, "book")) == []


def test_when_nothing_follows_the_opener_a_filler_does_once_and_without_entering_the_history() -> None:
    role = FakeRole("book")
    role.fillers = {"": "One moment."}
    session = asked(role)
    assert session.on_still_late(KEY) == []
    session.on_over_budget(KEY)
    say = only(Say, session.on_still_late(KEY))
    assert (say.text, say.is_filler) == ("One moment.", True)
    assert session.on_still_late(KEY) == []
    assert said(answer(session, KEY, "Well, it is free.")) == ["it is free."]
    hear_all(session, 1)
    assert session.conversation.items()[-1] == AgentSaid("Well, it is free.")


def test_a_slow_tool_says_no_second_filler_and_none_that_was_its_opener() -> None:
    role = FakeRole("book")
    role.fillers = {"": "Let me see."}
    session = asked(role)
    session.on_over_budget(KEY)
    assert said(session.on_still_late(KEY)) == ["Let me see."]
    assert session.on_tool_slow(only(RunTool, call(session, KEY, "book")).call_id) == []
    role.tool_openers = {"book": "Let me see."}
    session = asked(role)
    assert session.on_tool_slow(only(RunTool, call(session, KEY, "book")).call_id) == []


def test_what_follows_the_opener_in_time_needs_no_filler() -> None:
    role = FakeRole("book")
    role.fillers = {"": "One moment."}
    session = asked(role)
    session.on_over_budget(KEY)
    session.on_delta(KEY, TextDelta("Yes, it"))
    assert session.on_still_late(KEY) == []
    session = asked(role)
    session.on_over_budget(KEY)
    call(session, KEY, "book")
    assert session.on_still_late(KEY) == []


def test_an_opener_is_not_said_once_something_was_said_or_a_tool_works() -> None:
    session = asked()
    session.on_delta(KEY, TextDelta("Sure, it"))
    assert session.on_over_budget(KEY) == []
    session = asked()
    only(RunTool, call(session, KEY, "book"))
    assert session.on_over_budget(KEY) == []


def test_an_opener_is_not_said_for_another_answer_or_for_a_draft() -> None:
    session = asked()
    assert session.on_over_budget(AnswerKey(0, 2, 0)) == []
    session = DialogueSession(FakeRole())
    session.on_drafted(0, 1, 0, "How much is it?")
    assert session.on_over_budget(KEY) == []


def test_an_opener_is_not_said_when_the_caller_has_said_nothing_and_when_there_is_none() -> None:
    session = DialogueSession(FakeRole())
    session.on_committed(0, 0, 0, "", is_prompted=True)
    assert session.on_over_budget(AnswerKey(0, 0, 0)) == []
    role = FakeRole()
    role.openers = ()
    assert asked(role).on_over_budget(KEY) == []


def test_the_clause_of_an_adopted_draft_needs_no_opener() -> None:
    session = DialogueSession(FakeRole())
    session.on_drafted(0, 1, 0, "Hello")
    session.on_delta(KEY, TextDelta("Hi, "))
    session.on_committed(0, 1, 0, "Hello", adopts_draft=True)
    assert session.on_over_budget(KEY) == []


# A silent caller.


@pytest.mark.parametrize(
    ("cause", "words", "hangs_up"),
    [
        (Cause.SILENCE, ["Hello?"], False),
        (Cause.SILENCE_AGAIN, ["Are you there?"], False),
        (Cause.GOODBYE, ["Goodbye,", "then."], True),
    ],
)
def test_a_silent_caller_hears_the_words_for_it_and_no_model_is_asked(
    cause: Cause, words: list[str], hangs_up: bool
) -> None:
    session = DialogueSession(FakeRole())
    outputs = session.on_committed(0, 3, 0, "", is_prompted=True, cause=cause)
    assert " ".join(said(outputs)) == " ".join(words)
    assert none_of(Ask, outputs)
    assert only(Finish, outputs).hangs_up == hangs_up


def test_a_caller_who_speaks_after_the_goodbye_is_not_hung_up_on() -> None:
    session = DialogueSession(FakeRole())
    session.on_committed(0, 3, 0, "", is_prompted=True, cause=Cause.GOODBYE)
    session.on_epoch(1)
    key = only(Ask, session.on_committed(1, 4, 0, "I am here")).key
    assert not only(Finish, answer(session, key, "Good.")).hangs_up


def test_a_new_turn_takes_a_hang_up_back_also_within_the_epoch() -> None:
    role = FakeRole()
    session = asked(role)
    role.leave()
    key = only(Ask, session.on_committed(0, 2, 0, "Wait")).key
    assert not only(Finish, answer(session, key, "Yes?")).hangs_up


def test_a_client_that_asks_for_an_answer_gets_one_of_the_model() -> None:
    session = DialogueSession(FakeRole(), "Hello!")
    only(Ask, session.on_committed(0, 0, 0, "", is_prompted=True, cause=Cause.CLIENT))


def test_a_cause_that_nobody_knows_yet_is_left_to_the_model() -> None:
    session = DialogueSession(FakeRole(), "Hello!")
    only(Ask, session.on_committed(0, 0, 0, "", is_prompted=True, cause=Cause(99)))


def test_the_opening_is_told_by_its_cause() -> None:
    session = DialogueSession(FakeRole(), "Hello there.")
    assert said(session.on_committed(0, 1, 0, "", is_prompted=True, cause=Cause.OPENING)) == ["Hello there."]


def test_a_clients_own_persona_has_words_for_silence_too_and_hangs_up() -> None:
    session = DialogueSession(ClientRole(session_pb2.SessionConfig(instructions="You are Bob.")))

    def words(turn: int, cause: Cause) -> list[Output]:
        return session.on_committed(0, turn, 0, "", is_prompted=True, cause=cause)

    assert " ".join(said(words(1, Cause.SILENCE))) == STILL_THERE[0]
    assert " ".join(said(words(2, Cause.SILENCE_AGAIN))) == STILL_THERE[1]
    outputs = words(3, Cause.GOODBYE)
    assert (" ".join(said(outputs)), only(Finish, outputs).hangs_up) == (GOODBYE, True)


# An application's words.


def shop(**options: str) -> tuple[Application, Call]:
    app = Application("shop", "You sell.", **options)  # type: ignore[arg-type]

    @app.tool(opener=lambda call: call.said or None, filler="Looking.")
    async def look(call: Call) -> str:
        """It looks."""
        return ""

    @app.tool(says="Goodbye!", when=lambda call: "is_open" in call.data, filler="")
    async def leave(call: Call) -> None:
        """It leaves."""

    @app.tool()
    async def wait(call: Call) -> str:
        """It waits."""
        return None  # type: ignore[return-value]

    return app, Call("s1")


def test_a_tool_without_a_filler_has_the_applications_and_an_empty_one_is_none() -> None:
    app, call_ = shop(filler="Just a second.")
    role = ApplicationRole(app, call_, ())
    assert [role.filler(name) for name in ("look", "leave", "wait")] == ["Looking.", "", "Just a second."]


def test_an_opener_may_depend_on_what_the_caller_would_have_said() -> None:
    app, call_ = shop()
    role = ApplicationRole(app, call_, ())
    assert role.suppose("Sure,").opener("look") == "Sure,"
    assert role.opener("look") is None


def test_a_tool_may_be_meant_by_what_the_caller_would_have_said() -> None:
    app, call_ = shop()

    @app.tool(is_meant=lambda call: "now" in call.said)
    async def act(call: Call) -> str:
        """It acts."""
        return "Done."

    role = ApplicationRole(app, call_, ())
    assert [tool.name for tool in role.suppose("Do it now.").tools() if tool.is_meant] == ["act"]
    assert not any(tool.is_meant for tool in role.tools())


def test_a_tool_that_is_closed_says_nothing_beforehand() -> None:
    app, call_ = shop()
    role = ApplicationRole(app, call_, ())
    assert (role.says("leave"), role.says("nothing")) == (None, None)
    call_.data["is_open"] = True
    assert role.says("leave") == "Goodbye!"


async def test_a_tool_whose_words_are_known_may_return_nothing_and_another_may_not() -> None:
    app, call_ = shop()
    call_.data["is_open"] = True
    assert (await app.run(call_, "leave", "{}")).say is None
    with pytest.raises(ToolFailed):
        await app.run(call_, "wait", "{}")


def test_a_role_that_is_supposed_shares_nothing_with_the_call() -> None:
    app, call_ = shop()

    @app.check
    def check(call: Call, clause: str) -> bool:
        call.data["list"].append(clause)
        call.hang_up()
        return True

    call_.data["list"] = [1]
    role = ApplicationRole(app, call_, ("A fact.",))
    supposed = role.suppose("Hello")
    supposed.may_say("Bye.")
    supposed.hear("Something")
    assert supposed.is_hanging_up
    assert (call_.data, call_.said, call_.is_hanging_up) == ({"list": [1]}, "", False)
    assert (supposed.instructions, supposed.facts) == (role.instructions, role.facts)


def test_what_a_call_is_likely_to_need_is_known() -> None:
    app, call_ = shop(apology="Oh.", fallback="No idea.", prepares=("Anything else?",))  # type: ignore[arg-type]
    words = ApplicationRole(app, call_, ()).short_words()
    for text in ("Well,", "Okay,", "Goodbye!", "Looking.", "Oh.", "No idea.", "Anything else?", *STILL_THERE):
        assert text in words
