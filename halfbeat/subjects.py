"""Every subject of the bus, built and parsed in this one place: ``hb.v1.<kind>.<verb>.<sid>``.

The kind comes before the identity, so that one wildcard taps, permits or counts a kind of message for all sessions. The
table says who publishes and who subscribes each kind; `halfbeat.nats_auth` makes the permissions of NATS from it.
"""

import re
from dataclasses import dataclass
from enum import Enum

from google.protobuf.message import Message

from halfbeat.errors import InvalidRequest
from halfbeat.v1 import asr_pb2, audio_pb2, dialogue_pb2, session_pb2, tts_pb2, turn_pb2

PREFIX = "hb.v1"
_SID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Lane(Enum):
    """How a message is treated under pressure."""

    # Dropped when late: worthless afterwards.
    REALTIME = "realtime"
    # Never dropped; a full queue ends the session with an error instead.
    CONTROL = "control"


@dataclass(frozen=True)
class Kind:
    """One kind of message: its place on the bus and its payload.

    Attributes:
        kind: who it concerns.
        verb: what happened.
        message: protobuf type of the payload.
        publishers: services that send it.
        subscribers: services that take it from the bus; a tool that taps what is logged is none of them.
        lane: how it is treated under pressure.
        is_logged: whether the JetStream stream TURNS captures it.
    """

    kind: str
    verb: str
    message: type[Message]
    publishers: tuple[str, ...]
    subscribers: tuple[str, ...]
    lane: Lane = Lane.CONTROL
    is_logged: bool = False

    def of(self, sid: str) -> str:
        """Returns the subject for one session."""
        if not _SID.fullmatch(sid):
            raise InvalidRequest(f"not a session id: {sid!r} (letters, digits, '-' and '_', at most 64)")
        return f"{PREFIX}.{self.kind}.{self.verb}.{sid}"

    @property
    def all(self) -> str:
        """The pattern that matches this kind for every session."""
        return f"{PREFIX}.{self.kind}.{self.verb}.*"


@dataclass(frozen=True)
class Bucket:
    """One key-value bucket of JetStream.

    Attributes:
        name: of the bucket.
        writers: services that put and delete keys.
        readers: who gets, lists and watches them.
        is_by_service: each writer's keys begin with its own name and a dot, and it writes no others.
    """

    name: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    is_by_service: bool = False


ROUTER, ASR, DIALOGUE, TTS = ("router",), ("asr",), ("dialogue",), ("tts",)
EVERYBODY = ROUTER + ASR + DIALOGUE + TTS
# The user of `halfbeat trace`, `replay`, `call` and `doctor`: reads the log and taps it, and publishes nothing.
CLI = ("cli",)
# Makes the streams and buckets for all: whoever may make one may have it capture, copy and republish any subject.
STORAGE_MAKER = "router"

ASR_OPEN = Kind("asr", "open", session_pb2.OpenRequest, ROUTER, ASR)
DIALOGUE_OPEN = Kind("dialogue", "open", session_pb2.OpenRequest, ROUTER, DIALOGUE)
TTS_OPEN = Kind("tts", "open", session_pb2.OpenRequest, ROUTER, TTS)

ASR_AUDIO = Kind("asr", "audio", audio_pb2.AudioFrame, ROUTER, ASR, Lane.REALTIME)
ASR_CONTROL = Kind("asr", "control", asr_pb2.AsrControl, ROUTER, ASR)
ASR_PARTIAL = Kind("asr", "partial", asr_pb2.Transcript, ASR, ROUTER + DIALOGUE, is_logged=True)
ASR_FINAL = Kind("asr", "final", asr_pb2.Transcript, ASR, ROUTER + DIALOGUE, is_logged=True)

