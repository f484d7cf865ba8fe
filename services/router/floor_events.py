"""What the floor is told and what it tells: events in the past tense, commands in the imperative. No I/O."""

from dataclasses import dataclass, field

from halfbeat.v1 import common_pb2
from services.router.edge import CallEvent, EdgeFormat
from services.router.endpoint import Voice
from services.router.overlap import OverlapSettings

# --- told to the floor ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallBegan:
    """All workers are there. `has_opening`: the agent speaks first."""

    has_opening: bool


@dataclass(frozen=True, slots=True)
class VoiceWindow:
    """Another 32 ms of the caller. `ended_ns`: when their last sample was spoken; now, when that is not known."""

    voice: Voice
    ended_ns: int | None = None


@dataclass(frozen=True, slots=True)
class EchoMeasured:
    """Whether the agent's echo is known to be gone from what the caller sends, or never was there.

    None: nothing measures it.
    """

    is_clear: bool | None


@dataclass(frozen=True, slots=True)
class TranscriptArrived:
    """The whole turn's words so far."""

    turn: int
    revision: int
    text: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class TurnJudged:
    """The turn detector's opinion; None when it failed or was late."""

    turn: int
    revision: int
    probability: float | None


@dataclass(frozen=True, slots=True)
class ClauseArrived:
    """A piece of an answer. `asks`: it ends in a question."""

    epoch: int
    turn: int
    revision: int
    index: int
    asks: bool = False


@dataclass(frozen=True, slots=True)
class DraftVoided:
    """The dialogue cannot stand by its draft any more."""

    epoch: int
    turn: int
    revision: int


@dataclass(frozen=True, slots=True)
class AnswerEnded:
    """The dialogue has said all."""

    epoch: int
    turn: int
    revision: int
    clauses: int
    hangs_up: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: common_pb2.Error | None = None


@dataclass(frozen=True, slots=True)
class ToolUsed:
    """A tool was called or returned: the answer makes progress. `is_client`: the client executes it."""

    epoch: int
    turn: int
    revision: int
    is_client: bool


@dataclass(frozen=True, slots=True)
class PlayoutBegan:
    """First audible frame of an answer leaves."""

    turn: int


@dataclass(frozen=True, slots=True)
class PlayoutProgressed:
    """More of an answer was played."""

    turn: int


@dataclass(frozen=True, slots=True)
class PlayoutEnded:
    """The caller has heard the whole answer."""

    turn: int


@dataclass(frozen=True, slots=True)
class TextSent:
    """The caller typed a turn."""

    text: str


@dataclass(frozen=True, slots=True)
class TextAdded:
    """Words for the history; no answer wanted."""

    text: str


@dataclass(frozen=True, slots=True)
class InputCommitted:
    """The client ends the turn. Its audio goes from `start_samples` to `end_samples`."""

    start_samples: int
    end_samples: int


@dataclass(frozen=True, slots=True)
class InputCleared:
    """The client takes the turn back."""


@dataclass(frozen=True, slots=True)
class AnswerRequested:
    """The client wants an answer to what is there."""

    instructions: str = ""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The client stops the agent."""


@dataclass(frozen=True, slots=True)
class FormatChanged:
    """The client changed how turns are taken."""

    format: EdgeFormat


@dataclass(frozen=True, slots=True)
class CallLost:
    """The call cannot or shall not go on: hang-up, a dead worker, a client that does not read."""

    by: str
    error: common_pb2.Error | None = None


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed."""


FloorEvent = (
    CallBegan | VoiceWindow | TranscriptArrived | TurnJudged | ClauseArrived | DraftVoided | AnswerEnded | ToolUsed
    | PlayoutBegan | PlayoutProgressed | PlayoutEnded | TextSent | TextAdded | InputCommitted | InputCleared
    | AnswerRequested | StopRequested | FormatChanged | EchoMeasured | CallLost | Ticked
)  # fmt: skip

# --- told by the floor ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recognise:
    """Command to asr: "speech_started", "flush" or "reset"."""

    command: str
    turn: int
    revision: int
    offset_samples: int = 0


@dataclass(frozen=True, slots=True)
class AskDetector:
    """Ask whether the turn that began at `start_samples` is over; answer with `TurnJudged`."""

    turn: int
    revision: int
    start_samples: int


@dataclass(frozen=True, slots=True)
class Announce:
    """Publish a decision about the end of the turn: "eager", "committed" or "resumed"."""

    kind: str
    turn: int
    revision: int
    speech_end_samples: int
    silence_ms: int = 0
    probability: float | None = None
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """Ask for an answer that nobody hears unless a commit adopts it: publish TurnDrafted."""

    turn: int
    revision: int
    epoch: int
    transcript: str
    speech_end_samples: int


