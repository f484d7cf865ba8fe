"""What outlives the live call: the JetStream streams, how they are made and how they are read.

Core publishes are captured by subject; nobody publishes to a stream on the live path.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import nats.js.errors
from nats.aio.msg import Msg
from nats.js import api

from halfbeat.bus.connection import Connection
from halfbeat.errors import HalfbeatError, InvalidRequest, Unavailable
from halfbeat.subjects import KINDS, TRACE_SPANS

log = logging.getLogger(__name__)

DAY_S = 24 * 3600.0
_API_S = 5.0
_BATCH = 256
_HEARTBEAT_S = 2.0
_EXPIRES_S = 30.0
_NAME_IN_USE = 10058


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """One stream as we want it.

    Attributes:
        name: of the stream.
        subjects: what it captures.
        max_age_s: after which a message is discarded.
        max_bytes: above which the oldest messages are discarded.
        replicas: copies in a cluster.
    """

    name: str
    subjects: tuple[str, ...]
    max_age_s: float
    max_bytes: int
    replicas: int = 1

    def config(self) -> api.StreamConfig:
        """Returns it in the client's terms."""
        return api.StreamConfig(
            name=self.name,
            subjects=list(self.subjects),
            max_age=self.max_age_s,
            max_bytes=self.max_bytes,
            num_replicas=self.replicas,
            storage=api.StorageType.FILE,
            discard=api.DiscardPolicy.OLD,
            allow_direct=True,
        )


TURNS = StreamPlan("TURNS", tuple(k.all for k in KINDS if k.is_logged), 7 * DAY_S, 512 * 1024 * 1024)
TRACES = StreamPlan("TRACES", (f"{TRACE_SPANS}.*",), DAY_S, 128 * 1024 * 1024)


async def ensure(connection: Connection, plan: StreamPlan) -> None:
    """Makes the stream, or adds to an existing one the subjects that it lacks.

    Subjects are only ever added, so that during an upgrade an older service takes nothing away from a newer one; limits
    that an operator has set on an existing stream stay.

    Raises:
        InvalidRequest: a stream of this name exists and cannot be used for this.
        Unavailable: the server has no JetStream.
    """
    try:
        await connection.ask(connection.js.add_stream(plan.config()), timeout_s=_API_S, what=f"stream {plan.name}")
        return
    except HalfbeatError as e:
        cause = e.__cause__
        if not (isinstance(cause, nats.js.errors.APIError) and cause.err_code == _NAME_IN_USE):
            raise
    info = await connection.ask(connection.js.stream_info(plan.name), timeout_s=_API_S, what=f"stream {plan.name}")
    have = info.config.subjects or []
    lacking = [s for s in plan.subjects if s not in have]
    if not lacking:
        return
    wanted = info.config.evolve(subjects=[*have, *lacking])
    try:
        await connection.ask(connection.js.update_stream(wanted), timeout_s=_API_S, what=f"stream {plan.name}")
    except InvalidRequest as e:
        raise InvalidRequest(
            f"the stream {plan.name} on this server is not ours or too old: {e}; remove it with "
            f"`nats stream rm {plan.name}` or use another server"
        ) from e


async def last_sequence(connection: Connection, stream: str) -> int:
    """Returns the position of the newest message of a stream."""
    info = await connection.ask(connection.js.stream_info(stream), timeout_s=_API_S, what=f"stream {stream}")
    return int(info.state.last_seq)


@dataclass(frozen=True, slots=True)
class StreamState:
    """How full a stream is.

    Attributes:
        messages: in it now.
        size_bytes: what they take.
        max_bytes: above which the oldest go, or, in a bucket, nothing more is taken.
        replicas: copies that are wanted.
        followers: copies beside the leader's that are up to date.
    """

    messages: int
    size_bytes: int
    max_bytes: int
    replicas: int
    followers: int


async def state(connection: Connection, stream: str) -> StreamState | None:
    """Returns how full a stream is, None when there is none of that name.

    Raises:
        HalfbeatError: the server does not tell.
    """
    try:
        info = await connection.ask(connection.js.stream_info(stream), timeout_s=_API_S, what=f"stream {stream}")
    except HalfbeatError as e:
        if isinstance(e.__cause__, nats.js.errors.NotFoundError):
            return None
        raise
    replicas = (info.cluster.replicas or []) if info.cluster else []
    return StreamState(
        info.state.messages,
        info.state.bytes,
        info.config.max_bytes or -1,
        info.config.num_replicas or 1,
        sum(1 for replica in replicas if replica.current),
    )


@dataclass(frozen=True, slots=True)
class Stored:
    """A message read from a stream."""

    message: Msg
    sequence: int


