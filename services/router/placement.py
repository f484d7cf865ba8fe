"""Opens a session on one asr, one dialogue and one tts worker, and lets go of them at the end."""

import asyncio
import logging

from halfbeat import subjects
from halfbeat.bus import Bus
from halfbeat.errors import AtCapacity, HalfbeatError, TimedOut, Unavailable, from_message
from halfbeat.v1 import common_pb2, session_pb2

log = logging.getLogger(__name__)
#: Attempts that find no worker at all; one may be starting.
_MISSES = 3


async def place(
    bus: Bus, sid: str, config: session_pb2.SessionConfig, *, attempts: int, timeout_s: float
) -> dict[str, str]:
    """Opens the session on all services; returns the worker's name by service.

    A refusal or a silent worker is followed by another attempt, which the queue group gives to any worker. When this
    raises, workers that have opened already are told to close.

    Args:
        bus: connected bus.
        sid: the session.
        config: sent with every open.
        attempts: how often each service is asked; a queue group gives a request to full workers as well.
        timeout_s: for all attempts together.

    Raises:
        AtCapacity: all that were asked are full.
        Unavailable: nobody serves one of them.
        TimedOut: no answer in time.
    """
    workers: dict[str, str] = {}

    async def open_on(service: str) -> None:
        workers[service] = await _open(bus, service, sid, config, attempts, timeout_s)

    try:
        async with asyncio.timeout(timeout_s):
            async with asyncio.TaskGroup() as group:
                for service in subjects.OPEN:
                    if service != "dialogue":
                        group.create_task(open_on(service))
            # Last, because it may speak at once: the others must be there to hear it.
            await open_on("dialogue")
    except BaseException as error:
        await close(bus, sid, by="router")
        if isinstance(error, TimeoutError):
            raise TimedOut(f"no worker took the call within {timeout_s:.0f} s") from None
        if isinstance(error, BaseExceptionGroup):
            refused = [e for e in error.exceptions if isinstance(e, HalfbeatError)]
            if refused:
                raise refused[0] from None
        raise
    return workers


async def _open(
    bus: Bus, service: str, sid: str, config: session_pb2.SessionConfig, attempts: int, timeout_s: float
) -> str:
    failure: HalfbeatError = Unavailable(f"no {service} worker")
    misses = 0
    for attempt in range(attempts):
        request = session_pb2.OpenRequest(stamp=common_pb2.Stamp(sid=sid, seq=attempt), config=config)
        try:
            reply = await bus.request(subjects.OPEN[service], request, session_pb2.OpenReply, timeout_s=timeout_s)
        except Unavailable as e:
            failure = Unavailable(f"no {service} worker: {e}")
            misses += 1
            if misses == _MISSES:
                break
            await asyncio.sleep(0.2 * misses)
            continue
        if not reply.HasField("error"):
            return reply.worker
        failure = from_message(reply.error)
        if not isinstance(failure, AtCapacity | Unavailable):
            raise failure
        log.info("a worker refused: %s", failure, extra={"sid": sid, "worker": reply.worker})
    raise failure


async def close(bus: Bus, sid: str, *, by: str, error: common_pb2.Error | None = None, epoch: int = 0) -> None:
    """Tells every worker that the session is over; never raises."""
    message = session_pb2.SessionClosed(stamp=common_pb2.Stamp(sid=sid, epoch=epoch), by=by, error=error)
    try:
        async with asyncio.timeout(3):
            await bus.publish(subjects.SESSION_CLOSE, message)
    except (HalfbeatError, TimeoutError) as e:
        log.warning("cannot tell the workers that the session is over: %s", e, extra={"sid": sid})
