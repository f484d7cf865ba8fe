"""A session as the stream TURNS tells it: who said what, which tools ran, where the time went (no I/O)."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from halfbeat import subjects
from halfbeat.bus import Delivery
from halfbeat.v1 import dialogue_pb2, session_pb2, turn_pb2


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
        revision: of the newest commit; what belongs to an older one is no part of the turn.
        clauses: the agent's words by position; fillers are not among them.
        drafted: by revision, clauses of drafts that no commit has adopted (yet).
        heard_chars: by clause, how much the caller's end has played.
        v2v_ms: as the router saw it.
    """

    number: int
    caller: str = ""
    revision: int = 0
    clauses: dict[int, str] = field(default_factory=dict)
    drafted: dict[int, dict[int, str]] = field(default_factory=dict)
    heard_chars: dict[int, int] = field(default_factory=dict)
    tools: list[ToolUse] = field(default_factory=list)
    v2v_ms: int | None = None
    hops_ms: dict[str, int] = field(default_factory=dict)
    drafts: int = 0
    is_draft_adopted: bool = False
    is_interrupted: bool = False
    error: str = ""
    trace_id: str = ""

    @property
    def agent(self) -> str:
        """All the agent said in this turn, heard or not."""
        return " ".join(self.clauses[i].strip() for i in sorted(self.clauses))


#: Who, and what: a line of the conversation for a person to read.
Line = tuple[str, str]


@dataclass
class SessionRecord:
    """Fold of one session's messages; feed them in order to `take`."""

    sid: str
    turns: dict[int, Turn] = field(default_factory=dict)
    ended_by: str = ""
    _lines: list[Line] = field(default_factory=list)

    def take(self, delivery: Delivery) -> list[Line]:
        """Takes one message of the log; returns what is worth reading of it. Kinds that are not logged change nothing.

        The agent's words appear once: when the commit adopts their draft, or when they come after it.
        """
        handler = _HANDLERS.get((delivery.kind.kind, delivery.kind.verb))
        if handler is not None:
            number = delivery.message.stamp.turn  # type: ignore[attr-defined]
            handler(self, self.turns.setdefault(number, Turn(number)), delivery.message)
        lines, self._lines = self._lines, []
        return lines

    def _on_commit(self, turn: Turn, message: turn_pb2.TurnCommitted) -> None:
        turn.caller, turn.revision = message.transcript, message.stamp.revision
        # A later revision answers anew.
        turn.clauses = turn.drafted.pop(turn.revision, {}) if message.adopts_draft else {}
        turn.is_draft_adopted = message.adopts_draft
        if message.transcript:
            self._lines.append(("caller", message.transcript))
        self._lines += [("agent", turn.clauses[index]) for index in sorted(turn.clauses)]

    def _on_clause(self, turn: Turn, message: dialogue_pb2.Clause) -> None:
        revision = message.stamp.revision
        if message.is_draft and not (turn.is_draft_adopted and turn.revision == revision):
            turn.drafted.setdefault(revision, {})[message.index] = message.text
        elif revision >= turn.revision:
            self._lines.append(("agent", message.text))
            if not message.is_filler:
                turn.clauses[message.index] = message.text

    def _on_heard(self, turn: Turn, message: turn_pb2.Heard) -> None:
        turn.heard_chars[message.clause] = message.chars
        turn.is_interrupted |= message.is_cut

    def _on_call(self, turn: Turn, message: dialogue_pb2.ToolCall) -> None:
        turn.tools.append(ToolUse(message.call_id, message.name, _json(message.arguments_json)))
        self._lines.append(("tool", f"{message.name}({message.arguments_json})"))

    def _on_result(self, turn: Turn, message: dialogue_pb2.ToolResult) -> None:
        came = message.error.message or _without_speech(message.result_json)
        self._lines.append(("tool", f"{message.name} -> {came}"))
        for tool in turn.tools:
            if tool.call_id == message.call_id:
                tool.result, tool.took_ms = _json(message.result_json), message.took_ms
                tool.error = message.error.message

    def _on_answer(self, turn: Turn, message: dialogue_pb2.AnswerDone) -> None:
        turn.error = message.error.message

    def _on_done(self, turn: Turn, message: turn_pb2.TurnDone) -> None:
        turn.v2v_ms = message.v2v_ms if message.HasField("v2v_ms") else None
        turn.hops_ms = dict(sorted(message.hops_ms.items(), key=lambda hop: _ORDER.get(hop[0], len(_ORDER))))
        turn.drafts, turn.is_draft_adopted = message.drafts, message.is_draft_adopted
        turn.is_interrupted |= message.is_interrupted
        turn.trace_id = message.trace_id

    def _on_close(self, _: Turn, message: session_pb2.SessionClosed) -> None:
        self.ended_by = message.by
        self._lines.append(("floor", f"hang-up by {message.by}"))

    def _on_epoch(self, _: Turn, message: session_pb2.EpochAdvanced) -> None:
        cause = session_pb2.EpochCause.Name(message.cause).removeprefix("EPOCH_CAUSE_").lower().replace("_", "-")
        self._lines.append(("floor", cause))


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
        (subjects.SESSION_EPOCH, SessionRecord._on_epoch),
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
