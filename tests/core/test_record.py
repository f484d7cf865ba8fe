from google.protobuf.message import Message

from halfbeat import subjects
from halfbeat.bus import Delivery
from halfbeat.record import SessionRecord
from halfbeat.subjects import Kind
from halfbeat.v1 import common_pb2, dialogue_pb2, session_pb2, turn_pb2


def delivery(kind: Kind, message: Message) -> Delivery:
    return Delivery(kind, "s", message)


def stamp(turn: int, revision: int = 0) -> common_pb2.Stamp:
    return common_pb2.Stamp(sid="s", turn=turn, revision=revision)


def drafted(revision: int, text: str, index: int = 0) -> Delivery:
    clause = dialogue_pb2.Clause(stamp=stamp(1, revision), index=index, text=text, is_draft=True)
    return delivery(subjects.DIALOGUE_CLAUSE, clause)


def committed(revision: int, text: str, *, adopts_draft: bool = False) -> Delivery:
    commit = turn_pb2.TurnCommitted(stamp=stamp(1, revision), transcript=text, adopts_draft=adopts_draft)
    return delivery(subjects.TURN_COMMIT, commit)


def clause(index: int, text: str, *, turn: int = 1, is_filler: bool = False) -> Delivery:
    said = dialogue_pb2.Clause(stamp=stamp(turn), index=index, text=text, is_filler=is_filler)
    return delivery(subjects.DIALOGUE_CLAUSE, said)


def heard(clause: int, chars: int, played_ms: int, *, revision: int = 0, **end: bool) -> Delivery:
    mark = turn_pb2.Heard(stamp=stamp(1, revision), clause=clause, chars=chars, played_ms=played_ms, **end)
    return delivery(subjects.TURN_HEARD, mark)


def test_the_log_of_a_session_folds_into_its_turns() -> None:
    record = SessionRecord("s")
    call = dialogue_pb2.ToolCall(
        stamp=stamp(1), call_id="c", name="schedule_pickup", arguments_json='{"day": "tomorrow"}'
    )
    result = dialogue_pb2.ToolResult(stamp=stamp(1), call_id="c", result_json='{"ref": "A1"}', took_ms=7)
    done = turn_pb2.TurnDone(stamp=stamp(1), v2v_ms=480, hops_ms={"endpoint": 200}, trace_id="ab")
    for kind, message in (
        (subjects.TURN_COMMIT, turn_pb2.TurnCommitted(stamp=stamp(1), transcript="yes please")),
        (subjects.DIALOGUE_CLAUSE, dialogue_pb2.Clause(stamp=stamp(1), index=0, text="Okay,")),
        (subjects.DIALOGUE_CLAUSE, dialogue_pb2.Clause(stamp=stamp(1), index=9, text="One moment.", is_filler=True)),
        (subjects.TOOL_CALL, call),
        (subjects.TOOL_RESULT, result),
        (subjects.DIALOGUE_CLAUSE, dialogue_pb2.Clause(stamp=stamp(1), index=1, text="it is booked.")),
        (subjects.TURN_HEARD, turn_pb2.Heard(stamp=stamp(1), clause=1, chars=4, is_cut=True)),
        (subjects.TURN_DONE, done),
        (subjects.SESSION_CLOSE, session_pb2.SessionClosed(stamp=stamp(1), by="agent")),
    ):
        record.take(delivery(kind, message))
    turn = record.turns[1]
    assert turn.caller == "yes please"
    assert turn.agent == "Okay, it is booked."
    assert turn.is_interrupted
    assert turn.tools[0].arguments == {"day": "tomorrow"}
    assert turn.tools[0].result == {"ref": "A1"}
    assert (turn.v2v_ms, turn.hops_ms, turn.trace_id) == (480, {"endpoint": 200}, "ab")
    assert record.ended_by == "agent"


def test_a_later_revision_of_a_turn_replaces_its_answer() -> None:
    record = SessionRecord("s")
    record.take(delivery(subjects.TURN_COMMIT, turn_pb2.TurnCommitted(stamp=stamp(1), transcript="my address is")))
    record.take(delivery(subjects.DIALOGUE_CLAUSE, dialogue_pb2.Clause(stamp=stamp(1), text="Which one?")))
    record.take(
        delivery(subjects.TURN_COMMIT, turn_pb2.TurnCommitted(stamp=stamp(1), transcript="my address is 12 Oak"))
    )
    assert record.turns[1].caller == "my address is 12 Oak"
    assert record.turns[1].agent == ""


def test_only_what_a_person_wants_to_read_becomes_a_line() -> None:
    record = SessionRecord("s")
    assert record.take(delivery(subjects.TURN_HEARD, turn_pb2.Heard())) == []
    closed = session_pb2.SessionClosed(by="agent")
    assert record.take(delivery(subjects.SESSION_CLOSE, closed)) == [("floor", "hang-up by agent")]
    cut = session_pb2.EpochAdvanced(cause=session_pb2.EPOCH_CAUSE_BARGE_IN)
    assert record.take(delivery(subjects.SESSION_EPOCH, cut)) == [("floor", "barge-in")]


