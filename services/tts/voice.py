"""The engine as one session uses it: on the engine's threads, piece by piece, never too far ahead of real time."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from prometheus_client import Histogram

from halfbeat.errors import EngineFailed, HalfbeatError
from services.tts.engine import Chunk, TtsEngine
from services.tts.turnstile import Turnstile

log = logging.getLogger(__name__)

REALTIME_FACTOR = Histogram(
    "halfbeat_tts_realtime_factor",
    "Engine time for a second of audio, per clause",
    ["engine"],
    buckets=(0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 2.0),
)


class EnginePool:
    """The engine and its threads, shared by the sessions of this process."""

    def __init__(self, engine: TtsEngine, *, workers: int) -> None:
        """Takes the engine, not loaded yet, and how many pieces it may make at the same time."""
        self.engine = engine
        self.turnstile = Turnstile(workers)
        self.threads = ThreadPoolExecutor(workers, thread_name_prefix="tts-engine")

    async def load(self) -> None:
        """Loads the engine on one of its threads."""
        await asyncio.get_running_loop().run_in_executor(self.threads, self.engine.load)

    async def aclose(self) -> None:
        """Waits for the piece in progress; nothing can be spoken afterwards."""
        await asyncio.to_thread(self.threads.shutdown, cancel_futures=True)


class Voice:
    """Speaks one session's clauses, one after the other."""

    def __init__(self, pool: EnginePool, *, voice: str, speed: float, ahead_s: float) -> None:
        """Takes the voice's name and pace, and how far the audio may be ahead of real time."""
        self._pool, self._voice, self._speed, self._ahead_s = pool, voice, speed, ahead_s
        self._plays_until_s = 0.0  # when what was made will have sounded, if it sounds without a gap

    @property
    def sample_rate(self) -> int:
        """Rate of the pieces, in Hz."""
        return self._pool.engine.sample_rate

    def forget(self) -> None:
        """What was made will not be heard, so the next piece is urgent again."""
        self._plays_until_s = 0.0

    async def speak(self, text: str) -> AsyncGenerator[Chunk, None]:
        """Yields the clause's pieces; close it (`aclosing`) to stop the engine before its next piece.

        Raises:
            EngineFailed: the engine failed, now or after some pieces.
        """
        # An audio cache belongs here, by (engine, voice, speed, text): openers and fillers are said again and again.
        loop = asyncio.get_running_loop()
        work = _Work(self._pool.engine, text, self._voice, self._speed)
        try:
            while True:
                ahead_s = self._plays_until_s - loop.time()
                if ahead_s > self._ahead_s:
                    await asyncio.sleep(ahead_s - self._ahead_s)
                async with self._pool.turnstile.turn(max(self._plays_until_s, loop.time())):
                    chunk = await loop.run_in_executor(self._pool.threads, work.next)
                if chunk is None:
                    break
                self._plays_until_s = max(self._plays_until_s, loop.time()) + len(chunk.samples) / self.sample_rate
                yield chunk
        except HalfbeatError:
            raise
        except Exception as e:
            log.exception("the voice failed", extra={"engine": self._pool.engine.name})
            raise EngineFailed(f"the voice {self._pool.engine.name} failed on this clause") from e
        finally:
            with suppress(RuntimeError):  # the threads are gone when the service stops
                self._pool.threads.submit(work.close)


class _Work:
    """One clause on the engine's threads. A piece in progress cannot be stopped, so closing waits for it."""

    def __init__(self, engine: TtsEngine, text: str, voice: str, speed: float) -> None:
        self._engine = engine
        self._pieces = engine.synthesize(text, voice=voice, speed=speed)
        self._busy = threading.Lock()
        self._work_s = self._audio_s = 0.0

    def next(self) -> Chunk | None:
        """Computes the next piece; None after the last."""
        with self._busy:
            began_s = time.monotonic()
            chunk = next(self._pieces, None)
            self._work_s += time.monotonic() - began_s
            if chunk is not None:
                self._audio_s += len(chunk.samples) / self._engine.sample_rate
            return chunk

    def close(self) -> None:
        """Frees what the engine holds for the clause and records how fast it was."""
        with self._busy:
            getattr(self._pieces, "close", lambda: None)()
            if self._audio_s:
                REALTIME_FACTOR.labels(self._engine.name).observe(self._work_s / self._audio_s)
