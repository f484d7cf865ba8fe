"""What the floor remembers: the caller's turn in progress and the agent's answer in progress. No I/O."""

from dataclasses import dataclass
from enum import Enum

from services.router.backchannel import words_of
from services.router.floor_events import AnswerEnded


class Holder(Enum):
    """Who speaks now."""

    NOBODY = "nobody"
    CALLER = "caller"
    AGENT = "agent"
    BOTH = "both"


@dataclass(slots=True)
class Draft:
    """An answer asked for before the commit that may adopt it."""

    epoch: int
    turn: int
    revision: int
    transcript: str
    # Clauses that came, and whether the last of them asks something.
    clauses: int = 0
    asks: bool = False
    is_usable: bool = True

    def is_of(self, epoch: int, turn: int, revision: int) -> bool:
        """Whether a message with these numbers belongs to it, and it lives."""
        return self.is_usable and (epoch, turn, revision) == (self.epoch, self.turn, self.revision)

    def fits(self, transcript: str) -> bool:
        """Whether it lives and answers these words, however they are written."""
        return self.is_usable and words_of(transcript) == words_of(self.transcript)


@dataclass(slots=True)
class Utterance:
    """The caller's turn as long as it is not committed."""

    turn: int
    revision: int
    start_samples: int
    last_voiced_samples: int
    is_overlap: bool = False
    # Goes on with the turn of the live answer.
    is_resumption: bool = False
    is_speaking: bool = True
    # The edge was told that speech started, and not yet that it stopped.
    is_told: bool = False
    is_client_committed: bool = False
    is_answer_requested: bool = False
    instructions: str = ""
    voiced_ms: int = 0
    voiced_before_ms: int = 0
    peak_dbfs: float = -100.0
    # The words were asked for then; None while speaking.
    flushed_ns: int | None = None
    # The turn was known to be over then.
    decided_ns: int | None = None
    times_asked: int = 0
    # How long the caller had been quiet, when this goes on with a committed turn.
    resumed_after_ms: int = 0
    # The silence when the audio model was asked, its newest opinion, and the silence which that was formed of.
    asked_ms: int = 0
    audio: float | None = None
    audio_at_ms: int | None = None
    # All evidence fused: the probability that the turn is over; whether the caller asked for time; when to look again.
    probability: float | None = None
    is_wait: bool = False
    due_ns: int | None = None
    # The speech has paused by then unless voice comes.
    pauses_ns: int | None = None
    # The draft asked for in this revision.
    draft: Draft | None = None
    partial: str = ""
    final: str | None = None
    # Words of the commit that this goes on from, in case the recogniser gives none of them again.
    prior: str = ""

    @property
    def text(self) -> str:
        """The words so far."""
        return (self.partial if self.final is None else self.final).strip() or self.prior

    def reopen(self) -> None:
        """The caller goes on: what was concluded from the pause is void."""
        if self.flushed_ns is not None:
            self.revision += 1
        self.flushed_ns = self.decided_ns = self.probability = self.final = None
        self.audio = self.audio_at_ms = self.due_ns = self.pauses_ns = self.draft = None
        self.is_wait = False
        self.times_asked = 0
        self.is_speaking = True
        self.voiced_before_ms = self.voiced_ms


@dataclass(slots=True)
class Answer:
    """What the agent says to one commit."""

    turn: int
    revision: int
    epoch: int
    committed_ns: int
    progress_ns: int
    # Where the caller's turn began; None when it was not spoken.
    start_samples: int | None = None
    last_voiced_samples: int | None = None
    transcript: str = ""
    clauses: int = 0
    # It ends in a question, as far as it has come.
    asks: bool = False
    is_sounding: bool = False
    # Its first audible sample left then.
    sounding_ns: int = 0
    has_client_tool: bool = False
    ended: AnswerEnded | None = None

    @property
    def is_opening(self) -> bool:
        """Whether it is the greeting."""
        return self.turn == 0

    def is_of(self, epoch: int, turn: int, revision: int) -> bool:
        """Whether a message with these numbers belongs to it."""
        return (epoch, turn, revision) == (self.epoch, self.turn, self.revision)
