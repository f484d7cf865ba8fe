"""The line between a call and its edge: what each may ask of the other.

An edge (gRPC, Realtime, Twilio) is a thin shell: it decodes its protocol, calls the methods of `CallControl`, and turns
`CallEvent`s back into its protocol. It holds no turn-taking of its own.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from halfbeat.v1 import common_pb2, session_pb2


@dataclass(frozen=True, slots=True)
class AgentAudio:
    """A frame of the agent's voice, due now: playout has paced it already.

    Attributes:
        pcm: mono s16 little endian at the edge's rate.
        epoch: to throw it away after an interruption.
        turn: whose answer it is.
        offset_samples: agent audio before it since the call began, at the edge's rate.
    """

    pcm: bytes
    epoch: int
    turn: int
    offset_samples: int


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    turn: int
    offset_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    turn: int
    offset_ms: int


@dataclass(frozen=True, slots=True)
class CallerCaption:
    """What the caller said so far in this turn; `text` is always the whole turn."""

    turn: int
    text: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class TurnCommitted:
    turn: int
    transcript: str


@dataclass(frozen=True, slots=True)
class AnswerStarted:
    """First audible frame of an answer leaves now. Turn 0 is the opening."""

    turn: int
    v2v_ms: int | None


@dataclass(frozen=True, slots=True)
class AgentCaption:
    """A clause whose audio begins to play now."""

    turn: int
    clause: int
    text: str


@dataclass(frozen=True, slots=True)
class AnswerDone:
    """The answer is over: played out, cut, or failed with an apology."""

    turn: int
    text_heard: str
    is_cut: bool
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Agent audio that was sent but not played must be thrown away at the caller's end."""

    turn: int
    epoch: int
    played_ms: int


@dataclass(frozen=True, slots=True)
class ToolCalled:
    turn: int
    call_id: str
    name: str
    arguments_json: str
    is_client: bool


@dataclass(frozen=True, slots=True)
class ToolReturned:
    turn: int
    call_id: str
    name: str
    result_json: str
    error: common_pb2.Error | None


@dataclass(frozen=True, slots=True)
class TurnDone:
    """Where the turn's time went, by span name in ms."""

    turn: int
    v2v_ms: int | None
    hops_ms: dict[str, int] = field(default_factory=dict)
    is_interrupted: bool = False
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """Something went wrong; the call goes on unless `Ended` follows."""

    error: common_pb2.Error


@dataclass(frozen=True, slots=True)
class Ended:
    """The call is over. Always the last event, exactly once."""

    by: str
    error: common_pb2.Error | None = None


CallEvent = (
    AgentAudio | SpeechStarted | SpeechStopped | CallerCaption | TurnCommitted | AnswerStarted | AgentCaption
    | AnswerDone | Interrupted | ToolCalled | ToolReturned | TurnDone | Failed | Ended
)  # fmt: skip


class Cleaning(StrEnum):
    """What is taken out of a caller's audio."""

    NOTHING = "nothing"
    NOISE = "noise"
    ECHO = "echo"  # and noise


@dataclass(frozen=True, slots=True)
class EdgeFormat:
    """What the edge speaks.

    Attributes:
        sample_rate_hz: 8000, 16000, 24000 or 48000, both ways, s16 mono (the edge itself expands mu-law).
        reports_playout: the edge will call `played`; otherwise "heard" is estimated from the pacing.
        has_turn_detection: False for a client that commits its turns itself (Realtime, turn_detection null).
        creates_response: answer a committed turn without being asked (Realtime create_response).
        interrupts_response: the caller's speech stops the agent (Realtime interrupt_response).
        asks_silent_caller: the agent speaks up when nobody says anything; False for a client that minds that itself.
        lead_ms: audio sent ahead of real time, as slack for the network.
        cleaning: what is taken out of the caller's audio, at most: a client that cancels echo itself wants none of it.
    """

    sample_rate_hz: int = 16000
    reports_playout: bool = False
    has_turn_detection: bool = True
    creates_response: bool = True
    interrupts_response: bool = True
    asks_silent_caller: bool = True
    lead_ms: int = 60
    cleaning: Cleaning = Cleaning.ECHO


class CallControl(Protocol):
    """What an edge may ask of its call. All methods return at once; results come as events."""

    @property
    def sid(self) -> str: ...

    def receive_audio(self, pcm: bytes) -> None:
        """Takes the caller's audio, any length of whole samples, s16 mono at the edge's rate.

        Raises:
            InvalidRequest: odd byte count or more than 10 s at once.
            TooFast: more than real time plus 10 s; what does not fit is dropped and counted.
        """

    def played(self, samples: int) -> None:
        """The caller's end has played this many samples of agent audio since the call began.

        Counted on the timeline of `AgentAudio.offset_samples`: what was sent, so audio thrown away after `Interrupted`
        is passed over as soon as later audio is played.
        """

    def send_text(self, text: str) -> None:
        """The caller typed a whole turn: commits it and asks for an answer."""

    def add_text(self, text: str) -> None:
        """Takes words into the history without asking for an answer (Realtime conversation.item.create)."""

    def commit_input(self) -> None:
        """Ends the caller's turn now; InvalidRequest when there is no audio."""

    def clear_input(self) -> None:
        """Forgets the caller's audio of the turn that was not committed."""

    def create_response(self, instructions: str = "") -> None:
        """Asks for an answer to what is in the history."""

    def interrupt(self) -> None:
        """Stops the agent now, as a barge-in does."""

    def truncate(self, turn: int, played_ms: int) -> None:
        """The caller's end says how much of an answer was played before it was cut."""

    def return_tool(self, call_id: str, output_json: str) -> None:
        """Result of a tool that the client executes; NotFound for an unknown call."""

    def update(self, config: session_pb2.SessionConfig, fmt: EdgeFormat) -> None:
        """Changes settings during the call; the sample rate can't change."""

    def end(self, by: str = "caller") -> None:
        """Hangs up."""


class LiveCall(CallControl, Protocol):
    """A call as its one edge holds it."""

    def events(self) -> AsyncIterator[CallEvent]:
        """Everything that happens, in order, ending after `Ended`; may be iterated once."""


class Calls(Protocol):
    """Where edges get their calls from."""

    async def open(self, config: session_pb2.SessionConfig, fmt: EdgeFormat, *, edge: str, sid: str = "") -> LiveCall:
        """Places a call on workers; returns when asr, dialogue and tts hold it.

        The edge must read `events()` to the end, or call `end()`; after `end()` nothing need be read any more.

        Args:
            config: how the call is to be held.
            fmt: what the edge speaks.
            edge: "grpc", "realtime" or "twilio", for metrics and the page.
            sid: chosen by the edge; empty for a fresh one.

        Raises:
            AtCapacity, Unavailable, TimedOut: no worker took it.
        """