@dataclass(frozen=True, slots=True)
class DropDraft:
    """The draft came to nothing: "resumed", "voided" by dialogue, "differs" (other words were committed), "cleared"."""

    turn: int
    revision: int
    reason: str


@dataclass(frozen=True, slots=True)
class Commit:
    """Open the commit gate: publish TurnCommitted.

    Attributes:
        speech_end_samples: last voiced sample of the caller; None when nothing was spoken.
        decided_ns: when the turn was known to be over; the wait after it was for the words.
        adopts_draft: the draft with these numbers is the answer.
        drafts: how many were asked for in this turn.
        has_final: False when the final words did not come in time and the partial ones had to do.
        prompt_cause: with `is_prompted`: "opening", "client", "silence", "silence_again" or "goodbye".
    """

    turn: int
    revision: int
    epoch: int
    transcript: str
    wants_answer: bool
    is_prompted: bool = False
    instructions: str = ""
    speech_end_samples: int | None = None
    decided_ns: int = 0
    adopts_draft: bool = False
    drafts: int = 0
    has_final: bool = True
    prompt_cause: str = ""


@dataclass(frozen=True, slots=True)
class CutPlayout:
    """Throw the agent's audio away now.

    Attributes:
        epoch: the new one.
        voice_samples: first voiced sample of the caller who interrupts; None when nobody spoke.
    """

    turn: int
    epoch: int
    voice_samples: int | None = None


@dataclass(frozen=True, slots=True)
class AdvanceEpoch:
    """Publish that everything older is void: cause "barge_in", "resumed" (nothing had sounded) or "cancelled"."""

    turn: int
    revision: int
    epoch: int
    cause: str


@dataclass(frozen=True, slots=True)
class CloseAnswer:
    """The answer is over: "heard", "cut", "failed", or "resumed" (void before anything was heard; its turn goes on)."""

    turn: int
    end: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class HoldPlayout:
    """Do not begin to play while the caller may be going on."""


@dataclass(frozen=True, slots=True)
class ReleasePlayout:
    """Play on."""


@dataclass(frozen=True, slots=True)
class Duck:
    """The caller makes a sound: the agent goes on, quieter."""


@dataclass(frozen=True, slots=True)
class Mute:
    """The caller's voice goes on: the agent falls silent and holds its place."""


@dataclass(frozen=True, slots=True)
class Unduck:
    """The sound was not meant to stop the agent: it goes on. `reason` counts it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Hand an event to the edge."""

    event: CallEvent


@dataclass(frozen=True, slots=True)
class Discard:
    """A message was stale or came twice; count it."""

    reason: str


@dataclass(frozen=True, slots=True)
class EndCall:
    """Hang up. Nothing follows."""

    by: str
    error: common_pb2.Error | None = None


FloorOutput = (
    Recognise | AskDetector | Announce | Draft | DropDraft | Commit | CutPlayout | AdvanceEpoch | CloseAnswer
    | HoldPlayout | ReleasePlayout | Duck | Mute | Unduck | Tell | Discard | EndCall
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FloorSettings:
    """How the floor changes hands. Times in ms unless named otherwise.

    Attributes:
        pause_ms: silence after which speech has paused, as in `VoiceSettings`; here to the ms, between two windows.
        pre_roll_ms: audio before the first voiced window that belongs to the speech.
        overlap: how the agent yields while it speaks; the four below say how while it thinks.
        resume_ms: voice after the commit, before the answer sounds, that reopens the turn.
        resume_grace_ms: how long after the commit this is possible.
        hold_ms: longest time an answer waits for the words of a short sound before it.
        noise_ms: silence after which a sound without words is dropped; a word may follow a short gap.
        speculates: whether answers are drafted before the commit.
        draft_probability: probability of the end from which a draft is asked for.
        max_drafts: drafts in one turn.
        answer_timeout_s: longest time without any progress of an answer.
        silence_prompt_s: the agent asks a silent caller after this time, asks again, then says goodbye; 0: never.
        idle_s: longest time that nobody says anything.
        language: of the call, BCP 47.
        max_call_s: longest call.
    """

    pause_ms: int = 120
    pre_roll_ms: int = 300
    overlap: OverlapSettings = field(default_factory=OverlapSettings)
    resume_ms: int = 160
    resume_grace_ms: int = 3000
    hold_ms: int = 700
    noise_ms: int = 400
    speculates: bool = True
    draft_probability: float = 0.2
    max_drafts: int = 4
    answer_timeout_s: float = 20.0
    silence_prompt_s: float = 7.0
    idle_s: float = 75.0
    max_call_s: float = 1800.0
    language: str = "en"
