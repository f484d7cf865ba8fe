"""A decode on the engine's threads: first what somebody waits for, then what somebody soon will, then the rest."""

import asyncio
import time
from dataclasses import dataclass

from halfbeat.engine_threads import WHENEVER_S, Deadline, EngineThreads
from services.asr.engine import AsrEngine
from services.asr.gate import Heard, transcribe
from services.asr.session import Decode

# A pause that is decoded ahead of its flush goes after every flush that waits already, and before partials.
_AFTER_FLUSHES_S = 3600.0


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a decode gave, and its time in ms: waiting for the engine, and in it."""

    heard: Heard
    queue_ms: float
    took_ms: float


def deadline_of(decode: Decode) -> Deadline:
    """When the decode is needed; moved to `now_s` when somebody comes to wait for it."""
    if decode.is_flush:
        return Deadline(now_s())
    return Deadline(now_s() + _AFTER_FLUSHES_S if decode.is_pause else WHENEVER_S)


def now_s() -> float:
    """The loop's clock."""
    return asyncio.get_running_loop().time()


async def decoded(threads: EngineThreads[AsrEngine], decode: Decode, deadline: Deadline) -> Decoded:
    """Recognises one piece of audio.

    Cancellation gives the place in the queue up; a decode that has begun runs to its end, its result is lost.

    Raises:
        EngineFailed: the engine failed on it.
    """
    asked_ns = time.monotonic_ns()

    def work() -> Decoded:
        began_ns = time.monotonic_ns()
        heard = transcribe(threads.engine, decode.pcm, decode.hint, decode.speech_s)
        return Decoded(heard, (began_ns - asked_ns) / 1e6, (time.monotonic_ns() - began_ns) / 1e6)

    return await threads.run(work, deadline)
