"""The engine and its threads, shared by the sessions of this process. Flushes go before partials."""

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.asr.engine import AsrEngine, Samples
from services.asr.gate import Heard, transcribe
from services.asr.session import Decode


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a decode gave, and its time in ms: waiting for the engine, and in it."""

    heard: Heard
    queue_ms: float
    took_ms: float


class EnginePool:
    """Decodes on the engine's own threads, never in the loop."""

    def __init__(self, engine: AsrEngine, *, workers: int) -> None:
        """Takes the engine, not loaded yet, and how many pieces of audio it may decode at the same time."""
        self.engine = engine
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="asr-engine")
        self._free = workers
        self._order = itertools.count()
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []

    async def load(self) -> None:
        """Loads and warms the engine."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self.engine.load)

    async def decode(self, decode: Decode) -> Decoded:
        """Recognises one piece of audio.

        Cancellation gives the place in the queue up; a decode that has begun runs to its end, its result is lost.

        Raises:
            EngineFailed: the engine failed on it.
        """
        asked_ns = time.monotonic_ns()
        async with self._place(is_urgent=decode.is_flush):
            started_ns = time.monotonic_ns()
            work = asyncio.get_running_loop().run_in_executor(self._threads, _timed, self.engine, decode, decode.pcm)
            heard, took_ms = await work
        return Decoded(heard, (started_ns - asked_ns) / 1e6, took_ms)

    async def aclose(self) -> None:
        """Waits for the decode in progress; nothing can be decoded afterwards."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    @asynccontextmanager
    async def _place(self, *, is_urgent: bool) -> AsyncIterator[None]:
        if self._free:
            self._free -= 1
        else:
            ready = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (not is_urgent, next(self._order), ready))
            try:
                await ready
            except asyncio.CancelledError:
                if ready.done() and not ready.cancelled():
                    self._release()  # the place was ours already
                raise
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        while self._waiting:
            _, _, ready = heapq.heappop(self._waiting)
            if not ready.done():
                ready.set_result(None)
                return
        self._free += 1


def _timed(engine: AsrEngine, decode: Decode, pcm: Samples) -> tuple[Heard, float]:
    began_ns = time.monotonic_ns()
    heard = transcribe(engine, pcm, decode.hint, decode.speech_s)
    return heard, (time.monotonic_ns() - began_ns) / 1e6
