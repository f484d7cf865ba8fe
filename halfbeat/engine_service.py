"""What the services around an engine (asr, tts) have in common: the engine on its threads, the slots for sessions."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, Protocol, Self

from aiohttp import web

from halfbeat.bus import Bus
from halfbeat.engine_threads import E, EngineThreads
from halfbeat.v1 import session_pb2
from halfbeat.worker import Session, Worker


class EngineSettings(Protocol):
    """What it needs of the service's settings."""

    @property
    def name(self) -> str:
        """Name of this instance."""

    @property
    def slots(self) -> int:
        """Sessions at a time."""

    @property
    def workers(self) -> int:
        """Threads of the engine."""


class EngineService(ABC, Generic[E]):
    """Loads an engine and serves sessions with it; implements `halfbeat.service.Service`."""

    def __init__(self, service: str, settings: EngineSettings, bus: Bus, make_engine: Callable[[], E]) -> None:
        """Takes the service's name, its settings, a connected bus and what makes the engine (called on entering)."""
        self._make_engine, self._workers, self._slots = make_engine, settings.workers, settings.slots
        self._threads: EngineThreads[E] | None = None
        self._worker = Worker(bus, service, self._open, name=settings.name, slots=settings.slots)

    @property
    def threads(self) -> EngineThreads[E]:
        """The engine; once entered."""
        assert self._threads is not None
        return self._threads

    async def __aenter__(self) -> Self:
        self._threads = EngineThreads(self._make_engine(), workers=self._workers)
        try:
            await self._threads.load()
            await self._worker.__aenter__()
        except BaseException:
            await self._threads.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._worker.__aexit__(*exc)
        if self._threads is not None:
            await self._threads.aclose()

    async def drain(self) -> None:
        """Refuses new sessions and returns when the last has closed."""
        await self._worker.drain()

    def add_routes(self, app: web.Application) -> None:
        """Has no routes of its own."""

    def describe(self) -> dict[str, Any]:
        """Says which engine works here."""
        return {"engine": self.threads.engine.name, "slots": self._slots}

    @abstractmethod
    async def _open(self, request: session_pb2.OpenRequest) -> Session:
        """Makes the session. Raises a `HalfbeatError` to refuse it."""
