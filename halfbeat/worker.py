"""A worker holds sessions in slots: it answers "open" once it is subscribed, then serves the session until it closes.

The same loop serves asr, dialogue and tts; what differs is the `Session` each makes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol, Self

from halfbeat import logs, subjects, telemetry
from halfbeat.bus import Bus, Delivery, Subscription
from halfbeat.errors import AtCapacity, HalfbeatError, InternalError, TimedOut, Unavailable
from halfbeat.v1 import common_pb2, session_pb2

log = logging.getLogger(__name__)
HEARTBEAT_S = 1.0


class Session(Protocol):
    """One call on one worker.

    Attributes:
        subjects: kinds it wants besides `session.close`; CONTROL and REALTIME ones are subscribed apart.
    """

    subjects: Sequence[subjects.Kind]

    async def handle(self, delivery: Delivery) -> None:
        """Takes one message. A `HalfbeatError` is reported on the status subject, any other ends the session."""

    async def aclose(self) -> None:
        """Lets go of everything; called exactly once, also after errors."""


class Worker:
    """Serves ``hb.v1.<service>.open.*`` in a queue group, within its slots."""

    def __init__(
        self,
        bus: Bus,
        service: str,
        open_session: Callable[[session_pb2.OpenRequest], Awaitable[Session]],
        *,
        name: str,
        slots: int,
        idle_s: float = 150.0,
    ) -> None:
        """Takes the maker of sessions.

        Args:
            bus: connected bus.
            service: "asr", "dialogue" or "tts".
            open_session: makes the session; raising a `HalfbeatError` refuses it.
            name: this instance, told in the reply.
            slots: sessions at a time; one more is refused "at capacity".
            idle_s: a session without any message for this long belonged to a dead router and is closed.
        """
        self._bus, self._service, self._open_session = bus, service, open_session
        self._name, self._slots, self._idle_s = name, slots, idle_s
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._opening = 0
        self._serving: Subscription | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        telemetry.CAPACITY.labels(service).set(slots)
        self._active = telemetry.ACTIVE.labels(service)
        # From 0 on, so that the first refusal is a step that `rate` sees.
        telemetry.ERRORS.labels(service, common_pb2.ErrorCode.Name(AtCapacity.code))

    async def __aenter__(self) -> Self:
        self._serving = await self._bus.serve(subjects.OPEN[self._service].all, self._open, queue=self._service)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stop_serving()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def drain(self) -> None:
        """Refuses new sessions and returns when the last one has closed."""
        await self._stop_serving()
        await self._empty.wait()

    async def _stop_serving(self) -> None:
        serving, self._serving = self._serving, None
        if serving is not None:
            await serving.aclose()

    async def _open(self, delivery: Delivery) -> session_pb2.OpenReply:
        request = delivery.message
        assert isinstance(request, session_pb2.OpenRequest)
        reply = session_pb2.OpenReply(worker=self._name)
        try:
            with logs.about(sid=delivery.sid):  # the session's tasks are started in here
                await self._place(delivery.sid, request)
        except HalfbeatError as e:
            telemetry.ERRORS.labels(self._service, common_pb2.ErrorCode.Name(e.code)).inc()
            reply.error.CopyFrom(e.to_message())
        reply.free_slots = max(0, self._slots - len(self._tasks) - self._opening)
        return reply

    async def _place(self, sid: str, request: session_pb2.OpenRequest) -> None:
        if self._serving is None:
            raise Unavailable(f"{self._name} is draining")
        if sid in self._tasks:  # the router asked again after a lost reply
            return
        if len(self._tasks) + self._opening >= self._slots:
            raise AtCapacity(f"{self._name} holds {self._slots} sessions already")
        self._opening += 1
        subscriptions: list[Subscription] = []
        try:
            session = await self._open_session(request)
            try:
                for lane in subjects.Lane:
                    wanted = [k.of(sid) for k in session.subjects if k.lane is lane]
                    if lane is subjects.Lane.CONTROL:
                        wanted.append(subjects.SESSION_CLOSE.of(sid))
                    if wanted:
                        subscriptions.append(await self._bus.subscribe(wanted))
            except BaseException:
                for subscription in subscriptions:
                    await subscription.aclose()
                await session.aclose()
                raise
            self._empty.clear()
            self._tasks[sid] = asyncio.create_task(
                self._hold(sid, session, subscriptions), name=f"{self._service}-{sid}"
            )
            self._active.set(len(self._tasks))
        finally:
            self._opening -= 1

    async def _hold(self, sid: str, session: Session, subscriptions: list[Subscription]) -> None:
        """Runs a session to its end; whatever happens, the slot becomes free and the router hears of it."""
        held = _Held(sid)
        error: HalfbeatError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for subscription in subscriptions:
                    group.create_task(self._consume(held, session, subscription))
                group.create_task(self._beat(held))
        except* _Closed:
            pass
        except* HalfbeatError as errors:
            error = _first(errors)
            log.warning("session failed: %s", error, extra={"sid": sid})
        except* Exception:
            error = InternalError(f"{self._service} failed on this session")
            log.exception("session failed", extra={"sid": sid})
        finally:
            for subscription in subscriptions:
                await subscription.aclose()
            await session.aclose()
            self._tasks.pop(sid, None)
            self._active.set(len(self._tasks))
            if not self._tasks:
                self._empty.set()
            with suppress(HalfbeatError):
                await self._report(held, error, is_closed=True)

    async def _consume(self, held: "_Held", session: Session, subscription: Subscription) -> None:
        async for delivery in subscription:
            held.messages += 1
            if delivery.kind is subjects.SESSION_CLOSE:
                raise _Closed
            try:
                with logs.about(**telemetry.ids_in(delivery.headers)):
                    await session.handle(delivery)
            except HalfbeatError as e:
                await self._report(held, e)

    async def _beat(self, held: "_Held") -> None:
        """Tells the router once a second that this worker lives, and closes a session nobody feeds."""
        seen, idle_s = -1, 0.0
        while True:
            await self._report(held, None)
            await asyncio.sleep(HEARTBEAT_S)
            idle_s = 0.0 if held.messages != seen else idle_s + HEARTBEAT_S
            seen = held.messages
            if idle_s >= self._idle_s:
                raise TimedOut(f"no message for {self._idle_s:.0f} s: its router is gone")

    async def _report(self, held: "_Held", error: HalfbeatError | None, *, is_closed: bool = False) -> None:
        status = session_pb2.WorkerStatus(
            stamp=common_pb2.Stamp(sid=held.sid, seq=held.next_seq()),
            service=self._service,
            worker=self._name,
            is_closed=is_closed,
        )
        if error is not None:
            telemetry.ERRORS.labels(self._service, common_pb2.ErrorCode.Name(error.code)).inc()
            status.error.CopyFrom(error.to_message())
        await self._bus.publish(subjects.STATUS[self._service], status)


class _Closed(Exception):
    """The session was closed in the normal way."""


class _Held:
    """Counters of one session."""

    def __init__(self, sid: str) -> None:
        self.sid, self.messages, self._seq = sid, 0, -1

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq


def _first(errors: BaseExceptionGroup[HalfbeatError]) -> HalfbeatError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, HalfbeatError)
    return found
