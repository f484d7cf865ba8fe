"""One connection to NATS, with a guard for each surprise of the client and the server.

docs/protocol.md lists the surprises ("What the client and the server really do") and the test of each guard.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as ClientSubscription
from nats.js import JetStreamContext

from halfbeat.bus.client_errors import checked, to_halfbeat
from halfbeat.bus.client_options import client_options
from halfbeat.bus.metrics import RECONNECTS
from halfbeat.drop import DropReason
from halfbeat.errors import Denied, HalfbeatError, InvalidRequest, TimedOut, Unavailable
from halfbeat.settings import NatsSettings

log = logging.getLogger(__name__)
T = TypeVar("T")

CONNECT_S = 10.0
# How long a control message waits for a connection that is down.
GRACE_S = 2.0
# A subscription is routed within milliseconds; a server that takes longer is ill.
BARRIER_S = 2.0
CLOSE_S = 2.0
# Real-time data waits in the client's buffer for the server no longer than this, and no more than this: what is sent
# later arrives as a stale burst.
STALL_NS = 250_000_000
REALTIME_PENDING_BYTES = 512 * 1024
# The kernel would let a socket grow to megabytes, minutes of one call's audio, before the client's buffer fills at all.
SEND_BUFFER_BYTES = 128 * 1024
# Below the client's own limit of 2 MiB, at which its publish() blocks and swallows cancellation.
CONTROL_PENDING_BYTES = 1024 * 1024
# The callback only moves messages on, so this many wait only within one read of the socket. The default of 512k would
# be hours of audio, and a full client queue drops the newest.
CLIENT_QUEUE_MESSAGES = 2048
# "NATS/1.0\r\n" and the empty line; the server counts headers into max_payload, the client does not.
_HEADER_FRAME = 12


class Connection:
    """A NATS client that reconnects for ever, says at once when it cannot deliver, and ends on a lack of permission."""

    def __init__(self, settings: NatsSettings, *, name: str, on_fatal: Callable[[], None] | None = None) -> None:
        """Connects nothing yet.

        Args:
            settings: where the server is and who we are.
            name: of this instance, shown in the server's `/connz`.
            on_fatal: told once when the connection must not be used any more; see `fatal_error`.
        """
        self._settings, self._name = settings, name
        self._on_fatal = on_fatal
        self._client = Client()
        domain = settings.jetstream_domain
        #: What the subjects of JetStream's API begin with.
        self.api = f"$JS.{domain}.API" if domain else "$JS.API"
        # A server that passes on what is said to its leaf node takes keys of its buckets under its domain alone.
        self.keys = f"{self.api}.$KV" if domain else "$KV"
        self.js: JetStreamContext = self._client.jetstream(timeout=5, prefix=self.api)
        self.fatal_error: HalfbeatError | None = None
        self._fatal = asyncio.Event()
        self._connected = asyncio.Event()
        self._lost: asyncio.Future[None] | None = None
        self._overflows: dict[ClientSubscription, Callable[[str], None]] = {}
        self._fatal_callbacks: list[Callable[[HalfbeatError], None]] = []
        self._background: set[asyncio.Task[Any]] = set()
        # The client's buffer, if real-time data last found something in it, and when it was first found so.
        self._buffer: list[bytes] | None = None
        self._buffer_ns = 0
        self._is_closing = False

    @property
    def is_connected(self) -> bool:
        """Whether what is published now goes out now."""
        return self._connected.is_set() and self._client.is_connected and not self._client.is_draining

    @property
    def server_version(self) -> str:
        """Of the server we are connected to."""
        version = self._client.connected_server_version
        return f"{version.major}.{version.minor}.{version.patch}"

    @property
    def max_payload(self) -> int:
        """Largest message the server takes, in bytes, headers included."""
        return int(self._client.max_payload)

    def on_fatal(self, callback: Callable[[HalfbeatError], None]) -> None:
        """Has `callback` told of the fatal error, when there is one."""
        self._fatal_callbacks.append(callback)

    async def open(self) -> None:
        """Connects.

        Raises:
            Unavailable: no server answered in time.
            Denied: the server refuses our credentials.
            InvalidRequest: a file that the settings name cannot be read.
        """
        settings = self._settings
        options = client_options(settings, self._name) | {
            "error_cb": self._on_error,
            "disconnected_cb": self._on_disconnected,
            "reconnected_cb": self._on_reconnected,
            "closed_cb": self._on_closed,
        }
        # With endless reconnects connect() itself never gives up, and it repeats even a refusal.
        connecting = asyncio.create_task(self._client.connect(**options), name="nats-connect")
        refused = asyncio.create_task(self._fatal.wait())
        try:
            await asyncio.wait({connecting, refused}, timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done() and self.fatal_error is None:
                connecting.result()
                self._bound_socket()
                self._lost = asyncio.get_running_loop().create_future()
                self._connected.set()
                return
        except nats.errors.Error as e:
            raise Unavailable(f"cannot connect to NATS at {settings.shown_url}: {e}") from e
        finally:
            refused.cancel()
            if not self._connected.is_set():
                connecting.cancel()
                await asyncio.gather(connecting, refused, return_exceptions=True)
                await self._client.close()
        if self.fatal_error is not None:
            raise self.fatal_error
        raise Unavailable(f"no NATS server at {settings.shown_url} within {CONNECT_S:.0f} s")

    async def aclose(self) -> None:
        """Closes the connection, after what was published has gone out."""
        self._is_closing = True
        if self.is_connected:
            with suppress(HalfbeatError):
                await self._flush()
        # In a task of its own: close() swallows cancellation, and waits for a server that does not read.
        closing = asyncio.create_task(self._client.close(), name="nats-close")
        await asyncio.wait({closing}, timeout=CLOSE_S)
        self._connected.clear()
        if not closing.done():
            self._abort()
        left = {closing, *self._background}
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=1.0)

    def _abort(self) -> None:
        """Cuts the socket of a server that does not read, and ends what the client's close() then leaves behind."""
        writer = self._writer
        if writer is not None:
            writer.transport.abort()
        for subscription in self._client._subs.values():
            subscription._stop_processing()

    @property
    def _writer(self) -> asyncio.StreamWriter | None:
        return getattr(self._client._transport, "_io_writer", None)  # a WebSocket transport has none

    def _bound_socket(self) -> None:
        if self._writer is not None:
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    async def until_connected(self) -> None:
        """Waits for the connection, no longer than the grace.

        Raises:
            Unavailable: it is still down, or closed.
        """
        self._raise_fatal()
        if not self.is_connected:
            if self._is_closing:
                raise Unavailable("the connection to NATS is closed")
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE_S):
                    await self._connected.wait()
            self._raise_fatal()
            if not self.is_connected:
                raise Unavailable(f"not connected to NATS for {GRACE_S:.0f} s")

    async def send_now(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> DropReason | None:
        """Publishes real-time data, or says why it was dropped; never waits.

        The client would keep what is published while it is disconnected and send it later.
        """
        self._raise_fatal()
        if not self.is_connected:
            return DropReason.DISCONNECTED
        if self._size(payload, headers) > self.max_payload:
            return DropReason.TOO_LARGE
        pending = self._client.pending_data_size
        if self._is_stalled() or pending + len(payload) > REALTIME_PENDING_BYTES:
            return DropReason.BUFFER_FULL
        await self._send(subject, payload, headers)
        return None

    def _is_stalled(self) -> bool:
        """Whether nothing of what waits in the client's buffer has gone out for too long."""
        # The client hands the whole list to the socket and begins a new one, so the same list means that none went out.
        buffer = self._client._pending
        if buffer and buffer is self._buffer:
            return time.monotonic_ns() - self._buffer_ns > STALL_NS
        self._buffer, self._buffer_ns = buffer or None, time.monotonic_ns()
        return False

    async def send(
        self, subject: str, payload: bytes, headers: dict[str, str] | None = None, *, reply: str = ""
    ) -> None:
        """Publishes a control message; returns when it is on its way to the server, not when it is there.

        Raises:
            Unavailable: disconnected, or the server does not read, for longer than the grace.
            InvalidRequest: larger than the server takes.
        """
        await self.until_connected()
        size = self._size(payload, headers)
        if size > self.max_payload:
            raise InvalidRequest(f"message of {size} bytes, the server takes {self.max_payload}")
        deadline = time.monotonic() + GRACE_S
        while self._client.pending_data_size + size > CONTROL_PENDING_BYTES:
            if time.monotonic() > deadline:
                raise Unavailable(f"the NATS server has not read for {GRACE_S:.0f} s")
            await asyncio.sleep(0.005)  # the client tells nobody when its buffer has room
        await self._send(subject, payload, headers, reply)

    async def _send(self, subject: str, payload: bytes, headers: dict[str, str] | None, reply: str = "") -> None:
        try:
            await checked(self._client.publish(subject, payload, reply=reply, headers=headers))
        except (nats.errors.Error, OSError) as e:
            raise to_halfbeat(e, f"publishing to {subject}") from e

    async def request(self, subject: str, payload: bytes, headers: dict[str, str], timeout_s: float, what: str) -> Msg:
        """Asks one responder; raises `Unavailable` at once when there is none or the connection is down."""
        size = self._size(payload, headers)
        if size > self.max_payload:
            raise InvalidRequest(f"{what} of {size} bytes, the server takes {self.max_payload}")
        asking = self._client.request(subject, payload, timeout=timeout_s, headers=headers)
        return await self.ask(asking, timeout_s=timeout_s + 0.25, what=what)

    async def ask(
        self, asking: Coroutine[Any, Any, T], *, timeout_s: float, what: str, is_cancellable: bool = True
    ) -> T:
        """Awaits an answer of the server; fails at once when the connection is down or goes down meanwhile.

        It runs in a task of its own, so that no cancellation of ours is swallowed by it.

        Args:
            asking: the client's coroutine; closed unawaited when the connection is down.
            timeout_s: how long to wait.
            what: for the error's text.
            is_cancellable: False leaves it running when we stop waiting.
        """
        if self.fatal_error is not None or not self.is_connected or self._lost is None:
            asking.close()
            self._raise_fatal()
            raise Unavailable(f"not connected to NATS ({what})")
        task = asyncio.create_task(asking, name=f"nats-{what}")
        self._background.add(task)
        task.add_done_callback(self._retrieve)
        lost = self._lost
        either: set[asyncio.Future[Any]] = {task, lost}
        try:
            await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        except (nats.errors.Error, OSError, TimeoutError) as e:
            self._raise_fatal()
            raise to_halfbeat(e, what) from e
        finally:
            if is_cancellable:
                task.cancel()
        self._raise_fatal()
        if lost.done():
            raise Unavailable(f"connection to NATS lost ({what})")
        raise TimedOut(f"no answer within {timeout_s:.1f} s ({what})")

    async def listen(
        self,
        subject: str,
        callback: Callable[[Msg], Awaitable[None]],
        *,
        queue: str = "",
        on_overflow: Callable[[str], None] | None = None,
    ) -> ClientSubscription:
        """Subscribes; call `barrier` before telling anybody.

        Callbacks, because the client's iterator and next_msg start a task per message.

        Args:
            subject: or pattern.
            callback: moves the message on, without waiting.
            queue: queue group.
            on_overflow: told the subject when the client itself dropped a message of this subscription.
        """
        await self.until_connected()
        try:
            subscription = await self._client.subscribe(
                subject, queue=queue, cb=callback, pending_msgs_limit=CLIENT_QUEUE_MESSAGES
            )
        except nats.errors.Error as e:
            raise to_halfbeat(e, f"subscribing to {subject}") from e
        if on_overflow is not None:
            self._overflows[subscription] = on_overflow
        return subscription

    def new_inbox(self) -> str:
        """Returns a subject for replies to us alone."""
        return str(self._client.new_inbox())

    async def barrier(self) -> None:
        """Returns when the server knows every subscription made so far.

        One flush is no barrier: its PING goes straight to the socket and overtakes the SUB in the client's buffer. When
        the first PONG is back the SUB has left, so the second PONG comes after it. Of 400 first messages 46 were lost
        with no flush, 6 with one, 0 with two.
        """
        await self._flush()
        await self._flush()

    async def _flush(self) -> None:
        # Never cancelled: the client takes the PONG of a cancelled flush for an error and stops reading for good.
        await self.ask(self._client.flush(timeout=60), timeout_s=BARRIER_S, what="flush", is_cancellable=False)

    async def unlisten(self, subscription: ClientSubscription) -> None:
        """Unsubscribes; what the server has sent until then still reaches the callback."""
        self._overflows.pop(subscription, None)
        with suppress(HalfbeatError, nats.errors.Error):
            if self.is_connected:
                # UNSUB waits in the client's buffer as SUB does. The client's own drain() flushes once, the PING
                # overtakes it, and what comes in between is thrown away: of 39840 requests to a queue group 1294.
                await checked(self._client._send_unsubscribe(subscription._id))
                await self.barrier()
                while subscription.pending_msgs:  # noqa: ASYNC110 (its callback moves them on without waiting)
                    await asyncio.sleep(0)
        with suppress(nats.errors.Error):
            await checked(subscription.unsubscribe())

    @staticmethod
    def _size(payload: bytes, headers: Mapping[str, str] | None) -> int:
        if not headers:
            return len(payload)
        return len(payload) + _HEADER_FRAME + sum(len(k) + len(v) + 4 for k, v in headers.items())

    def _retrieve(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            task.exception()

    def _raise_fatal(self) -> None:
        if self.fatal_error is not None:
            raise self.fatal_error

    async def _on_error(self, error: Exception) -> None:
        text = str(error).lower()
        if isinstance(error, nats.errors.SlowConsumerError):
            overflow = self._overflows.get(error.sub)
            if overflow is not None:
                overflow(error.subject)
        elif "permissions violation" in text:
            # Nothing else would tell: the subscription is silently dead, the publish silently lost.
            self._fail(Denied(f"NATS refuses {self._name}: {error}"))
        elif "authorization violation" in text or isinstance(error, nats.errors.AuthorizationError):
            self._fail(Denied(f"NATS refuses the credentials of {self._name} at {self._settings.shown_url}"))
        elif self._connected.is_set():
            log.warning("NATS: %s", str(error) or type(error).__name__)
        else:
            log.debug("NATS: %s", str(error) or type(error).__name__)

    def _fail(self, error: HalfbeatError) -> None:
        if self.fatal_error is not None or self._is_closing:
            return
        log.error("%s", error)
        self.fatal_error = error
        self._fatal.set()
        self._lose()
        for callback in self._fatal_callbacks:
            callback(error)
        if self._on_fatal is not None:
            self._on_fatal()

    def _lose(self) -> None:
        self._connected.clear()
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)

    async def _on_disconnected(self) -> None:
        if self._connected.is_set() and not self._is_closing:
            log.warning("disconnected from NATS")
        self._lose()

    async def _on_reconnected(self) -> None:
        if self.fatal_error is not None:
            return
        RECONNECTS.inc()
        log.info("connected to NATS again")
        self._bound_socket()
        self._lost = asyncio.get_running_loop().create_future()
        self._buffer = None
        self._connected.set()

    async def _on_closed(self) -> None:
        if not self._is_closing and self._lost is not None:
            self._fail(Unavailable("the NATS client closed the connection"))
