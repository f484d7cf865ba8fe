"""The page at /: what runs here, and calls as they happen. Plain files and server-sent events; no build step."""

import asyncio
import base64
import binascii
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from halfbeat.errors import AtCapacity, Denied
from services.router.board import Board
from services.router.edges.counters import STUCK
from services.router.edges.door import Door, bearer, is_loopback
from services.router.edges.socket import http_status

STATIC = Path(__file__).parent / "static"
MAX_VIEWERS = 50
KEEP_ALIVE_S = 15.0
SEND_TIMEOUT_S = 5.0
_TYPES = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_HEADERS = {
    # An image is the icon alone, an empty one, so that no browser asks for /favicon.ico.
    "Content-Security-Policy": (
        "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

About = Callable[[], dict[str, Any]]


class Page:
    """Serves the page and its live events.

    What was said is shown to those who hold a key, or, when no keys are set, to this machine alone.
    """

    def __init__(self, board: Board, door: Door, about: About) -> None:
        """Takes the board, who may look, and what to say about this router (a JSON object, asked anew each time)."""
        self._board, self._door, self._about = board, door, about
        self._viewers: set[_Viewer] = set()
        board.on_change = self._changed

    def add_routes(self, app: web.Application) -> None:
        """Adds / and what belongs to it."""
        app.router.add_get("/", self._file("index.html"))
        for name in ("page.css", "page.js"):
            app.router.add_get(f"/{name}", self._file(name))
        app.router.add_get("/events", self._events)
        app.on_shutdown.append(self._shut_down)

    def _changed(self, sid: str) -> None:
        for viewer in self._viewers:
            viewer.changed(sid)

    def tell_about(self) -> None:
        """Sends what runs here again: it has changed."""
        self._changed("")

    async def _shut_down(self, _: web.Application) -> None:
        for viewer in self._viewers:
            viewer.stop()

    def _file(self, name: str) -> Callable[[web.Request], Any]:
        body = (STATIC / name).read_bytes()

        async def serve(request: web.Request) -> web.StreamResponse:
            if (refusal := self._refuse(request)) is not None:
                return refusal
            return web.Response(body=body, content_type=_TYPES[name], charset="utf-8", headers=_HEADERS)

        return serve

    def _refuse(self, request: web.Request) -> web.Response | None:
        authorization = request.headers.get("Authorization", "")
        try:
            self._door.check_browser(request.headers.get("Origin"), request.headers.get("Host"))
            self._door.check_key(bearer(authorization) or _password(authorization))
        except Denied as e:
            if not self._door.has_keys:
                return web.Response(status=http_status(e), text=f"{e}\n")
            # A browser asks for the key when it sees this; the user name does not matter.
            headers = {"WWW-Authenticate": 'Basic realm="halfbeat: any name, an API key as password", charset="UTF-8"'}
            return web.Response(status=401, text=f"{e}\n", headers=headers)
        return None

    def _may_see_words(self, request: web.Request) -> bool:
        if self._door.has_keys:
            return True
        is_forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
        return is_loopback(request.remote or "") and not is_forwarded

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if (refusal := self._refuse(request)) is not None:
            return refusal
        if len(self._viewers) >= MAX_VIEWERS:
            busy = AtCapacity(f"{MAX_VIEWERS} others are looking already")
            return web.Response(status=http_status(busy), text=f"{busy}\n")
        with_words = self._may_see_words(request)
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        response.headers["Cache-Control"] = "no-store"
        await response.prepare(request)
        viewer = _Viewer()
        self._viewers.add(viewer)
        try:
            calls = self._board.calls(with_words=with_words)
            about = self._about() | {"has_words": with_words}
            await _send(response, "all", {"about": about, "calls": calls})
            while (changed := await viewer.next()) is not None:
                if not changed:
                    await _send(response, "still", {})
                for sid in changed:
                    if not sid:
                        await _send(response, "about", self._about() | {"has_words": with_words})
                    elif (call := self._board.call(sid, with_words=with_words)) is not None:
                        await _send(response, "call", call)
                    else:
                        await _send(response, "gone", {"sid": sid})
        except ConnectionError:
            pass  # the page was closed
        except TimeoutError:
            STUCK.labels("page").inc()
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._viewers.discard(viewer)
        return response


class _Viewer:
    """What one open page has not been told yet: a set, so that a slow one misses steps, not the outcome."""

    def __init__(self) -> None:
        self._changed: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._is_stopped = False

    def changed(self, sid: str) -> None:
        self._changed[sid] = None
        self._wake.set()

    def stop(self) -> None:
        self._is_stopped = True
        self._wake.set()

    async def next(self) -> list[str] | None:
        """Returns what changed; an empty list when nothing did for a while, None when the server stops."""
        try:
            async with asyncio.timeout(KEEP_ALIVE_S):
                await self._wake.wait()
        except TimeoutError:
            return []
        self._wake.clear()
        changed, self._changed = list(self._changed), {}
        return None if self._is_stopped else changed


async def _send(response: web.StreamResponse, kind: str, data: dict[str, Any]) -> None:
    async with asyncio.timeout(SEND_TIMEOUT_S):
        await response.write(f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode())


def _password(authorization: str) -> str:
    """Returns the password of HTTP Basic authentication, or an empty string."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
