"""The engine as one session uses it: on the engine's threads, piece by piece, never too far ahead of real time.

What was said before comes from the audio cache and needs no engine at all.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from prometheus_client import Counter, Gauge, Histogram

from halfbeat.audio import BYTES_PER_SAMPLE, RATE_HZ
from halfbeat.engine_threads import WHENEVER_S, Deadline, EngineThreads
from halfbeat.errors import EngineFailed, HalfbeatError
from halfbeat.telemetry import from_zero
from services.tts.cache import AudioCache, Saying
from services.tts.engine import Chunk, TtsEngine
from services.tts.framing import ClauseAudio, Piece

log = logging.getLogger(__name__)

REALTIME_FACTOR = Histogram(
    "halfbeat_tts_realtime_factor",
    "Engine time for a second of audio, per clause",
    ["engine"],
    buckets=(0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 2.0),
)
CACHE = Counter(
    "halfbeat_tts_cache_total", "Clauses looked up in the audio cache, by whether they were there", ["found"]
)
from_zero(CACHE, "hit", "miss")
CACHE_BYTES = Gauge("halfbeat_tts_cache_bytes", "Audio held in the cache")

# Between two pieces of an answer the engine is free for as long as it takes to send the first: that is not idle.
_IDLE_S = 0.02


class Voice:
    """Speaks one session's clauses, one after the other."""

    def __init__(
        self,
        threads: EngineThreads[TtsEngine],
        cache: AudioCache,
        *,
        voice: str = "",
        speed: float = 1.0,
        ahead_s: float = 6.0,
    ) -> None:
        """Takes the engine, the cache, the voice's name and pace, and how far audio may be ahead of real time."""
        self._threads, self._cache = threads, cache
        self._voice, self._speed, self._ahead_s = voice, speed, ahead_s
        self._plays_until_s = 0.0  # when what was made will have sounded, if it sounds without a gap

    def forget(self) -> None:
        """What was made will not be heard, so the next piece is urgent again."""
        self._plays_until_s = 0.0

    async def speak(self, text: str, *, is_hurried: bool = False) -> AsyncGenerator[Piece, None]:
        """Yields the clause's pieces; close it (`aclosing`) to stop the engine before its next piece.

        Args:
            text: as written.
            is_hurried: the first piece is wanted sooner than the engine makes it best.

        Raises:
            EngineFailed: the engine failed, now or after some pieces.
        """
        saying = self._saying(text)
        known = self._cache.get(saying)
        CACHE.labels("miss" if known is None else "hit").inc()
        if known is not None:
            for piece in known:
                await self._pace()
                self._made(piece)
                yield piece
            return
        await self._pace()
        async with aclosing(self._render(saying, text, is_hurried=is_hurried)) as pieces:
            async for piece in pieces:
                self._made(piece)
                yield piece
                await self._pace()

    def knows(self, text: str) -> bool:
        """Whether the clause is in the cache."""
        return self._saying(text) in self._cache

    async def prepare(self, text: str) -> None:
        """Makes the clause for the cache, whenever nothing else wants the engine; nothing if it is there already.

        Raises:
            EngineFailed: the engine failed.
        """
        saying = self._saying(text)
        if saying not in self._cache:
            async with aclosing(self._render(saying, text, is_wanted=False)) as pieces:
                async for _ in pieces:
                    pass

    async def _render(
        self, saying: Saying, text: str, *, is_wanted: bool = True, is_hurried: bool = False
    ) -> AsyncGenerator[Piece, None]:
        """Makes a clause; one that came to its end goes into the cache."""
        work = _Work(self._threads.engine, text, self._voice, self._speed, is_hurried)
        audio = ClauseAudio(self._threads.engine.sample_rate)
        whole: list[Piece] = []
        try:
            while (chunk := await self._next(work, is_wanted=is_wanted)) is not None:
                for piece in audio.push(chunk):
                    whole.append(piece)
                    yield piece
            rest = audio.finish()
            self._cache.put(saying, [*whole, *rest])
            CACHE_BYTES.set(self._cache.bytes)
            for piece in rest:
                yield piece
        except HalfbeatError:
            raise
        except Exception as e:
            log.exception("the voice failed", extra={"engine": self._threads.engine.name})
            raise EngineFailed(f"the voice {self._threads.engine.name} failed on this clause") from e
        finally:
            self._threads.tidy(work.close)

    def _saying(self, text: str) -> Saying:
        return Saying.of(text, engine=self._threads.engine.name, voice=self._voice, speed=self._speed)

    async def _next(self, work: "_Work", *, is_wanted: bool) -> Chunk | None:
        if is_wanted:  # when what was made before has sounded
            return await self._threads.run(
                work.next, Deadline(max(self._plays_until_s, asyncio.get_running_loop().time()))
            )
        while (idle_s := self._threads.idle_s) < _IDLE_S:  # noqa: ASYNC110 - idle is a matter of time, not an event
            await asyncio.sleep(_IDLE_S - idle_s)
        return await self._threads.run(work.next, Deadline(WHENEVER_S))

    def _made(self, piece: Piece) -> None:
        now_s = asyncio.get_running_loop().time()
        self._plays_until_s = max(self._plays_until_s, now_s) + len(piece.pcm) / BYTES_PER_SAMPLE / RATE_HZ

    async def _pace(self) -> None:
        ahead_s = self._plays_until_s - asyncio.get_running_loop().time()
        if ahead_s > self._ahead_s:
            await asyncio.sleep(ahead_s - self._ahead_s)


class _Work:
    """One clause on the engine's threads. A piece in progress cannot be stopped, so closing waits for it."""

    def __init__(self, engine: TtsEngine, text: str, voice: str, speed: float, is_hurried: bool) -> None:
        self._engine = engine
        self._pieces = engine.synthesize(text, voice=voice, speed=speed, is_hurried=is_hurried)
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
