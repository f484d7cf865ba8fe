"""What to say next: clauses in order, and what a newer epoch or revision makes void. No I/O; time plays no part.

A clause belongs to an answer, named by (epoch, turn, revision). Stale is dropped by comparison: an older epoch than the
newest seen, an older turn, or an older revision of the same turn. A newer epoch voids everything at once; a newer revision
voids the older drafts of its turn; a newer turn of the same epoch waits for the clauses before it.
"""

from collections import deque
from dataclasses import dataclass

# A minute of speech: 15 characters a second. An answer longer than this is a defect of the dialogue.
MAX_WAITING_CHARS = 900


@dataclass(frozen=True, order=True)
class Answer:
    """Which answer a clause belongs to; ordered by age."""

    epoch: int
    turn: int
    revision: int


@dataclass(frozen=True)
class ClauseReceived:
    """The dialogue has a clause to speak.

    Attributes:
        answer: the answer it belongs to.
        index: its position in the answer, from 0.
        text: as written.
    """

    answer: Answer
    index: int
    text: str


@dataclass(frozen=True)
class EpochAdvanced:
    """Everything older than this epoch is void."""

    epoch: int


@dataclass(frozen=True)
class ClauseEnded:
    """The shell is done with the clause it was told to speak (spoken, failed or stopped)."""


Event = ClauseReceived | EpochAdvanced | ClauseEnded


@dataclass(frozen=True)
class Speak:
    """Speak this clause now; the next follows after `ClauseEnded`."""

    clause: ClauseReceived


@dataclass(frozen=True)
class Stop:
    """The clause being spoken is void: compute and publish no more of it."""


@dataclass(frozen=True)
class Drop:
    """A clause will not be spoken, and nobody waits for it.

    Attributes:
        reason: "stale" or "duplicate"; label of the drop counter.
    """

    clause: ClauseReceived
    reason: str


@dataclass(frozen=True)
class Refuse:
    """A clause will not be spoken though it is wanted: too much waits already."""

    clause: ClauseReceived


Output = Speak | Stop | Drop | Refuse


class SpeechSession:
    """Order and validity of one session's clauses."""

    def __init__(self, *, max_waiting_chars: int = MAX_WAITING_CHARS) -> None:
        self._max_waiting_chars = max_waiting_chars
        self._waiting: deque[ClauseReceived] = deque()
        self._speaking: ClauseReceived | None = None
        self._is_stopped = False
        self._newest = Answer(0, 0, 0)
        self._last_index = -1

    def on_event(self, event: Event) -> list[Output]:
        """Takes one event and returns what is to be done, in order."""
        match event:
            case ClauseReceived():
                return self._on_clause(event)
            case EpochAdvanced(epoch):
                return self._advance(Answer(epoch, 0, 0)) if epoch > self._newest.epoch else []
            case ClauseEnded():
                self._speaking, self._is_stopped = None, False
                return self._next()

    def _on_clause(self, clause: ClauseReceived) -> list[Output]:
        if clause.answer < self._newest:
            return [Drop(clause, "stale")]
        outputs: list[Output] = []
        if clause.answer > self._newest:
            outputs += self._advance(clause.answer)
        if clause.index <= self._last_index:
            return [*outputs, Drop(clause, "duplicate")]
        waiting = sum(len(c.text) for c in self._waiting)
        if waiting and waiting + len(clause.text) > self._max_waiting_chars:
            return [*outputs, Refuse(clause)]
        self._last_index = clause.index
        self._waiting.append(clause)
        return outputs + self._next()

    def _advance(self, newest: Answer) -> list[Output]:
        """Makes `newest` the answer; what it voids is dropped and, when it is being spoken, stopped."""
        self._newest, self._last_index = newest, -1
        outputs: list[Output] = []
        if self._speaking is not None and not self._is_stopped and self._is_void(self._speaking):
            self._is_stopped = True
            outputs.append(Stop())
        outputs += [Drop(c, "stale") for c in self._waiting if self._is_void(c)]
        self._waiting = deque(c for c in self._waiting if not self._is_void(c))
        return outputs

    def _is_void(self, clause: ClauseReceived) -> bool:
        answer, newest = clause.answer, self._newest
        if answer.epoch != newest.epoch:
            return answer.epoch < newest.epoch
        return answer.turn == newest.turn and answer.revision < newest.revision

    def _next(self) -> list[Output]:
        if self._speaking is not None or not self._waiting:
            return []
        self._speaking = self._waiting.popleft()
        return [Speak(self._speaking)]
