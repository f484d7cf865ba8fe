"""The calls in progress: admits them and ends them."""

import asyncio
import logging
import secrets

from halfbeat import telemetry
from halfbeat.bus import Bus
from halfbeat.clock import Clock, MonotonicClock
from halfbeat.errors import AtCapacity, HalfbeatError, InternalError, InvalidRequest, Unavailable
from halfbeat.v1 import common_pb2, session_pb2
from services.router import counters
from services.router.call import Call
from services.router.config import RouterSettings
from services.router.edge import EdgeFormat
from services.router.engine import Models

log = logging.getLogger(__name__)


class Calls:
    """Registry of live calls. Implements `services.router.edge.Calls`."""

    def __init__(self, bus: Bus, settings: RouterSettings, models: Models, clock: Clock | None = None) -> None:
        """Takes what calls need; `clock` is the machine's unless a test brings its own."""
        self._bus, self._settings, self._models = bus, settings, models
        self._clock = clock or MonotonicClock()
        self._calls: dict[str, Call] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._opening: set[str] = set()
        self._is_draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        telemetry.CAPACITY.labels("router").set(settings.slots)
        self._active = telemetry.ACTIVE.labels("router")
        self._refusals = telemetry.ERRORS.labels("router", common_pb2.ErrorCode.Name(AtCapacity.code))

    def __len__(self) -> int:
        return len(self._calls)

    async def open(self, config: session_pb2.SessionConfig, fmt: EdgeFormat, *, edge: str, sid: str = "") -> Call:
        """See `services.router.edge.Calls.open`."""
        try:
            call = await self._place(config, fmt, sid or secrets.token_hex(8))
        except HalfbeatError as e:
            counters.count_refused(e.code)
            raise
        except Exception:
            counters.count_refused(InternalError.code)
            raise
        log.info("call opened", extra={"sid": call.sid, "edge": edge, **call.workers})
        return call

    async def _place(self, config: session_pb2.SessionConfig, fmt: EdgeFormat, sid: str) -> Call:
        if self._is_draining:
            raise Unavailable("this router is draining; call again")
        if len(self._calls) + len(self._opening) >= self._settings.slots:
            self._refusals.inc()
            raise AtCapacity(f"this router holds {self._settings.slots} calls already")
        if sid in self._calls or sid in self._opening:
            raise InvalidRequest(f"session {sid} exists already")
        settled = session_pb2.SessionConfig()
        settled.CopyFrom(config)
        settled.application = config.application or self._settings.application
        settled.language = config.language or "en"
        self._opening.add(sid)
        self._empty.clear()
        try:
            call = Call(sid, settled, fmt, self._bus, self._settings, self._models, self._clock)
            await call.open()
            self._calls[sid] = call
            self._tasks[sid] = asyncio.create_task(self._hold(call), name=f"call-{sid}")
        finally:
            self._opening.discard(sid)
            self._update()
        return call

    async def _hold(self, call: Call) -> None:
        try:
            await call.run()
        finally:
            self._calls.pop(call.sid, None)
            self._tasks.pop(call.sid, None)
            self._update()
            log.info("call ended", extra={"sid": call.sid})

    def _update(self) -> None:
        self._active.set(len(self._calls))
        if not self._calls and not self._opening:
            self._empty.set()

    async def drain(self) -> None:
        """Takes no new calls and returns when the last one has ended."""
        self._is_draining = True
        await self._empty.wait()

    async def aclose(self) -> None:
        """Ends every call now, telling callers and workers."""
        self._is_draining = True
        for call in list(self._calls.values()):
            call.end("router")
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=5)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
