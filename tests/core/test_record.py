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
    assert record.take(committed(0, "Yes.", adopts_draft=True)) == [("caller", "Yes."), ("agent", "Okay,")]
    later = dialogue_pb2.Clause(stamp=stamp(1), index=1, text="it is booked.")
    assert record.take(delivery(subjects.DIALOGUE_CLAUSE, later)) == [("agent", "it is booked.")]
    assert record.turns[1].agent == "Okay, it is booked."


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
    assert record.take(drafted(0, "Okay,")) == [("agent", "Okay,")]
    assert record.turns[1].agent == "Okay,"
