"""The bus within one process: the semantics of NATS without its timing, for fast and deterministic tests.

Several `MemoryBus` connections share one `MemoryBroker`, the way clients share a server.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self, TypeVar

from google.protobuf.message import Message

from halfbeat.bus import Delivery, KeyChange, KeyValue, Subscription
from halfbeat.bus.metrics import count_drop
from halfbeat.bus.subscription import MAX_AGE_MS, RingSubscription, Serving
from halfbeat.bus.wire import TIMEOUT_HEADER, Raw, decode, decode_reply, headers_for, raw_of, subject_of
from halfbeat.drop import DropReason
from halfbeat.errors import InvalidRequest, TimedOut, Unavailable
from halfbeat.subjects import TRACE_SPANS, Kind, Lane, parse

M = TypeVar("M", bound=Message)

GRACE_S = 2.0
MAX_PAYLOAD = 256 * 1024


def matches(pattern: str, subject: str) -> bool:
    """Whether a NATS pattern ("*" one token, ">" the rest) matches a subject."""
    wanted, given = pattern.split("."), subject.split(".")
    for i, token in enumerate(wanted):
        if token == ">":
            return len(given) > i
        if i >= len(given) or token not in ("*", given[i]):
            return False
    return len(wanted) == len(given)


@dataclass(eq=False)
class _Interest:
    pattern: str
    queue: str
    deliver: Callable[[str, bytes, Mapping[str, str], str], None]
    owner: object


@dataclass(frozen=True)
class _Stored:
    sequence: int
    subject: str
    payload: bytes
    headers: Mapping[str, str]


@dataclass
class _Entry:
    value: bytes
    revision: int
    expires_at: float | None


@dataclass
class MemoryBroker:
    """What the connections share.

    Attributes:
        clock: seconds, monotonic; decides when keys expire. With a clock of your own call `tick` after moving it.
    """

    clock: Callable[[], float] = time.monotonic
    _interests: list[_Interest] = field(default_factory=list)
    _turns: list[_Stored] = field(default_factory=list)
    _spans: list[_Stored] = field(default_factory=list)
    _grown: list[asyncio.Event] = field(default_factory=list)
    _buckets: dict[str, "_Bucket"] = field(default_factory=dict)
    _robin: "itertools.count[int]" = field(default_factory=itertools.count)
    _inboxes: "itertools.count[int]" = field(default_factory=itertools.count)

    def connect(self, name: str = "") -> "MemoryBus":
        """Returns a new connection; enter it to use it."""
        return MemoryBus(self, name=name)

    @property
    def interests(self) -> int:
        """How many subscriptions there are now, the counterpart of the server's own count."""
        return len(self._interests)

    def send(self, subject: str, payload: bytes, headers: Mapping[str, str], reply: str = "") -> bool:
        """Delivers one message; returns whether anybody was there."""
        parsed = parse(subject)
        if parsed is not None and parsed[0].is_logged:
            self._store(self._turns, subject, payload, headers)
        elif subject.startswith(TRACE_SPANS + "."):
            self._store(self._spans, subject, payload, headers)
        groups: dict[tuple[str, str], list[_Interest]] = {}
        found = [i for i in self._interests if matches(i.pattern, subject)]
        for interest in found:
            if interest.queue:
                groups.setdefault((interest.pattern, interest.queue), []).append(interest)
            else:
                interest.deliver(subject, payload, headers, reply)
        for members in groups.values():
            members[next(self._robin) % len(members)].deliver(subject, payload, headers, reply)
        return bool(found)

    def tick(self) -> None:
        """Expires keys now, so that their watchers hear of it."""
        for bucket in self._buckets.values():
            bucket.expire()

    def _store(self, stream: list[_Stored], subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        stream.append(_Stored(len(stream) + 1, subject, payload, headers))
        for event in self._grown:
            event.set()

    async def read(self, stream: list[_Stored], pattern: str, *, follow: bool) -> AsyncIterator[_Stored]:
        """Yields what a stream holds for a pattern at the time of calling, then waits for more if asked to."""
        event = asyncio.Event()
        self._grown.append(event)
        try:
            position, end = 0, len(stream)
            while True:
                while position < (len(stream) if follow else end):
                    stored = stream[position]
                    position += 1
                    if matches(pattern, stored.subject):
                        yield stored
                if not follow:
                    return
                event.clear()
                await event.wait()
        finally:
            self._grown.remove(event)


class MemoryBus:
    """One connection to a `MemoryBroker`; implements `halfbeat.bus.Bus`."""

    def __init__(self, broker: MemoryBroker, *, name: str = "") -> None:
        self._broker = broker
        self.name = name
        self.fatal_error: Exception | None = None
        self._is_entered = False
        self._connected = asyncio.Event()
        self._subscriptions: set[RingSubscription] = set()
        self._servings: set[Serving] = set()

    @property
    def is_connected(self) -> bool:
        """Whether messages get through now."""
        return self._is_entered and self._connected.is_set()

    def disconnect(self) -> None:
        """Cuts this connection, for tests of what happens then."""
        self._connected.clear()

    def reconnect(self) -> None:
        """Ends what `disconnect` began."""
        self._connected.set()

    async def __aenter__(self) -> Self:
        self._is_entered = True
        self._connected.set()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for serving in list(self._servings):
            await serving.aclose()
        for subscription in list(self._subscriptions):
            await subscription.aclose()
        self._is_entered = False

    async def publish(self, kind: Kind, message: Message, *, headers: Mapping[str, str] | None = None) -> bool:
        """See `Bus.publish`."""
        subject = subject_of(kind, message)
        payload = message.SerializeToString()
        if len(payload) > MAX_PAYLOAD:
            count_drop(kind, DropReason.TOO_LARGE)
            raise InvalidRequest(f"{kind.kind}.{kind.verb} of {len(payload)} bytes, the bus takes {MAX_PAYLOAD}")
        if kind.lane is Lane.REALTIME and not self.is_connected:
            count_drop(kind, DropReason.DISCONNECTED)
            return False
        await self._until_connected()
        self._broker.send(subject, payload, headers_for(kind, headers) or {})
        return True

    async def subscribe(
        self,
        subjects: Sequence[str],
        *,
        ring_messages: int = 256,
        queue: str = "",
        max_age_ms: float | None = MAX_AGE_MS,
    ) -> RingSubscription:
        """See `Bus.subscribe`."""
        subscription = RingSubscription(ring_messages, max_age_ms=max_age_ms, unsubscribe=self._unsubscribe)
        await self._listen(subjects, subscription, queue)
        return subscription

    async def request(self, kind: Kind, message: Message, reply: type[M], *, timeout_s: float) -> M:
        """See `Bus.request`."""
        subject = subject_of(kind, message)
        if not self.is_connected:
            raise Unavailable("not connected to the bus")
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def deliver(_: str, payload: bytes, __: Mapping[str, str], ___: str) -> None:
            if not answer.done():
                answer.set_result(payload)

        inbox = _Interest(f"_INBOX.{next(self._broker._inboxes)}", "", deliver, answer)
        self._broker._interests.append(inbox)
        headers = {**(headers_for(kind, None) or {}), TIMEOUT_HEADER: str(int(timeout_s * 1000))}
        try:
            if not self._broker.send(subject, message.SerializeToString(), headers, inbox.pattern):
                raise Unavailable(f"nobody answers {kind.kind}.{kind.verb}")
            async with asyncio.timeout(timeout_s):
                return decode_reply(await answer, reply)
        except TimeoutError:
            raise TimedOut(f"no answer to {kind.kind}.{kind.verb} within {timeout_s} s") from None
        finally:
            self._broker._interests.remove(inbox)

    async def serve(
        self, subject: str, handler: Callable[[Delivery], Awaitable[Message]], *, queue: str
    ) -> Subscription:
        """See `Bus.serve`."""
        subscription = RingSubscription(1024, unsubscribe=self._unsubscribe)
        await self._listen([subject], subscription, queue)
        serving = Serving(subscription, handler, self._respond, on_close=self._servings.discard)
        self._servings.add(serving)
        return serving

    async def log(self, sid: str, *, follow: bool = False) -> AsyncIterator[Delivery]:
        """See `Bus.log`."""
        async for stored in self._broker.read(self._broker._turns, f"hb.v1.*.*.{sid}", follow=follow):
            raw = raw_of(stored.subject, stored.payload, stored.headers, time.monotonic_ns(), "", stored.sequence)
            if raw is not None:
                yield decode(raw)

    async def key_value(self, bucket: str, *, ttl_s: float | None = None) -> KeyValue:
        """See `Bus.key_value`."""
        shared = self._broker._buckets.setdefault(bucket, _Bucket(self._broker.clock))
        return _MemoryKeyValue(self, shared, ttl_s)

    async def publish_spans(self, sid: str, payload: bytes) -> None:
        """See `Bus.publish_spans`."""
        if not self.is_connected:
            count_drop("trace.spans", DropReason.DISCONNECTED)
        elif len(payload) > MAX_PAYLOAD:
            count_drop("trace.spans", DropReason.TOO_LARGE)
        else:
            self._broker.send(f"{TRACE_SPANS}.{sid}", payload, {})

    async def spans(self, sid: str, *, follow: bool = False) -> AsyncIterator[bytes]:
        """See `Bus.spans`."""
        broker = self._broker
        skip = len(broker._spans) if sid == "*" else 0
        async for stored in broker.read(broker._spans, f"{TRACE_SPANS}.{sid}", follow=follow or sid == "*"):
            if stored.sequence > skip:
                yield stored.payload

    async def _listen(self, subjects: Sequence[str], subscription: RingSubscription, queue: str) -> None:
        await self._until_connected()

        def deliver(subject: str, payload: bytes, headers: Mapping[str, str], reply: str) -> None:
            if not self.is_connected:
                return
            raw = raw_of(subject, payload, headers, time.monotonic_ns(), reply)
            if raw is None:
                count_drop("unknown", DropReason.UNKNOWN_KIND)
            else:
                subscription.put(raw)

        for subject in subjects:
            self._broker._interests.append(_Interest(subject, queue, deliver, subscription))
        self._subscriptions.add(subscription)

    async def _unsubscribe(self, subscription: RingSubscription) -> None:
        self._subscriptions.discard(subscription)
        self._broker._interests[:] = [i for i in self._broker._interests if i.owner is not subscription]

    async def _respond(self, raw: Raw, payload: bytes) -> None:
        self._broker.send(raw.reply, payload, {})

    async def _until_connected(self) -> None:
        if not self._is_entered:
            raise Unavailable("the connection to the bus is closed")
        if not self._connected.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE_S):
                    await self._connected.wait()
        if not self.is_connected:
            raise Unavailable(f"not connected to the bus for {GRACE_S} s")


