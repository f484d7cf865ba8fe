from google.protobuf.message import Message

from halfbeat import subjects
from halfbeat.bus import Delivery
from halfbeat.record import SessionRecord, line_of
from halfbeat.subjects import Kind
from halfbeat.v1 import common_pb2, dialogue_pb2, session_pb2, turn_pb2


def delivery(kind: Kind, message: Message) -> Delivery:
    return Delivery(kind, "s", message)


def stamp(turn: int) -> common_pb2.Stamp:
    return common_pb2.Stamp(sid="s", turn=turn)


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
    assert line_of(delivery(subjects.TURN_HEARD, turn_pb2.Heard())) is None
    assert line_of(delivery(subjects.SESSION_CLOSE, session_pb2.SessionClosed(by="agent"))) == (
        "floor",
        "hang-up by agent",
    )
    cut = session_pb2.EpochAdvanced(cause=session_pb2.EPOCH_CAUSE_BARGE_IN)
    assert line_of(delivery(subjects.SESSION_EPOCH, cut)) == ("floor", "barge-in")
