"""A WebSocket whose every wait ends: the shell that Realtime and Twilio share."""

import asyncio
import json
import logging
import weakref
from collections.abc import Iterable
from typing import Any

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from halfbeat.errors import CODES, HalfbeatError, TimedOut, Unavailable
from halfbeat.v1 import common_pb2
from services.router.edges.counters import BAD_INPUT, STUCK
from services.router.edges.settings import EdgeSettings

log = logging.getLogger(__name__)
# RFC 6455: a close frame's payload holds 125 bytes, two of them the code.
MAX_REASON_BYTES = 123


OPEN: web.AppKey[weakref.WeakSet["EdgeSocket"]] = web.AppKey("open_sockets")


def close_on_shutdown(app: web.Application) -> None:
    """Makes a stopping server close its sockets at once, instead of waiting for clients that have no reason to go."""
    if OPEN in app:
        return
    sockets: weakref.WeakSet[EdgeSocket] = weakref.WeakSet()
    app[OPEN] = sockets

    async def close_all(_: web.Application) -> None:
        stopping = Unavailable("this router is stopping")
        await asyncio.gather(*(socket.close(stopping) for socket in list(sockets)))

    app.on_shutdown.append(close_all)


class EdgeSocket:
    """The server's end of one WebSocket.

    A peer that is gone is noticed by ping; one that does not read is cut off after `send_timeout_s`, so that it holds
    neither memory nor its call.
    """

    def __init__(
        self,
        request: web.Request,
        edge: str,
        *,
        settings: EdgeSettings,
        max_message_bytes: int,
        protocols: Iterable[str] = (),
    ) -> None:
        """Takes the request to upgrade; `open` does it."""
        self._request, self._edge, self._send_timeout_s = request, edge, settings.send_timeout_s
        self._ws = web.WebSocketResponse(
            max_msg_size=max_message_bytes,
            heartbeat=settings.heartbeat_s,
            timeout=2.0,
            protocols=protocols,
            compress=False,
        )

    @property
    def response(self) -> web.WebSocketResponse:
        """What the request's handler returns."""
        return self._ws

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._ws.closed

    async def open(self) -> None:
        """Upgrades the connection."""
        await self._ws.prepare(self._request)
        self._request.app[OPEN].add(self)

    async def receive(self, timeout_s: float | None = None) -> str | bytes | None:
        """Returns the next message; None when the socket is closed.

        Raises:
            TimedOut: nothing came within `timeout_s`.
        """
        while True:
            try:
                message: WSMessage = await self._ws.receive(timeout_s)
            except TimeoutError:
                raise TimedOut(f"nothing was sent for {timeout_s:.0f} s") from None
            if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
                data: str | bytes = message.data
                return data
            if message.type is WSMsgType.ERROR:
                too_large = getattr(message.data, "code", None) == WSCloseCode.MESSAGE_TOO_BIG
                BAD_INPUT.labels(self._edge, "message_too_big" if too_large else "broken_frame").inc()
                return None
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
                return None

    async def send(self, events: Iterable[dict[str, Any]]) -> None:
        """Sends JSON messages in order; nothing once the socket is closed.

        Raises:
            TimedOut: the client does not read; the connection is cut.
        """
        for event in events:
            if self._ws.closed:
                return
            try:
                async with asyncio.timeout(self._send_timeout_s):
                    await self._ws.send_str(json.dumps(event, separators=(",", ":")))
            except TimeoutError:
                STUCK.labels(self._edge).inc()
                self.abort()
                raise TimedOut(f"the client read nothing for {self._send_timeout_s:.0f} s") from None
            except ConnectionError:
                return

    async def close(self, error: common_pb2.Error | HalfbeatError | None = None) -> None:
        """Closes with the code and the text of the error, or as a normal end."""
        if isinstance(error, HalfbeatError):
            error = error.to_message()
        code = WSCloseCode.OK if error is None else WSCloseCode(close_code(error.code))
        reason = b"" if error is None else error.message.encode()[:MAX_REASON_BYTES]
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await self._ws.close(code=code, message=reason)
        except (TimeoutError, ConnectionError):
            self.abort()

    def abort(self) -> None:
        """Drops the connection without a word."""
        if (transport := self._request.transport) is not None:
            transport.abort()


def close_code(code: int) -> int:
    """WebSocket close code of an error."""
    return CODES.get(code, CODES[common_pb2.ERROR_CODE_INTERNAL]).websocket


def http_status(error: HalfbeatError) -> int:
    """HTTP status of an error."""
    return CODES[error.code].http
