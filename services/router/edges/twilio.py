"""/twilio/media: Twilio Media Streams over WebSocket. A thin shell around `MediaStream`."""

import asyncio
import base64
import hashlib
import hmac
import logging

from aiohttp import web

from halfbeat.errors import AtCapacity, Denied, HalfbeatError, InternalError, InvalidRequest, TimedOut, code_name
from services.router.edge import Calls, Ended, LiveCall
from services.router.edges.counters import BAD_INPUT, REFUSED
from services.router.edges.door import Door
from services.router.edges.settings import EdgeSettings
from services.router.edges.socket import EdgeSocket, close_on_shutdown, http_status
from services.router.edges.twilio_stream import FORMAT, Ignored, MediaStream, Opened, Stopped

log = logging.getLogger(__name__)
# Twilio's messages hold 20 ms, about 400 bytes; custom parameters make `start` longer.
MAX_MESSAGE_BYTES = 64 << 10
# Twilio has no error message: a stream that is mostly wrong is closed with the reason.
MAX_BAD_IN_A_ROW = 10


class TwilioEdge:
    """Serves Twilio Media Streams."""

    def __init__(self, calls: Calls, door: Door, settings: EdgeSettings) -> None:
        """Takes where calls come from, who may come in, and the limits."""
        self._calls, self._door, self._settings = calls, door, settings

    def add_routes(self, app: web.Application) -> None:
        """Adds /twilio/media."""
        app.router.add_get("/twilio/media", self.handle)
        close_on_shutdown(app)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Holds one stream from upgrade to close."""
        try:
            self._check(request)
            with self._door.admit("twilio"):
                socket = EdgeSocket(
                    request,
                    "twilio",
                    settings=self._settings,
                    max_message_bytes=MAX_MESSAGE_BYTES,
                    protocols=("audio.twilio.com",),
                )
                await socket.open()
                await _Connection(socket, self._calls, self._settings).run()
                return socket.response
        except (Denied, AtCapacity) as e:
            if isinstance(e, Denied):
                REFUSED.labels("twilio", "denied").inc()
            return web.Response(status=http_status(e), text=f"{e}\n")

    def _check(self, request: web.Request) -> None:
        """Lets Twilio in by its signature; without a token, whoever the door lets in."""
        token = self._settings.twilio_auth_token
        if token:
            url = self._settings.twilio_url or f"wss://{request.host}{request.path_qs}"
            if not hmac.compare_digest(signature(token, url), request.headers.get("X-Twilio-Signature", "")):
                raise Denied("the X-Twilio-Signature does not fit; check HALFBEAT_ROUTER_TWILIO_URL and the token")
            return
        self._door.check_browser(request.headers.get("Origin"), request.headers.get("Host"))
        if self._door.has_keys:
            raise Denied("set HALFBEAT_ROUTER_TWILIO_AUTH_TOKEN to accept calls of Twilio")


def signature(auth_token: str, url: str) -> str:
    """Twilio's signature of a request without form fields: base64 of the HMAC-SHA1 of the URL."""
    return base64.b64encode(hmac.new(auth_token.encode(), url.encode(), hashlib.sha1).digest()).decode()


class _Connection:
    def __init__(self, socket: EdgeSocket, calls: Calls, settings: EdgeSettings) -> None:
        self._socket, self._calls, self._settings = socket, calls, settings
        self._stream = MediaStream()
        self._call: LiveCall | None = None
        self._speaking: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serves until either end closes; hanging up is closing the socket."""
        error: HalfbeatError | None = None
        try:
            async with asyncio.timeout(self._settings.max_call_s):
                await self._listen()
        except HalfbeatError as e:
            error = e
        except TimeoutError:
            error = TimedOut("the call has reached its longest duration")
        finally:
            if self._call is not None:
                self._call.end("caller")
            if self._speaking is not None:
                self._speaking.cancel()
                await asyncio.gather(self._speaking, return_exceptions=True)
        await self._socket.close(error)

    async def _listen(self) -> None:
        bad_in_a_row = 0
        while (data := await self._socket.receive(None if self._call else self._settings.first_message_s)) is not None:
            try:
                outcome = self._stream.on_message(data)
            except HalfbeatError as e:
                BAD_INPUT.labels("twilio", code_name(e.code)).inc()
                bad_in_a_row += isinstance(e, InvalidRequest)
                if self._call is None or bad_in_a_row >= MAX_BAD_IN_A_ROW:
                    raise
                continue
            bad_in_a_row = 0
            match outcome:
                case Opened():
                    await self._open_call(outcome)
                case Stopped():
                    return
                case Ignored(reason=str() as reason):
                    BAD_INPUT.labels("twilio", reason).inc()
                case _:
                    pass

    async def _open_call(self, opened: Opened) -> None:
        self._call = await self._calls.open(opened.config, FORMAT, edge="twilio")
        self._stream.attach(self._call)
        self._speaking = asyncio.create_task(self._speak(self._call), name=f"twilio-{self._call.sid}")

    async def _speak(self, call: LiveCall) -> None:
        """Sends the agent's voice until the call ends, then hangs up."""
        try:
            async for event in call.events():
                await self._socket.send(self._stream.on_call(event))
                if isinstance(event, Ended):
                    self._call = None
                    await self._socket.close(event.error)
        except TimedOut as e:  # the socket is cut already, which ends `_listen` and so the call
            log.info("%s", e, extra={"sid": call.sid})
        except Exception:
            log.exception("the edge failed on this call", extra={"sid": call.sid})
            await self._socket.close(InternalError("the edge failed on this call"))
