"""/v1/realtime: the OpenAI Realtime API over WebSocket, server side. A thin shell around `RealtimeSession`."""

import asyncio
import json
import logging
import time

from aiohttp import web

from halfbeat.errors import AtCapacity, Denied, HalfbeatError, InternalError, TimedOut
from services.router.edge import Calls, Ended, LiveCall
from services.router.edges.counters import BAD_INPUT, REFUSED
from services.router.edges.door import Door, bearer
from services.router.edges.realtime_events import BadEvent, Event, error_event, new_id
from services.router.edges.realtime_session import RealtimeSession
from services.router.edges.realtime_settings import RealtimeSettings
from services.router.edges.settings import EdgeSettings
from services.router.edges.socket import EdgeSocket, close_on_shutdown, http_status

log = logging.getLogger(__name__)
# 10 s of 24 kHz PCM in base64, and room for instructions. What is larger but fits MAX_FRAME gets an error event.
MAX_MESSAGE_BYTES = 1 << 20
MAX_FRAME_BYTES = 16 << 20
DEFAULT_MODEL = "halfbeat"
_KEY_PROTOCOL = "openai-insecure-api-key."
_BETA_PROTOCOL = "openai-beta.realtime-v1"


class RealtimeEdge:
    """Serves the Realtime API."""

    def __init__(self, calls: Calls, door: Door, settings: EdgeSettings) -> None:
        """Takes where calls come from, who may come in, and the limits."""
        self._calls, self._door, self._settings = calls, door, settings

    def add_routes(self, app: web.Application) -> None:
        """Adds /v1/realtime."""
        app.router.add_get("/v1/realtime", self.handle)
        close_on_shutdown(app)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Holds one connection from upgrade to close."""
        protocols = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        key = bearer(request.headers.get("Authorization", ""))
        key = key or next((p.removeprefix(_KEY_PROTOCOL) for p in protocols if p.startswith(_KEY_PROTOCOL)), "")
        try:
            self._door.check_key(key)
            self._door.check_browser(request.headers.get("Origin"), request.headers.get("Host"))
            with self._door.admit("realtime"):
                is_beta = "realtime=v1" in request.headers.get("OpenAI-Beta", "") or _BETA_PROTOCOL in protocols
                return await self._hold(request, is_beta)
        except (Denied, AtCapacity) as e:
            if isinstance(e, Denied):
                REFUSED.labels("realtime", "denied").inc()
            return web.json_response(error_event(e, None), status=http_status(e))

    async def _hold(self, request: web.Request, is_beta: bool) -> web.StreamResponse:
        socket = EdgeSocket(
            request,
            "realtime",
            settings=self._settings,
            max_message_bytes=MAX_FRAME_BYTES,
            protocols=("realtime",),
        )
        attributes = {"edge": "realtime"}
        if caller := request.query.get("caller", ""):
            attributes["caller_number"] = caller[:64]
        session = RealtimeSession(
            RealtimeSettings(model=request.query.get("model", DEFAULT_MODEL)[:128]),
            session_id=new_id("sess"),
            expires_at=int(time.time() + self._settings.max_call_s),
            is_beta=is_beta,
            attributes=attributes,
        )
        await socket.open()
        connection = _Connection(socket, session, self._calls, self._settings)
        await connection.run()
        return socket.response


class _Connection:
    def __init__(self, socket: EdgeSocket, session: RealtimeSession, calls: Calls, settings: EdgeSettings) -> None:
        self._socket, self._session, self._calls, self._settings = socket, session, calls, settings
        self._call: LiveCall | None = None
        self._speaking: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serves until either end closes."""
        error: HalfbeatError | None = None
        try:
            async with asyncio.timeout(self._settings.max_call_s):
                await self._socket.send(self._session.on_connect())
                await self._listen()
        except HalfbeatError as e:
            error = e
        except TimeoutError:
            error = TimedOut("the session has reached its longest duration")
        finally:
            if self._call is not None:
                self._call.end("caller")
            if self._speaking is not None:
                self._speaking.cancel()
                await asyncio.gather(self._speaking, return_exceptions=True)
        if error is not None and not self._socket.is_closed:
            await self._say_last(error)
        await self._socket.close(error)

    async def _say_last(self, error: HalfbeatError) -> None:
        try:
            await self._socket.send(self._session.on_error(error_event(error, None)))
        except TimedOut:
            log.info("client was gone before it could be told why its session ended")

    async def _listen(self) -> None:
        timeout_s: float | None = self._settings.first_message_s
        while (data := await self._socket.receive(timeout_s)) is not None:
            timeout_s = None
            try:
                event = _parse(data)
            except BadEvent as e:
                answers = self._session.on_error(error_event(e, None))
            else:
                if self._session.needs_call(event):
                    await self._open_call()
                answers = self._session.on_client(event)
            _count(answers)
            await self._socket.send(answers)

    async def _open_call(self) -> None:
        session = self._session
        self._call = await self._calls.open(
            session.config(), session.settings.to_format(), edge="realtime", sid=session.session_id
        )
        session.attach(self._call)
        self._speaking = asyncio.create_task(self._speak(self._call), name=f"realtime-{session.session_id}")

    async def _speak(self, call: LiveCall) -> None:
        """Sends what happens on the call until it ends, then closes the socket."""
        try:
            async for event in call.events():
                await self._socket.send(self._session.on_call(event))
                if isinstance(event, Ended):
                    self._call = None
                    await self._socket.close(event.error)
        except TimedOut as e:  # the socket is cut already, which ends `_listen` and so the call
            log.info("%s", e, extra={"sid": call.sid})
        except Exception:
            log.exception("the edge failed on this call", extra={"sid": call.sid})
            await self._socket.close(InternalError("the edge failed on this call"))


def _parse(data: str | bytes) -> object:
    if isinstance(data, bytes):
        raise BadEvent("Events are JSON in text frames, not binary.", code="invalid_event")
    if len(data) > MAX_MESSAGE_BYTES:
        raise BadEvent(
            f"The event has {len(data)} bytes, {MAX_MESSAGE_BYTES} are allowed: send audio in smaller pieces.",
            code="event_too_large",
        )
    try:
        event: object = json.loads(data)
    except (ValueError, RecursionError):
        raise BadEvent("The event is not JSON.", code="invalid_json") from None
    return event


def _count(answers: list[Event]) -> None:
    for answer in answers:
        if answer["type"] == "error":
            BAD_INPUT.labels("realtime", answer["error"]["code"]).inc()
