"""A session as the stream TURNS tells it: who said what, which tools ran, where the time went (no I/O)."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from halfbeat import subjects
from halfbeat.bus import Delivery
from halfbeat.v1 import asr_pb2, dialogue_pb2, session_pb2, turn_pb2


@dataclass
class ToolUse:
    """One tool call and its result."""

    call_id: str
    name: str
    arguments: Any
    result: Any = None
    error: str = ""
    took_ms: int = 0


@dataclass
class Turn:
    """One exchange.

    Attributes:
        caller: what the caller was understood to say; empty for the opening.
        clauses: the agent's words by position; fillers are not among them.
        heard_chars: by clause, how much the caller's end has played.
        v2v_ms: as the router saw it.
    """

    number: int
    caller: str = ""
    clauses: dict[int, str] = field(default_factory=dict)
    heard_chars: dict[int, int] = field(default_factory=dict)
    tools: list[ToolUse] = field(default_factory=list)
    v2v_ms: int | None = None
    hops_ms: dict[str, int] = field(default_factory=dict)
    is_interrupted: bool = False
    error: str = ""
    trace_id: str = ""

    @property
    def agent(self) -> str:
        """All the agent said in this turn, heard or not."""
        return " ".join(self.clauses[i].strip() for i in sorted(self.clauses))


@dataclass
class SessionRecord:
    """Fold of one session's messages; feed them in order to `take`."""

    sid: str
    turns: dict[int, Turn] = field(default_factory=dict)
    ended_by: str = ""

    def take(self, delivery: Delivery) -> None:
        """Takes one message of the log; others than the logged kinds change nothing."""
        handler = _HANDLERS.get((delivery.kind.kind, delivery.kind.verb))
        if handler is not None:
            number = delivery.message.stamp.turn  # type: ignore[attr-defined]
            handler(self, self.turns.setdefault(number, Turn(number)), delivery.message)

    def _on_commit(self, turn: Turn, message: turn_pb2.TurnCommitted) -> None:
        turn.caller = message.transcript
        turn.clauses.clear()  # a later revision answers anew

    def _on_clause(self, turn: Turn, message: dialogue_pb2.Clause) -> None:
        if not message.is_filler:
            turn.clauses[message.index] = message.text

    def _on_heard(self, turn: Turn, message: turn_pb2.Heard) -> None:
        turn.heard_chars[message.clause] = message.chars
        turn.is_interrupted |= message.is_cut

    def _on_call(self, turn: Turn, message: dialogue_pb2.ToolCall) -> None:
        turn.tools.append(ToolUse(message.call_id, message.name, _json(message.arguments_json)))

    def _on_result(self, turn: Turn, message: dialogue_pb2.ToolResult) -> None:
        for tool in turn.tools:
            if tool.call_id == message.call_id:
                tool.result, tool.took_ms = _json(message.result_json), message.took_ms
                tool.error = message.error.message

    def _on_answer(self, turn: Turn, message: dialogue_pb2.AnswerDone) -> None:
        turn.error = message.error.message

    def _on_done(self, turn: Turn, message: turn_pb2.TurnDone) -> None:
        turn.v2v_ms = message.v2v_ms if message.HasField("v2v_ms") else None
        turn.hops_ms = dict(sorted(message.hops_ms.items(), key=lambda hop: _ORDER.get(hop[0], len(_ORDER))))
        turn.is_interrupted |= message.is_interrupted
        turn.trace_id = message.trace_id

    def _on_close(self, _: Turn, message: session_pb2.SessionClosed) -> None:
        self.ended_by = message.by


_Handler = Callable[[SessionRecord, Turn, Any], None]
_HANDLERS: dict[tuple[str, str], _Handler] = {
    (kind.kind, kind.verb): handler
    for kind, handler in (
        (subjects.TURN_COMMIT, SessionRecord._on_commit),
        (subjects.DIALOGUE_CLAUSE, SessionRecord._on_clause),
        (subjects.TURN_HEARD, SessionRecord._on_heard),
        (subjects.TOOL_CALL, SessionRecord._on_call),
        (subjects.TOOL_RESULT, SessionRecord._on_result),
        (subjects.DIALOGUE_DONE, SessionRecord._on_answer),
        (subjects.TURN_DONE, SessionRecord._on_done),
        (subjects.SESSION_CLOSE, SessionRecord._on_close),
    )
}


# The hops of a turn in the order in which a word passes them; a protobuf map has none.
_ORDER = {
    name: i
    for i, name in enumerate(
        ("endpoint", "asr.flush", "llm.first_token", "llm.clause", "tts.first_audio", "playout.first_frame", "bus")
    )
}


def _json(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def _without_speech(result_json: str) -> str:
    """A tool's result less the words to say, which follow as clauses."""
    result = _json(result_json)
    if isinstance(result, dict):
        result.pop("say", None)
    return json.dumps(result)


def line_of(delivery: Delivery) -> tuple[str, str] | None:
    """Returns who and what, for showing a message of the log to a person; None for what is not worth a line."""
    message: Message = delivery.message
    match message:
        case turn_pb2.TurnCommitted() if message.transcript:
            return "caller", message.transcript
        case dialogue_pb2.Clause():
            return "agent", message.text
        case dialogue_pb2.ToolCall():
            return "tool", f"{message.name}({message.arguments_json})"
        case dialogue_pb2.ToolResult():
            return "tool", f"{message.name} -> {message.error.message or _without_speech(message.result_json)}"
        case session_pb2.EpochAdvanced():
            cause = session_pb2.EpochCause.Name(message.cause).removeprefix("EPOCH_CAUSE_").lower().replace("_", "-")
            return "floor", cause
        case session_pb2.SessionClosed():
            return "floor", f"hang-up by {message.by}"
        case asr_pb2.Transcript() | _:
            return None
