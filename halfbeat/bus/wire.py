"""How a message looks on the wire, the same for every implementation of the bus."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from opentelemetry import propagate

from halfbeat.bus import Delivery
from halfbeat.errors import HalfbeatError, InternalError, InvalidRequest
from halfbeat.subjects import ASR_OPEN, DIALOGUE_OPEN, TTS_OPEN, Kind, Lane, parse
from halfbeat.v1 import session_pb2

M = TypeVar("M", bound=Message)

# What a request of each kind is answered with; every one has a field `error`.
REPLIES: dict[Kind, type[session_pb2.OpenReply]] = {
    ASR_OPEN: session_pb2.OpenReply,
    DIALOGUE_OPEN: session_pb2.OpenReply,
    TTS_OPEN: session_pb2.OpenReply,
}
# Time the requester will still wait, so that nobody works on an answer that nobody reads.
TIMEOUT_HEADER = "Halfbeat-Timeout-Ms"


@dataclass(frozen=True, slots=True)
class Raw:
    """A message as it lies in the ring: not decoded yet, because it may never be taken.

    Attributes:
        kind: what its subject says it is.
        sid: session, from the subject.
        payload: protobuf bytes.
        received_ns: monotonic time of arrival.
        headers: NATS headers.
        reply: where an answer is wanted; empty for none.
        sequence: position in a JetStream stream, for messages read back from it.
    """

    kind: Kind
    sid: str
    payload: bytes
    received_ns: int
    headers: Mapping[str, str] = field(default_factory=dict)
    reply: str = ""
    sequence: int = 0


def headers_for(kind: Kind, given: Mapping[str, str] | None) -> dict[str, str] | None:
    """Returns a fresh dict of headers with the current trace context; None for no headers at all.

    Fresh, because `js.publish` writes into the dict it is given. Real-time frames carry no trace context: a span a
    frame would cost more than the frame.
    """
    headers = dict(given) if given else {}
    if kind.lane is not Lane.REALTIME:
        propagate.inject(headers)
    return headers or None


def subject_of(kind: Kind, message: Message) -> str:
    """Returns the subject of a message, from its own stamp.

    Raises:
        InvalidRequest: the message is not of this kind, or its stamp has no valid session id.
    """
    if not isinstance(message, kind.message):
        raise InvalidRequest(f"{kind.kind}.{kind.verb} carries {kind.message.__name__}, not {type(message).__name__}")
    return kind.of(message.stamp.sid)  # type: ignore[attr-defined]


def raw_of(
    subject: str,
    payload: bytes,
    headers: Mapping[str, str] | None,
    received_ns: int,
    reply: str = "",
    sequence: int = 0,
) -> Raw | None:
    """Sorts a message by its subject; None for a kind that this version does not know."""
    parsed = parse(subject)
    if parsed is None:
        return None
    return Raw(parsed[0], parsed[1], payload, received_ns, headers or {}, reply, sequence)


def decode(raw: Raw) -> Delivery:
    """Decodes a message.

    Raises:
        InvalidRequest: the payload is not what the subject says; the text holds none of its content.
    """
    message = raw.kind.message()
    try:
        message.ParseFromString(raw.payload)
    except DecodeError:
        raise InvalidRequest(f"malformed {raw.kind.kind}.{raw.kind.verb}: not a {raw.kind.message.__name__}") from None
    if message.stamp.sid != raw.sid:  # type: ignore[attr-defined]
        raise InvalidRequest(f"malformed {raw.kind.kind}.{raw.kind.verb}: stamp and subject name different sessions")
    return Delivery(raw.kind, raw.sid, message, raw.headers, raw.received_ns, raw.sequence)


def error_reply(kind: Kind, error: BaseException) -> Message:
    """Returns the reply that tells an error; whatever is not a `HalfbeatError` is a defect and told without details."""
    if not isinstance(error, HalfbeatError):
        error = InternalError(f"{kind.kind}.{kind.verb} failed: {type(error).__name__}")
    return REPLIES[kind](error=error.to_message())


def decode_reply(payload: bytes, reply: type[M]) -> M:
    """Decodes the answer to a request.

    Raises:
        InvalidRequest: it is not a `reply`.
    """
    message = reply()
    try:
        message.ParseFromString(payload)
    except DecodeError:
        raise InvalidRequest(f"malformed reply: not a {reply.__name__}") from None
    return message