def test_a_draft_is_said_when_its_commit_adopts_it_and_not_before() -> None:
    record = SessionRecord("s")
    assert record.take(drafted(0, "Okay,")) == []
    assert record.turns[1].agent == ""
    assert record.take(committed(0, "Yes.", adopts_draft=True)) == [("caller", "Yes.")]
    record.take(clause(1, "it is booked."))
    assert record.turns[1].agent == "Okay, it is booked."
    complete = heard(1, 13, 900, is_complete=True)
    assert record.take(complete) == [("agent", "Okay,"), ("agent", "it is booked.")]


def test_a_draft_that_no_commit_adopts_was_never_said() -> None:
    record = SessionRecord("s")
    record.take(drafted(0, "Which street?"))
    record.take(drafted(1, "Okay,"))
    assert record.take(committed(2, "My address is 12 Oak.")) == [("caller", "My address is 12 Oak.")]
    assert record.turns[1].agent == ""


def test_only_the_draft_of_the_committed_revision_is_adopted() -> None:
    record = SessionRecord("s")
    record.take(drafted(0, "Which street?"))
    record.take(drafted(1, "Okay,"))
    record.take(committed(1, "My address is 12 Oak.", adopts_draft=True))
    assert record.take(drafted(0, "Late words.", index=1)) == []
    assert record.turns[1].agent == "Okay,"


def test_a_drafted_clause_that_crosses_its_commit_is_said_all_the_same() -> None:
    record = SessionRecord("s")
    record.take(committed(0, "Yes.", adopts_draft=True))
    record.take(drafted(0, "Okay,"))
    assert record.turns[1].agent == "Okay,"


def test_the_agents_words_are_a_line_once_they_were_heard_fillers_too() -> None:
    record = SessionRecord("s")
    record.take(committed(0, "Yes."))
    for said in (clause(0, "One moment.", is_filler=True), clause(1, "It is booked."), clause(2, "Anything else?")):
        assert record.take(said) == []
    assert record.take(heard(0, 3, 300)) == []
    assert record.take(heard(1, 0, 800)) == [("agent", "One moment.")]
    assert record.take(heard(1, 8, 1300)) == []
    assert record.turns[1].heard == "One moment. It is bo"
    assert record.take(heard(2, 14, 2900, is_complete=True)) == [
        ("agent", "It is booked."),
        ("agent", "Anything else?"),
    ]
    assert record.turns[1].agent == "It is booked. Anything else?"
    assert record.turns[1].cut == ""


def test_of_a_cut_answer_only_what_was_heard_is_a_line_and_says_so() -> None:
    record = SessionRecord("s")
    record.take(committed(0, "Yes."))
    record.take(clause(0, "Okay,"))
    record.take(clause(1, "a truck comes tomorrow."))
    record.take(clause(2, "Is there anything else?"))
    cut = heard(1, 7, 1240, is_cut=True)
    assert record.take(cut) == [("agent", "Okay,"), ("agent", "a truck-- (cut after 1.2 s)")]
    assert record.take(cut) == [], "told once"
    done = turn_pb2.TurnDone(
        stamp=stamp(1), is_interrupted=True, barge_in_ms=208, barge_in_hops_ms={"stop": 40, "detect": 60, "judge": 108}
    )
    record.take(delivery(subjects.TURN_DONE, done))
    turn = record.turns[1]
    assert (turn.heard, turn.played_ms, turn.barge_in_ms) == ("Okay, a truck", 1240, 208)
    assert list(turn.barge_in_hops_ms) == ["detect", "judge", "stop"]
    assert turn.cut == "cut after 1.2 s, silent 208 ms after the caller's first sound"


def test_an_answer_that_is_cut_between_two_clauses_has_its_clause_as_a_whole() -> None:
    record = SessionRecord("s")
    record.take(committed(0, "Yes."))
    record.take(clause(0, "Okay,"))
    record.take(clause(1, "a truck comes tomorrow."))
    assert record.take(heard(0, 5, 400, is_cut=True)) == [("agent", "Okay, (cut after 0.4 s)")]


def test_a_turn_that_goes_on_before_its_answer_sounded_is_told_once_and_was_not_cut() -> None:
    record = SessionRecord("s")
    assert record.take(committed(0, "My trash was missed.")) == [("caller", "My trash was missed.")]
    record.take(clause(0, "I am sorry."))
    assert record.take(heard(0, 0, 0, is_cut=True)) == []
    assert record.take(committed(1, "My trash was missed.")) == []
    assert not record.turns[1].is_interrupted
    assert record.take(heard(0, 11, 700, is_cut=True)) == [], "of the answer that is void"
    assert record.take(committed(2, "My trash was missed on Oak Street.")) == [
        ("caller", "My trash was missed on Oak Street.")
    ]