TURN_ENDPOINT = Kind("turn", "endpoint", turn_pb2.Endpoint, ROUTER, DIALOGUE + TTS, is_logged=True)
TURN_DRAFT = Kind("turn", "draft", turn_pb2.TurnDrafted, ROUTER, DIALOGUE, is_logged=True)
TURN_COMMIT = Kind("turn", "commit", turn_pb2.TurnCommitted, ROUTER, DIALOGUE, is_logged=True)
TURN_HEARD = Kind("turn", "heard", turn_pb2.Heard, ROUTER, DIALOGUE, is_logged=True)
TURN_DONE = Kind("turn", "done", turn_pb2.TurnDone, ROUTER, (), is_logged=True)

DIALOGUE_CLAUSE = Kind("dialogue", "clause", dialogue_pb2.Clause, DIALOGUE, ROUTER + TTS, is_logged=True)
DIALOGUE_VOID = Kind("dialogue", "void", dialogue_pb2.DraftVoided, DIALOGUE, ROUTER, is_logged=True)
DIALOGUE_DONE = Kind("dialogue", "done", dialogue_pb2.AnswerDone, DIALOGUE, ROUTER, is_logged=True)
TOOL_CALL = Kind("tool", "call", dialogue_pb2.ToolCall, DIALOGUE, ROUTER, is_logged=True)
TOOL_RESULT = Kind("tool", "result", dialogue_pb2.ToolResult, ROUTER + DIALOGUE, ROUTER + DIALOGUE, is_logged=True)

TTS_PREPARE = Kind("tts", "prepare", tts_pb2.PrepareSpeech, DIALOGUE, TTS)
TTS_AUDIO = Kind("tts", "audio", tts_pb2.SpeechAudio, TTS, ROUTER)

SESSION_EPOCH = Kind("session", "epoch", session_pb2.EpochAdvanced, ROUTER, ASR + DIALOGUE + TTS, is_logged=True)
SESSION_UPDATE = Kind("session", "update", session_pb2.SessionUpdated, ROUTER, DIALOGUE, is_logged=True)
SESSION_CLOSE = Kind("session", "close", session_pb2.SessionClosed, ROUTER, ASR + DIALOGUE + TTS, is_logged=True)

ASR_STATUS = Kind("asr", "status", session_pb2.WorkerStatus, ASR, ROUTER)
DIALOGUE_STATUS = Kind("dialogue", "status", session_pb2.WorkerStatus, DIALOGUE, ROUTER)
TTS_STATUS = Kind("tts", "status", session_pb2.WorkerStatus, TTS, ROUTER)

KINDS: tuple[Kind, ...] = tuple(v for v in globals().values() if isinstance(v, Kind))
OPEN = {"asr": ASR_OPEN, "dialogue": DIALOGUE_OPEN, "tts": TTS_OPEN}
STATUS = {"asr": ASR_STATUS, "dialogue": DIALOGUE_STATUS, "tts": TTS_STATUS}
_BY_NAME = {(k.kind, k.verb): k for k in KINDS}

# Spans of every process, OTLP-encoded, for `halfbeat trace`; captured by the JetStream stream TRACES.
TRACE_SPANS = f"{PREFIX}.trace.spans"  # followed by the session id

# Which processes are there; see `halfbeat.presence`.
PRESENCE = Bucket("presence", EVERYBODY, ROUTER + CLI, is_by_service=True)
# Which router owns a session, and what a takeover would have to know.
OWNERS = Bucket("owners", ROUTER, ROUTER)
SESSIONS = Bucket("sessions", ROUTER, ROUTER)
# What dialogue knows of a session, for a takeover.
DIALOGUES = Bucket("dialogue", DIALOGUE, ())
BUCKETS: tuple[Bucket, ...] = tuple(v for v in globals().values() if isinstance(v, Bucket))


def parse(subject: str) -> tuple[Kind, str] | None:
    """Returns the kind and the session id of a subject, or None for one that this version does not know."""
    parts = subject.split(".")
    if len(parts) != 5 or ".".join(parts[:2]) != PREFIX:
        return None
    kind = _BY_NAME.get((parts[2], parts[3]))
    return (kind, parts[4]) if kind else None
