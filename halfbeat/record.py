"""A session as the stream TURNS tells it: who said what, which tools ran, where the time went (no I/O)."""

import json
from collections.abc import Callable, Mapping
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
        clauses: the agent's words by position.
        fillers: positions of clauses that are no part of the answer.
        drafted: by revision, clauses of drafts that no commit has adopted (yet).
        heard_chars: by clause, how much the caller's end has played.
        told: clauses that have become lines.
        played_ms: how much sound of the answer that was.
        v2v_ms: as the router saw it.
        is_interrupted: the answer was cut; what was not heard by then never was.
        barge_in_ms: the caller's first voiced sample to a silent agent, when the caller cut it.
    """

    number: int
    caller: str = ""
    revision: int = 0
    clauses: dict[int, str] = field(default_factory=dict)
    fillers: set[int] = field(default_factory=set)
    drafted: dict[int, dict[int, str]] = field(default_factory=dict)
    heard_chars: dict[int, int] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)
    played_ms: int = 0
    tools: list[ToolUse] = field(default_factory=list)
    v2v_ms: int | None = None
    hops_ms: dict[str, int] = field(default_factory=dict)
    drafts: int = 0
    is_draft_adopted: bool = False
    is_interrupted: bool = False
    barge_in_ms: int | None = None
    barge_in_hops_ms: dict[str, int] = field(default_factory=dict)
    error: str = ""
    trace_id: str = ""

    @property
    def agent(self) -> str:
        """All the agent said in this turn, heard or not."""
        return " ".join(self.clauses[i].strip() for i in sorted(self.clauses) if i not in self.fillers)

    @property
    def heard(self) -> str:
        """All the caller's end has played of it, fillers too."""
        parts = (self.clauses[i][: self.heard_chars.get(i, 0)].strip() for i in sorted(self.clauses))
        return " ".join(part for part in parts if part)

    @property
    def cut(self) -> str:
        """How the answer was cut, for a person; empty when it was not."""
        if not self.is_interrupted:
            return ""
        silent = f", silent {self.barge_in_ms} ms after the caller's first sound"
        return f"cut after {self.played_ms / 1000:.1f} s" + (silent if self.barge_in_ms is not None else "")


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

        The agent's words are worth reading when they were heard, clause by clause.
        """
        handler = _HANDLERS.get((delivery.kind.kind, delivery.kind.verb))
        if handler is not None:
            number = delivery.message.stamp.turn  # type: ignore[attr-defined]
            handler(self, self.turns.setdefault(number, Turn(number)), delivery.message)
        lines, self._lines = self._lines, []
        return lines

    def _on_commit(self, turn: Turn, message: turn_pb2.TurnCommitted) -> None:
        if message.transcript and message.transcript != turn.caller:
            self._lines.append(("caller", message.transcript))
        turn.caller, turn.revision = message.transcript, message.stamp.revision
        # A later revision answers anew.
        turn.clauses = turn.drafted.pop(turn.revision, {}) if message.adopts_draft else {}
        turn.is_draft_adopted = message.adopts_draft
        turn.fillers, turn.heard_chars, turn.told = set(), {}, set()
        turn.played_ms, turn.is_interrupted = 0, False

    def _on_clause(self, turn: Turn, message: dialogue_pb2.Clause) -> None:
        revision = message.stamp.revision
        if message.is_draft and not (turn.is_draft_adopted and turn.revision == revision):
            turn.drafted.setdefault(revision, {})[message.index] = message.text
        elif revision >= turn.revision:
            turn.clauses[message.index] = message.text
            if message.is_filler:
                turn.fillers.add(message.index)

    def _on_heard(self, turn: Turn, message: turn_pb2.Heard) -> None:
        if message.stamp.revision != turn.revision:
            return
        turn.played_ms = max(turn.played_ms, message.played_ms)
        for index, text in sorted(turn.clauses.items()):
            is_over = message.is_complete or index < message.clause
            chars = len(text) if is_over else message.chars if index == message.clause else 0
            turn.heard_chars[index] = max(turn.heard_chars.get(index, 0), chars)
            if is_over and index not in turn.told:
                turn.told.add(index)
                self._lines.append(("agent", text))
        if message.is_cut and not turn.is_interrupted:
            turn.is_interrupted = True
            if turn.played_ms and len(turn.told) < len(turn.clauses):
                self._lines.append(("agent", _cut_off(turn, message.clause)))

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
        turn.hops_ms = _in_order(message.hops_ms)
        turn.drafts, turn.is_draft_adopted = message.drafts, message.is_draft_adopted
        turn.is_interrupted |= message.is_interrupted
        turn.barge_in_ms = message.barge_in_ms if message.HasField("barge_in_ms") else None
        turn.barge_in_hops_ms = _in_order(message.barge_in_hops_ms)
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


# The hops of a turn in the order in which a word passes them, then those to silence; a protobuf map has none.
_HOPS = (
    *("endpoint", "asr.flush", "llm.first_token", "llm.clause", "tts.first_audio", "playout.first_frame", "bus"),
    *("detect", "judge", "stop"),
)
_ORDER = {name: i for i, name in enumerate(_HOPS)}


def _in_order(hops_ms: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(hops_ms.items(), key=lambda hop: _ORDER.get(hop[0], len(_ORDER))))


def _cut_off(turn: Turn, index: int) -> str:
    """The line of the clause in which an answer was cut: what was heard of it, and after how much sound."""
    text, chars = turn.clauses.get(index, ""), turn.heard_chars.get(index, 0)
    heard = "--" if index in turn.told else text if chars >= len(text) else f"{text[:chars].rstrip()}--"
    return f"{heard} ({turn.cut})"


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
