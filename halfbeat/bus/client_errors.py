"""Errors and cancellation of nats-py in our own terms."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import nats.errors
import nats.js.errors

from halfbeat.errors import HalfbeatError, InternalError, InvalidRequest, TimedOut, Unavailable

T = TypeVar("T")


async def checked(awaitable: Awaitable[T]) -> T:
    """Awaits something of nats-py that may swallow cancellation, and raises the cancellation that it swallowed.

    `publish()` with a full buffer, `drain()` and `close()` return normally when cancelled, `asyncio.timeout` included.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    result = await awaitable
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return result


def to_halfbeat(error: Exception, what: str) -> HalfbeatError:
    """Turns an error of nats-py into ours, by what the receiver can do about it."""
    match error:
        case HalfbeatError():
            return error
        case nats.errors.NoRespondersError():
            return Unavailable(f"nobody answers ({what})")
        case nats.js.errors.APIError(err_code=10047 | 10028 | 10077):  # insufficient storage, memory, stream full
            return Unavailable(f"{what}: {error.description}")
        case nats.js.errors.NotFoundError():
            return Unavailable(f"{what}: {error.description or 'not found'}")
        case nats.js.errors.ServiceUnavailableError() | nats.js.errors.NoStreamResponseError():
            return Unavailable(f"JetStream does not answer ({what})")
        case nats.js.errors.APIError():
            return InvalidRequest(f"{what}: {error.description}")
        case TimeoutError() | nats.errors.TimeoutError():
            return TimedOut(f"no answer in time ({what})")
        case nats.errors.MaxPayloadError() | nats.errors.BadSubjectError() | nats.errors.BadHeaderError():
            return InvalidRequest(f"{what}: {error}")
        case nats.errors.Error() | OSError():
            return Unavailable(f"{what}: {error}")
    return InternalError(f"{what}: {type(error).__name__}")
