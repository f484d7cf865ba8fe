"""The bus as services see it.

`halfbeat.bus.memory` and `halfbeat.bus.nats` implement it, and one contract suite tests both.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

from google.protobuf.message import Message

from halfbeat.subjects import Kind

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it was received.

    Attributes:
        kind: what it is; decides the type of `message`.
        sid: the session it belongs to.
        message: the decoded payload.
        headers: NATS headers (`traceparent` among them); empty when there were none.
        received_ns: `time.monotonic_ns()` on arrival, before it waited in our ring.
        sequence: position in the stream TURNS, for messages that were read back from it.
    """

    kind: Kind
    sid: str
    message: Message
    headers: Mapping[str, str] = field(default_factory=dict)
    received_ns: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What happened to a key. `value` is None when it was deleted or its time to live ran out."""

    key: str
    value: bytes | None
    revision: int


class Subscription(Protocol):
    """Messages of one or more subjects, through one bounded ring of our own.

    Order is kept within a subject, not between subjects. REALTIME messages push out the oldest when the ring is full
    (counted in `halfbeat_dropped_total{reason="ring_full"}`); a CONTROL message that does not fit breaks the
    subscription: the iterator raises `Unavailable`. A malformed payload of a known kind is counted and breaks it with
    `InvalidRequest`; unknown kinds are ignored and counted.
    """

    def __aiter__(self) -> AsyncIterator[Delivery]: ...

    async def aclose(self) -> None:
        """Unsubscribes; the iterator ends after what the ring still holds."""


class KeyValue(Protocol):
    """A bucket. Values are bytes; revisions make updates safe."""

    async def get(self, key: str) -> tuple[bytes, int] | None:
        """Returns value and revision, or None."""

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> int:
        """Writes unconditionally; returns the revision."""

    async def create(self, key: str, value: bytes, *, ttl_s: float | None = None) -> int | None:
        """Writes only if the key does not exist; returns the revision, or None if it does."""

    async def update(self, key: str, value: bytes, revision: int, *, ttl_s: float | None = None) -> int | None:
        """Writes only if the revision is still this one, and renews the time to live; None if somebody was faster."""

    async def delete(self, key: str) -> None: ...

    async def keys(self) -> list[str]: ...

    def watch(self) -> AsyncIterator[KeyChange]:
        """Tells every key as it is now, then each change, expiry included, until cancelled or closed."""


class Bus(Protocol):
    """A connection to the bus."""

    @property
    def is_connected(self) -> bool: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    async def publish(self, kind: Kind, message: Message, *, headers: Mapping[str, str] | None = None) -> bool:
        """Publishes to `kind.of(message.stamp.sid)`; adds the current trace context to the headers unless REALTIME.

        REALTIME: returns False, counted, instead of waiting when disconnected or when the client's buffer is full.
        CONTROL: raises `Unavailable` when disconnected for longer than its grace of 2 s.
        """

    async def subscribe(self, subjects: Sequence[str], *, ring_messages: int = 256, queue: str = "") -> Subscription:
        """Returns once the server is known to route these subjects to us (two flushes: see docs/protocol.md)."""

    async def request(self, kind: Kind, message: Message, reply: type[M], *, timeout_s: float) -> M:
        """Asks one worker. Raises `Unavailable` at once without a responder, `TimedOut` after `timeout_s`."""

    async def serve(
        self, subject: str, handler: Callable[[Delivery], Awaitable[Message]], *, queue: str
    ) -> Subscription:
        """Answers requests, each in a task of its own; errors become the reply's `error` field where it has one."""

    def log(self, sid: str, *, follow: bool = False) -> AsyncIterator[Delivery]:
        """Reads a session's part of the stream TURNS from its start; `follow` waits for more until cancelled."""

    async def key_value(self, bucket: str, *, ttl_s: float | None = None) -> KeyValue:
        """Opens a bucket, creating it if need be and if that is our part."""

    async def publish_spans(self, sid: str, payload: bytes) -> None:
        """Hands OTLP-encoded spans to the stream TRACES; never waits, may drop."""

    def spans(self, sid: str, *, follow: bool = False) -> AsyncIterator[bytes]:
        """Reads a session's OTLP-encoded spans back (all sessions, live only, with sid "*")."""
