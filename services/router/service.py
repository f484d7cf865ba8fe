"""The router as a process: models, calls, the three edges, the page."""

import asyncio
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any, Self
from urllib.parse import urlsplit

from aiohttp import web

from halfbeat.bus import Bus
from halfbeat.errors import Unavailable
from halfbeat.presence import Roster
from halfbeat.settings import SERVICES
from halfbeat.v1 import session_pb2
from services.router import lease
from services.router.board import Board
from services.router.calls import Calls
from services.router.config import RouterSettings
from services.router.edge import EdgeFormat, LiveCall
from services.router.edges.door import Door
from services.router.edges.grpc import GrpcEdge
from services.router.edges.realtime import RealtimeEdge
from services.router.edges.settings import EdgeSettings
from services.router.edges.twilio import TwilioEdge
from services.router.engine import Models
from services.router.models import RouterModels
from services.router.page import Page
from services.router.watch import WatchedCalls

# The call's own limit ends it first, with its reason; the edge's is for what went wrong.
_EDGE_GRACE_S = 5.0


class RouterService:
    """Loads the models and takes calls from the edges."""

    def __init__(self, settings: RouterSettings, bus: Bus, models: Models | None = None) -> None:
        """Takes the settings and a connected bus; `models` replaces those of the settings.

        Raises:
            InvalidRequest: an address beyond loopback would be open to anybody.
        """
        self._settings, self._bus, self._models = settings, bus, models
        self._calls: Calls | None = None
        self._board, self._roster = Board(), Roster()
        door = Door(
            hosts=[settings.http_host, settings.grpc_host],
            api_keys=[key.get_secret_value() for key in settings.api_keys],
            allows_open=settings.allow_open,
            max_connections=settings.max_connections,
        )
        limits = EdgeSettings(
            max_call_s=settings.max_call_s + _EDGE_GRACE_S,
            twilio_auth_token=settings.twilio_auth_token.get_secret_value(),
            twilio_url=settings.twilio_url,
        )
        calls = WatchedCalls(self, self._board)
        self._grpc = GrpcEdge(calls, door, limits, host=settings.grpc_host, port=settings.grpc_port)
        self._edges = (RealtimeEdge(calls, door, limits), TwilioEdge(calls, door, limits))
        self._page = Page(self._board, door, self._about)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self._models is None:
                models = await asyncio.to_thread(RouterModels, self._settings)
                stack.callback(models.close)
                self._models = models
            await lease.prepare(self._bus)
            following = asyncio.create_task(self._roster.follow(self._bus, self._page.tell_about), name="roster")
            stack.push_async_callback(_stop, following)
            self._calls = Calls(self._bus, self._settings, self._models)
            await stack.enter_async_context(self._grpc)
            stack.push_async_callback(self._calls.aclose)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def drain(self) -> None:
        """Refuses new calls and returns when the last has ended."""
        await self._grpc.set_serving(False)
        if self._calls is not None:
            await self._calls.drain()

    def add_routes(self, app: web.Application) -> None:
        """Adds the page and the WebSocket edges."""
        self._page.add_routes(app)
        for edge in self._edges:
            edge.add_routes(app)

    def describe(self) -> dict[str, Any]:
        """Says where gRPC listens, what hears the end of a turn, and what is taken out of the callers' audio."""
        settings = self._settings
        return {
            "grpc_port": self._grpc.port,
            "turn_detector": settings.turn_detector,
            "cleaning": settings.cleaning.value,
            "slots": settings.slots,
        }

    async def open(self, config: session_pb2.SessionConfig, fmt: EdgeFormat, *, edge: str, sid: str = "") -> LiveCall:
        """See `services.router.edge.Calls.open`; refused until the models are loaded."""
        if self._calls is None:
            raise Unavailable("this router is starting; call again in a few seconds")
        return await self._calls.open(config, fmt, edge=edge, sid=sid)

    def _about(self) -> dict[str, Any]:
        """What the page says runs here."""
        bus_state = "connected" if self._bus.is_connected else "not connected"
        servers = ", ".join(_without_user(url) for url in self._settings.nats.url.split(","))
        rows = [_row("nats", bus_state, servers, self._bus.is_connected)]
        for service in SERVICES:
            there = [p for p in self._roster.present if p.service == service]
            rows += [
                _row(f"{p.service} {p.name}", "ready", ", ".join(f"{k} {v}" for k, v in p.facts.items()), True)
                for p in there
            ] or [_row(service, "not there", "", False)]
        return {
            "version": version("halfbeat"),
            "services": rows,
            "ways": [
                {"name": "gRPC", "address": f"{{host}}:{self._grpc.port}"},
                {"name": "OpenAI Realtime API", "address": "ws://{origin}/v1/realtime"},
                {"name": "Twilio Media Streams", "address": "wss://{origin}/twilio/media"},
            ],
        }


def _row(name: str, state: str, details: str, is_ready: bool) -> dict[str, Any]:
    return {"name": name, "state": state, "details": details, "is_ready": is_ready}


def _without_user(url: str) -> str:
    """A server's address without the user and password that it may hold."""
    parts = urlsplit(url.strip() if "//" in url else f"//{url.strip()}")
    return f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
