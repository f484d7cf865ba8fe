"""A decode on the engine's threads: first what somebody waits for, then what somebody soon will, then the rest."""

import asyncio
import time
from dataclasses import dataclass

from halfbeat.engine_threads import WHENEVER_S, EngineThreads
from services.asr.engine import AsrEngine
from services.asr.gate import Heard, transcribe
from services.asr.session import Decode

# A pause that is decoded ahead of its flush is asked for about this much later.
_FLUSH_COMES_AFTER_S = 0.05


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a decode gave, and its time in ms: waiting for the engine, and in it."""

    heard: Heard
    queue_ms: float
    took_ms: float


async def decoded(threads: EngineThreads[AsrEngine], decode: Decode) -> Decoded:
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

    return await threads.run(work, deadline_s=_deadline_s(decode))


def _deadline_s(decode: Decode) -> float:
    now_s = asyncio.get_running_loop().time()
    if decode.is_flush:
        return now_s
    return now_s + _FLUSH_COMES_AFTER_S if decode.is_pause else WHENEVER_S
