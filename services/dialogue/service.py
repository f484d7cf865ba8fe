"""The dialogue service on the bus: committed turns in, clauses and tool calls out."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Any, Self

from aiohttp import web

from halfbeat.application import Application, Call, Caller
from halfbeat.bus import Bus, KeyValue
from halfbeat.errors import HalfbeatError, Unavailable
from halfbeat.subjects import DIALOGUES
from halfbeat.telemetry import from_zero
from halfbeat.v1 import session_pb2
from halfbeat.worker import Worker
from services.dialogue.bus_session import BusSession, sampling_of
from services.dialogue.config import DialogueSettings
from services.dialogue.counters import TOOL_CALLS
from services.dialogue.engine import LlmEngine
from services.dialogue.engines import make_engine
from services.dialogue.loading import load_application
from services.dialogue.role import ApplicationRole, ClientRole, Role
from services.dialogue.session import DialogueSession

log = logging.getLogger(__name__)

# A busy machine may need more than one deadline to read the prompt; calls wait until it has.
WARM_ATTEMPTS = 3
STORE = DIALOGUES.name
#: How long a service that starts waits for its language model's server.
SERVER_S = 60.0


class DialogueService:
    """Loads an application and holds its conversations.

    Args:
        settings: Of the service.
        bus: Connected.
        engine: Replaces the one of the settings.
        application: Replaces the one of the settings.
    """

    def __init__(
        self,
        settings: DialogueSettings,
        bus: Bus,
        engine: LlmEngine | None = None,
        application: Application | None = None,
    ) -> None:
        self._settings, self._bus = settings, bus
        self._engine = engine or make_engine(settings)
        self._application = application or load_application(settings.app)
        from_zero(TOOL_CALLS, *((tool, "ok") for tool in self._application.tools))
        self._resources: Any = None
        self._store: KeyValue | None = None
        self._stack = AsyncExitStack()
        self._worker = Worker(bus, "dialogue", self._open, name=settings.name, slots=settings.slots)

    async def __aenter__(self) -> Self:
        try:
            self._stack.push_async_callback(self._engine.aclose)
            await self._wait_for_server()
            self._resources = await self._stack.enter_async_context(self._application.running())
            self._store = await self._bus.key_value(STORE)
            await self._warm()
            await self._stack.enter_async_context(self._worker)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def drain(self) -> None:
        """Refuses new sessions and returns when the last has closed."""
        await self._worker.drain()

    def add_routes(self, app: web.Application) -> None:
        """Has no routes of its own."""

    def describe(self) -> dict[str, Any]:
        """Says which model talks here, and as what."""
        settings = self._settings
        return {
            "engine": settings.engine,
            "model": settings.llm_model,
            "dialect": settings.dialect,
            "application": self._application.name,
            "slots": settings.slots,
        }

    async def _wait_for_server(self) -> None:
        deadline = asyncio.get_running_loop().time() + SERVER_S
        while True:
            try:
                return await self._engine.check()
            except Unavailable:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.5)

    async def _warm(self) -> None:
        """Let the server read persona and examples, which all calls share; what it has read it need not read again."""
        role = ApplicationRole(self._application, Call("warm"), facts=())
        for attempt in range(1, WARM_ATTEMPTS + 1):
            try:
                await self._engine.prefill(DialogueSession(role).prompt())
                return
            except HalfbeatError as error:
                log.warning("the model is not warm after attempt %d of %d: %s", attempt, WARM_ATTEMPTS, error)

    async def _open(self, request: session_pb2.OpenRequest) -> BusSession:
        assert self._store is not None
        config, sid = request.config, request.stamp.sid
        call = Call(
            sid,
            Caller(config.caller_number or None, dict(config.attributes)),
            resources=self._resources,
        )
        role: Role
        opening = ""
        is_client = bool(config.instructions or config.client_tools)
        if is_client:
            role = ClientRole(config)
        else:
            context = await self._application.open(call)
            role, opening = ApplicationRole(self._application, call, context.facts), context.opening
        is_compact = self._settings.dialect == "compact"
        decisions = DialogueSession(
            role,
            opening,
            epoch=request.stamp.epoch,
            tool_rounds=1 if is_compact else self._settings.tool_rounds,
            draft_tokens=self._settings.draft_tokens,
        )
        session = BusSession(
            self._bus,
            sid,
            self._settings,
            self._engine,
            decisions,
            sampling_of(config, self._settings),
            application=None if is_client else self._application,
            call=call,
            store=self._store,
        )
        session.begin()
        return session
