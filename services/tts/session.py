"""What to say next: clauses in order, and what a newer epoch or revision makes void. No I/O; time plays no part.

Stale is dropped by comparison: an older epoch than the newest seen, an older turn, or an older revision of the same
turn. A newer epoch voids everything at once; a newer revision voids the older drafts of its turn; a newer turn of the
same epoch waits for the clauses before it.
"""

from collections import deque
from dataclasses import dataclass, field

from halfbeat.drop import DropReason
from halfbeat.fence import Fence
from halfbeat.v1.common_pb2 import Stamp

# A minute of speech: 15 characters a second. An answer longer than this is a defect of the dialogue.
MAX_WAITING_CHARS = 900


@dataclass(frozen=True)
class ClauseReceived:
    """The dialogue has a clause to speak.

    Attributes:
        stamp: epoch, turn and revision of the answer it belongs to.
        index: its position in the answer, from 0.
        text: as written.
        origin: whatever the shell needs to answer it; not looked at.
    """

    stamp: Stamp
    index: int
    text: str
    origin: object = field(default=None, compare=False)


@dataclass(frozen=True)
class EpochAdvanced:
    """Everything older than the stamp's epoch is void."""

    stamp: Stamp


@dataclass(frozen=True)
class TurnResumed:
    """The caller goes on: what was formed under the turn's older revisions, drafts, is void."""

    stamp: Stamp


@dataclass(frozen=True)
class ClauseEnded:
    """The shell is done with the clause it was told to speak: spoken, failed or stopped."""


Event = ClauseReceived | EpochAdvanced | TurnResumed | ClauseEnded


@dataclass(frozen=True)
class Speak:
    """Speak this clause now; the next follows after `ClauseEnded`."""

    clause: ClauseReceived


@dataclass(frozen=True)
class Stop:
    """The clause being spoken is void: compute and publish no more of it, then report `ClauseEnded`."""

    reason: DropReason


@dataclass(frozen=True)
class Drop:
    """A clause will not be spoken, and nobody waits for it."""

    clause: ClauseReceived
    reason: DropReason


@dataclass(frozen=True)
class Refuse:
    """A clause will not be spoken though it is wanted: too much waits already. The sender is told."""

    clause: ClauseReceived


Output = Speak | Stop | Drop | Refuse


class SpeechSession:
    """Order and validity of one session's clauses."""

    def __init__(self, *, epoch: int = 0, max_waiting_chars: int = MAX_WAITING_CHARS) -> None:
        """Takes the epoch the session begins in, and how much text may wait behind the clause being spoken."""
        self._fence = Fence(epoch)
        self._max_waiting_chars = max_waiting_chars
        self._waiting: deque[ClauseReceived] = deque()
        self._speaking: ClauseReceived | None = None
        self._is_stopped = False
        self._last_index = -1  # of the newest answer

    def on_event(self, event: Event) -> list[Output]:
        """Takes one event and returns what is to be done, in order."""
        match event:
            case ClauseReceived():
                return self._on_clause(event)
            case EpochAdvanced(stamp):
                return self._advance(Stamp(epoch=stamp.epoch))
            case TurnResumed(stamp):
                return self._advance(stamp)
            case ClauseEnded():
                self._speaking, self._is_stopped = None, False
                return self._next()

    def _on_clause(self, clause: ClauseReceived) -> list[Output]:
        reason = self._fence.stale(clause.stamp)
        if reason is not None:
            return [Drop(clause, reason)]
        outputs = self._advance(clause.stamp)
        if clause.index <= self._last_index:
            return [*outputs, Drop(clause, DropReason.DUPLICATE)]
        self._last_index = clause.index
        waiting_chars = sum(len(c.text) for c in self._waiting)
        if waiting_chars and waiting_chars + len(clause.text) > self._max_waiting_chars:
            return [*outputs, Refuse(clause)]
        self._waiting.append(clause)
        return outputs + self._next()

    def _advance(self, stamp: Stamp) -> list[Output]:
        """Moves the fence; what is behind it now is dropped and, when it is being spoken, stopped."""
        if not self._fence.advance(stamp):
            return []
        self._last_index = -1
        outputs: list[Output] = []
        if self._speaking is not None and not self._is_stopped and (reason := self._void(self._speaking)):
            self._is_stopped = True
            outputs.append(Stop(reason))
        outputs += [Drop(c, reason) for c in self._waiting if (reason := self._void(c))]
        self._waiting = deque(c for c in self._waiting if not self._void(c))
        return outputs

    def _void(self, clause: ClauseReceived) -> DropReason | None:
        """Unlike the fence's own verdict: an answer of an earlier turn is still spoken to its end."""
        reason = self._fence.stale(clause.stamp)
        return None if reason is DropReason.STALE_TURN else reason

    def _next(self) -> list[Output]:
        if self._speaking is not None or not self._waiting:
            return []
        self._speaking = self._waiting.popleft()
        return [Speak(self._speaking)]