class _Bucket:
    """Keys of one bucket; expired ones are found when somebody looks, or by a timer while somebody watches."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.entries: dict[str, _Entry] = {}
        self.revision = 0
        self.watchers: list[asyncio.Queue[KeyChange]] = []

    def expire(self) -> None:
        now = self.clock()
        for key in [k for k, e in self.entries.items() if e.expires_at is not None and e.expires_at <= now]:
            self.remove(key)

    def write(self, key: str, value: bytes, ttl_s: float | None) -> int:
        self.revision += 1
        self.entries[key] = _Entry(value, self.revision, None if ttl_s is None else self.clock() + ttl_s)
        self._tell(KeyChange(key, value, self.revision))
        if ttl_s is not None and self.watchers:
            asyncio.get_running_loop().call_later(ttl_s, self.expire)
        return self.revision

    def remove(self, key: str) -> None:
        if self.entries.pop(key, None) is not None:
            self.revision += 1
            self._tell(KeyChange(key, None, self.revision))

    def _tell(self, change: KeyChange) -> None:
        for watcher in self.watchers:
            watcher.put_nowait(change)


class _MemoryKeyValue:
    """One connection's view of a bucket; implements `halfbeat.bus.KeyValue`."""

    def __init__(self, bus: MemoryBus, bucket: _Bucket, ttl_s: float | None) -> None:
        self._bus, self._bucket, self._ttl_s = bus, bucket, ttl_s

    async def _ready(self) -> None:
        await self._bus._until_connected()
        self._bucket.expire()

    async def get(self, key: str) -> tuple[bytes, int] | None:
        await self._ready()
        entry = self._bucket.entries.get(key)
        return None if entry is None else (entry.value, entry.revision)

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> int:
        await self._ready()
        return self._bucket.write(key, value, ttl_s or self._ttl_s)

    async def create(self, key: str, value: bytes, *, ttl_s: float | None = None) -> int | None:
        await self._ready()
        return None if key in self._bucket.entries else self._bucket.write(key, value, ttl_s or self._ttl_s)

    async def update(self, key: str, value: bytes, revision: int, *, ttl_s: float | None = None) -> int | None:
        await self._ready()
        entry = self._bucket.entries.get(key)
        if entry is None or entry.revision != revision:
            return None
        return self._bucket.write(key, value, ttl_s or self._ttl_s)

    async def delete(self, key: str) -> None:
        await self._ready()
        self._bucket.remove(key)

    async def keys(self) -> list[str]:
        await self._ready()
        return sorted(self._bucket.entries)

    async def watch(self) -> AsyncIterator[KeyChange]:
        await self._ready()
        watcher: asyncio.Queue[KeyChange] = asyncio.Queue()
        now = self._bucket.clock()
        for key, entry in sorted(self._bucket.entries.items(), key=lambda item: item[1].revision):
            watcher.put_nowait(KeyChange(key, entry.value, entry.revision))
            if entry.expires_at is not None:
                asyncio.get_running_loop().call_later(entry.expires_at - now, self._bucket.expire)
        self._bucket.watchers.append(watcher)
        try:
            while True:
                yield await watcher.get()
        finally:
            self._bucket.watchers.remove(watcher)
