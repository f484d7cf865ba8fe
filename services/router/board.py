"""What the page shows of the calls in progress: captions and where each turn's time went. No I/O."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from halfbeat.v1 import session_pb2
from services.router import edge

#: Turns of one call that are kept, newest last.
MAX_TURNS = 50
#: Calls that have ended and are still shown.
MAX_ENDED = 5


@dataclass(slots=True)
class _Turn:
    turn: int
    caller: str = ""
    is_committed: bool = False
    clauses: list[str] = field(default_factory=list)
    tools: OrderedDict[str, dict[str, Any]] = field(default_factory=OrderedDict)
    v2v_ms: int | None = None
    hops_ms: dict[str, int] = field(default_factory=dict)
    is_interrupted: bool = False
    trace_id: str = ""

    def shown(self, with_words: bool) -> dict[str, Any]:
        return {
            "turn": self.turn,
            "caller": self.caller if with_words else "",
            "is_committed": self.is_committed,
            "agent": " ".join(self.clauses) if with_words else "",
            "tools": list(self.tools.values()),
            "v2v_ms": self.v2v_ms,
            "hops_ms": self.hops_ms,
            "is_interrupted": self.is_interrupted,
            "trace_id": self.trace_id,
        }


@dataclass(slots=True)
class _Call:
    sid: str
    edge: str
    caller_number: str
    began_at: float
    state: str = "listening"
    error: str = ""
    ended_by: str = ""
    turns: OrderedDict[int, _Turn] = field(default_factory=OrderedDict)

    def turn(self, number: int) -> _Turn:
        if number not in self.turns:
            self.turns[number] = _Turn(number)
            while len(self.turns) > MAX_TURNS:
                self.turns.popitem(last=False)
        return self.turns[number]


class Board:
    """Calls in progress and the last few that ended.

    Attributes:
        on_change: called with the `sid` of a call that looks different now.
    """

    def __init__(self) -> None:
        self.on_change: Callable[[str], None] = lambda sid: None
        self._calls: OrderedDict[str, _Call] = OrderedDict()

    def opened(self, sid: str, config: session_pb2.SessionConfig, edge_name: str, now_s: float) -> None:
        """A call begins.

        Args:
            sid: of the call.
            config: how it is held.
            edge_name: how it came in.
            now_s: Unix time in s.
        """
        self._calls[sid] = _Call(sid, edge_name, config.caller_number, now_s)
        self.on_change(sid)

    def happened(self, sid: str, event: edge.CallEvent) -> None:
        """Something happened on a call; audio and unknown calls are ignored."""
        call = self._calls.get(sid)
        if call is not None and not isinstance(event, edge.AgentAudio):
            _apply(call, event)
            self.on_change(sid)

    def ended(self, sid: str, by: str) -> None:
        """The call is over, if it was not already; only the newest ended ones are kept."""
        call = self._calls.get(sid)
        if call is None or call.ended_by:
            return
        call.state, call.ended_by = "ended", by
        self.on_change(sid)
        over = [sid for sid, call in self._calls.items() if call.ended_by]
        for old in over[:-MAX_ENDED]:
            del self._calls[old]
            self.on_change(old)

    def call(self, sid: str, *, with_words: bool) -> dict[str, Any] | None:
        """One call as the page draws it; without what was said and by whom unless `with_words`."""
        call = self._calls.get(sid)
        if call is None:
            return None
        return {
            "sid": call.sid,
            "edge": call.edge,
            "caller_number": call.caller_number if with_words else "",
            "began_at": call.began_at,
            "state": call.state,
            "error": call.error,
            "ended_by": call.ended_by,
            "turns": [turn.shown(with_words) for turn in call.turns.values()],
        }

    def calls(self, *, with_words: bool) -> list[dict[str, Any]]:
        """All calls, the oldest first."""
        return [shown for sid in self._calls if (shown := self.call(sid, with_words=with_words))]


def _apply(call: _Call, event: edge.CallEvent) -> None:
    match event:
        case edge.SpeechStarted():
            call.state = "caller speaks"
        case edge.SpeechStopped():
            call.state = "listening"
        case edge.CallerCaption():
            call.turn(event.turn).caller = event.text
        case edge.TurnCommitted():
            turn = call.turn(event.turn)
            turn.caller, turn.is_committed = event.transcript, True
            turn.clauses, turn.is_interrupted = [], False  # a turn that was reopened is answered anew
            call.state = "thinking"
        case edge.AnswerStarted():
            call.turn(event.turn).v2v_ms = event.v2v_ms
            call.state = "agent speaks"
        case edge.AgentCaption():
            call.turn(event.turn).clauses.append(event.text)
        case edge.Interrupted():
            call.turn(event.turn).is_interrupted = True
            call.state = "caller speaks"
        case edge.AnswerDone():
            if event.is_cut:
                call.turn(event.turn).clauses = [event.text_heard]
            call.state = "listening" if call.state == "agent speaks" else call.state
        case edge.ToolCalled():
            call.turn(event.turn).tools[event.call_id] = {"name": event.name, "state": "running"}
        case edge.ToolReturned():
            state = "failed" if event.error else "done"
            call.turn(event.turn).tools[event.call_id] = {"name": event.name, "state": state}
        case edge.TurnDone():
            turn = call.turn(event.turn)
            turn.v2v_ms, turn.hops_ms, turn.trace_id = event.v2v_ms, dict(event.hops_ms), event.trace_id
            turn.is_interrupted = turn.is_interrupted or event.is_interrupted
        case edge.Failed():
            call.error = event.error.message
        case edge.Ended(error=error) if error is not None:
            call.error = error.message
        case _:
            pass
