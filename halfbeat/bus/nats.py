"""The bus on a NATS server; implements `halfbeat.bus.Bus`.

Core NATS carries the live call; JetStream captures what must outlive it, by subject, without slowing the live path.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Self, TypeVar

from google.protobuf.message import Message
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as ClientSubscription

from halfbeat.bus import Delivery, KeyValue, Subscription
from halfbeat.bus.client_options import user_of
from halfbeat.bus.connection import Connection
from halfbeat.bus.metrics import count_drop
from halfbeat.bus.nats_kv import open_bucket, view
from halfbeat.bus.streams import TRACES, TURNS, StreamState, ensure, read, state
from halfbeat.bus.subscription import MAX_AGE_MS, RingSubscription, Serving
from halfbeat.bus.wire import TIMEOUT_HEADER, Raw, decode, decode_reply, headers_for, raw_of, subject_of
from halfbeat.drop import DropReason
from halfbeat.errors import HalfbeatError, Unavailable
from halfbeat.settings import NatsSettings
from halfbeat.subjects import TRACE_SPANS, Kind, Lane, parse

M = TypeVar("M", bound=Message)
_SPANS_RING = 1024


class NatsBus:
    """One connection to NATS. Enter it to connect; leaving it finishes requests in flight, then disconnects."""

    def __init__(
        self,
        settings: NatsSettings,
        *,
        name: str = "halfbeat",
        on_fatal: Callable[[], None] | None = None,
        makes_storage: bool = True,
    ) -> None:
        """Connects nothing yet.

        Args:
            settings: where the server is and who we are.
            name: of this instance, shown in the server's `/connz`.
            on_fatal: told once when the connection must not be used any more (`fatal_error` says why): end the process.
            makes_storage: make streams and buckets that do not exist; in a deployment with users one service may.
        """
        self._settings, self._makes_storage = settings, makes_storage
        self._connection = Connection(settings, name=name, on_fatal=on_fatal)
        self._connection.on_fatal(self._break_all)
        self._listening: dict[RingSubscription, list[ClientSubscription]] = {}
        self._servings: set[Serving] = set()

    @property
    def is_connected(self) -> bool:
        """Whether messages get through now."""
        return self._connection.is_connected

    @property
    def fatal_error(self) -> HalfbeatError | None:
        """Why this bus is dead for good, e.g. `Denied` after a permission violation; None while it is not."""
        return self._connection.fatal_error

    @property
    def user(self) -> str:
        """Who we are at the server, "" when it was not told."""
        return user_of(self._settings)

    @property
    def server_version(self) -> str:
        """Of the server we are connected to."""
        return self._connection.server_version

    async def stream_state(self, stream: str) -> StreamState | None:
        """Returns how full a stream is (that of a bucket is called KV_<bucket>), None when there is none."""
        return await state(self._connection, stream)

    async def __aenter__(self) -> Self:
        await self._connection.open()
        if not self._makes_storage:
            return self
        try:
            replicas = self._settings.replicas
            await ensure(self._connection, replace(TURNS, max_age_s=self._settings.turns_max_age_s, replicas=replicas))
            await ensure(self._connection, replace(TRACES, replicas=replicas))
        except BaseException:
            await self._connection.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        # Subscriptions first, the connection last: the client's own drain would take the inbox of replies with it and
        # fail the requests in flight.
        try:
            await asyncio.gather(*(s.aclose() for s in list(self._servings)))
            await asyncio.gather(*(s.aclose() for s in list(self._listening)))
        finally:
            await self._connection.aclose()

    async def publish(self, kind: Kind, message: Message, *, headers: Mapping[str, str] | None = None) -> bool:
        """See `Bus.publish`."""
        subject = subject_of(kind, message)
        payload = message.SerializeToString()
        if kind.lane is Lane.REALTIME:
            reason = await self._connection.send_now(subject, payload, headers_for(kind, headers))
            if reason is not None:
                count_drop(kind, reason)
            return reason is None
        await self._connection.send(subject, payload, headers_for(kind, headers))
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
        headers = {**(headers_for(kind, None) or {}), TIMEOUT_HEADER: str(int(timeout_s * 1000))}
        answer = await self._connection.request(
            subject_of(kind, message), message.SerializeToString(), headers, timeout_s, f"{kind.kind}.{kind.verb}"
        )
        return decode_reply(answer.data, reply)

    async def serve(
        self, subject: str, handler: Callable[[Delivery], Awaitable[Message]], *, queue: str
    ) -> Subscription:
        """See `Bus.serve`.

        Not by `nats.micro`: its endpoint handlers run one at a time, its `stop()` kills requests in flight, and the
        text of an exception reaches the caller.
        """
        subscription = RingSubscription(1024, unsubscribe=self._unsubscribe)
        await self._listen([subject], subscription, queue)
        serving = Serving(subscription, handler, self._respond, on_close=self._servings.discard)
        self._servings.add(serving)
        return serving

    async def log(self, sid: str, *, follow: bool = False) -> AsyncIterator[Delivery]:
        """See `Bus.log`."""
        async for stored in read(self._connection, TURNS.name, f"hb.v1.*.*.{sid}", follow=follow):
            message = stored.message
            raw = raw_of(message.subject, message.data, message.headers, time.monotonic_ns(), sequence=stored.sequence)
            if raw is not None:
                yield decode(raw)

    async def key_value(self, bucket: str, *, ttl_s: float | None = None) -> KeyValue:
        """See `Bus.key_value`."""
        if not self._makes_storage:
            return view(self._connection, bucket, ttl_s=ttl_s)
        return await open_bucket(self._connection, bucket, ttl_s=ttl_s, replicas=self._settings.replicas)

    async def publish_spans(self, sid: str, payload: bytes) -> None:
        """See `Bus.publish_spans`."""
        reason = await self._connection.send_now(f"{TRACE_SPANS}.{sid}", payload)
        if reason is not None:
            count_drop("trace.spans", reason)

    async def spans(self, sid: str, *, follow: bool = False) -> AsyncIterator[bytes]:
        """See `Bus.spans`."""
        if sid != "*":
            async for stored in read(self._connection, TRACES.name, f"{TRACE_SPANS}.{sid}", follow=follow):
                yield stored.message.data
            return
        arrived: asyncio.Queue[bytes] = asyncio.Queue(_SPANS_RING)

        async def on_message(message: Msg) -> None:
            if arrived.full():
                arrived.get_nowait()
                count_drop("trace.spans", DropReason.RING_FULL)
            arrived.put_nowait(message.data)

        listening = await self._connection.listen(f"{TRACE_SPANS}.*", on_message)
        try:
            await self._connection.barrier()
            while True:
                yield await arrived.get()
        finally:
            await self._connection.unlisten(listening)

    async def _listen(self, subjects: Sequence[str], subscription: RingSubscription, queue: str) -> None:
        async def on_message(message: Msg) -> None:
            # Only moved on: decoding is for the consumer, which may never want it.
            raw = raw_of(message.subject, message.data, message.headers, time.monotonic_ns(), message.reply)
            if raw is None:
                count_drop("unknown", DropReason.UNKNOWN_KIND)
            else:
                subscription.put(raw)

        def on_overflow(subject: str) -> None:
            # A full queue of the client drops the newest message; ours, which drops the oldest, never saw it.
            parsed = parse(subject)
            count_drop(parsed[0] if parsed else "unknown", DropReason.RING_FULL)
            if parsed is not None and parsed[0].lane is Lane.CONTROL:
                subscription.break_(Unavailable("the NATS client dropped messages: this process does not keep up"))

        listening = self._listening[subscription] = []
        try:
            for subject in subjects:
                listening.append(
                    await self._connection.listen(subject, on_message, queue=queue, on_overflow=on_overflow)
                )
            await self._connection.barrier()
        except BaseException:
            await subscription.aclose()
            raise

    async def _unsubscribe(self, subscription: RingSubscription) -> None:
        listening = self._listening.pop(subscription, [])
        await asyncio.gather(*(self._connection.unlisten(one) for one in listening))

    async def _respond(self, raw: Raw, payload: bytes) -> None:
        await self._connection.send(raw.reply, payload)

    def _break_all(self, error: HalfbeatError) -> None:
        for subscription in list(self._listening):
            subscription.break_(error)