async def read(
    connection: Connection, stream: str, subject: str, *, follow: bool, is_latest_only: bool = False
) -> AsyncIterator[Stored]:
    """Reads a stream's messages of one subject or pattern, in order and without gaps.

    Messages are pulled in batches as they are consumed, so a slow reader is not overrun. A gap in the consumer's own
    numbering, a lost connection or a consumer that the server forgot leads to a new consumer behind the last message.

    Args:
        connection: open connection.
        stream: name of the stream.
        subject: subject or pattern.
        follow: wait for more, through reconnects, until closed; else stop at what was the last message on calling.
        is_latest_only: begin with the newest message of each subject instead of the first.
    """
    end = None if follow else await last_sequence(connection, stream)
    last, is_first = 0, True
    while True:
        reader = _Reader(connection, stream, subject)
        try:
            waiting = await reader.open(last, is_latest_only and is_first)
            is_first = False
            if waiting == 0 and not follow:
                return
            async for stored, left in reader.messages():
                if end is not None and stored.sequence > end:
                    return
                last = stored.sequence
                yield stored
                if end is not None and (last >= end or left == 0):
                    return
        except _Gap as e:
            log.info("reading %s again after %d: %s", stream, last, e)
        except Unavailable:
            if not follow or connection.fatal_error is not None:
                raise
            await asyncio.sleep(0.1)
            await connection.until_connected()
        finally:
            await reader.aclose()


class _Gap(Exception):
    """The consumer cannot be trusted to have delivered everything; make a new one."""


class _Reader:
    """One ephemeral consumer and the inbox it delivers to."""

    def __init__(self, connection: Connection, stream: str, subject: str) -> None:
        self._connection, self._stream, self._subject = connection, stream, subject
        # Bounded by the size of a pull: the server sends no more than was asked for.
        self._arrived: asyncio.Queue[Msg] = asyncio.Queue()
        self._name = ""

    async def open(self, after: int, is_latest_only: bool) -> int:
        """Makes the consumer; returns how many messages it has to deliver."""
        if after:
            policy, start = api.DeliverPolicy.BY_START_SEQUENCE, after + 1
        else:
            policy = api.DeliverPolicy.LAST_PER_SUBJECT if is_latest_only else api.DeliverPolicy.ALL
            start = None
        config = api.ConsumerConfig(
            filter_subject=self._subject,
            deliver_policy=policy,
            opt_start_seq=start,
            ack_policy=api.AckPolicy.NONE,
            inactive_threshold=_EXPIRES_S * 2,
            mem_storage=True,
            num_replicas=1,
        )
        connection, what = self._connection, f"reading {self._stream}"
        self._inbox = connection.new_inbox()
        self._listening = await connection.listen(self._inbox, self._arrived.put)
        info = await connection.ask(connection.js.add_consumer(self._stream, config), timeout_s=_API_S, what=what)
        self._name = info.name
        return int(info.num_pending or 0)

    async def messages(self) -> AsyncIterator[tuple[Stored, int]]:
        """Yields messages, each with how many are left in the stream behind it."""
        expected, asked = 1, 0
        while True:
            if asked == 0:
                await self._pull()
                asked = _BATCH
            try:
                async with asyncio.timeout(_HEARTBEAT_S * 2):
                    message = await self._arrived.get()
            except TimeoutError:
                raise _Gap("no heartbeat") from None
            status = (message.headers or {}).get(api.Header.STATUS.value) if not message.data else None
            if status == "100":
                delivered = int((message.headers or {}).get(api.Header.LAST_CONSUMER.value, 0))
                if delivered >= expected:
                    raise _Gap(f"{delivered} delivered, {expected - 1} arrived")
                continue
            if status in ("404", "408"):
                asked = 0
                continue
            if status is not None:
                raise _Gap(f"status {status}")
            sequence = message.metadata.sequence
            if sequence.consumer != expected:
                raise _Gap(f"message {sequence.consumer} after {expected - 1}")
            expected += 1
            asked -= 1
            yield Stored(message, sequence.stream), message.metadata.num_pending

    async def _pull(self) -> None:
        request = {"batch": _BATCH, "expires": int(_EXPIRES_S * 1e9), "idle_heartbeat": int(_HEARTBEAT_S * 1e9)}
        subject = f"{self._connection.api}.CONSUMER.MSG.NEXT.{self._stream}.{self._name}"
        await self._connection.send(subject, json.dumps(request).encode(), reply=self._inbox)

    async def aclose(self) -> None:
        if hasattr(self, "_listening"):
            await self._connection.unlisten(self._listening)
        if self._name:
            with suppress(HalfbeatError):
                await self._connection.ask(
                    self._connection.js.delete_consumer(self._stream, self._name), timeout_s=_API_S, what="clean-up"
                )
