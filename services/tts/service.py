"""The tts service on the bus: clauses in, audio out as it is made."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Self

from aiohttp import web
from opentelemetry.trace import Span
from prometheus_client import Counter, Histogram

from halfbeat import subjects, telemetry
from halfbeat.bus import Bus, Delivery
from halfbeat.errors import EngineFailed, HalfbeatError, TooFast
from halfbeat.v1 import common_pb2, dialogue_pb2, session_pb2, tts_pb2
from halfbeat.worker import Worker
from services.tts.config import TtsSettings
from services.tts.engine import Chunk, TtsEngine
from services.tts.engines import make_engine
from services.tts.framing import RATE, ClauseAudio, Piece
from services.tts.session import (
    Answer,
    ClauseEnded,
    ClauseReceived,
    Drop,
    EpochAdvanced,
    Output,
    Refuse,
    Speak,
    SpeechSession,
    Stop,
)
from services.tts.turnstile import Turnstile

log = logging.getLogger(__name__)

DROPPED = Counter("halfbeat_tts_clauses_dropped_total", "Clauses not spoken, by reason", ["reason"])
REALTIME_FACTOR = Histogram(
    "halfbeat_tts_realtime_factor",
    "Engine time for a second of audio, per clause",
    ["engine"],
    buckets=(0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 2.0),
)


class TtsService:
    """Loads a voice and serves sessions with it."""

    def __init__(self, settings: TtsSettings, bus: Bus, engine: TtsEngine | None = None) -> None:
        """Takes the settings and a connected bus; tests hand in an engine."""
        self._settings, self._bus = settings, bus
        self._engine = engine
        self._threads = ThreadPoolExecutor(settings.workers, thread_name_prefix="tts-engine")
        self._turnstile = Turnstile(settings.workers)
        self._worker = Worker(bus, "tts", self._open, name=settings.name, slots=settings.slots)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        engine = self._engine or make_engine(self._settings)
        await loop.run_in_executor(self._threads, engine.load)
        self._engine = engine
        log.info("voice loaded", extra={"engine": engine.name, "rate": engine.sample_rate})
        await self._worker.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._worker.__aexit__(*exc)
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def drain(self) -> None:
        """Refuses new sessions and returns when the last has closed."""
        await self._worker.drain()

    def add_routes(self, app: web.Application) -> None:
        """Has no routes of its own."""

    async def _open(self, request: session_pb2.OpenRequest) -> "BusSession":
        assert self._engine is not None
        voice = Voice(self._engine, self._threads, self._turnstile, self._settings, request.config.voice)
        return BusSession(self._bus, voice, request.stamp)


class Voice:
    """The engine as one session uses it: on the engine's threads, piece by piece, not too far ahead."""

    def __init__(
        self, engine: TtsEngine, threads: ThreadPoolExecutor, turnstile: Turnstile, settings: TtsSettings, voice: str
    ) -> None:
        self._engine, self._threads, self._turnstile, self._settings = engine, threads, turnstile, settings
        self._voice = voice or settings.voice
        self._played_until_s = 0.0  # when what has been made will have sounded, if it sounds without a gap

    @property
    def sample_rate(self) -> int:
        return self._engine.sample_rate

    def void(self) -> None:
        """What was made will not be heard, so the next piece is urgent."""
        self._played_until_s = 0.0

    async def speak(self, text: str) -> AsyncIterator[Chunk]:
        """Yields the clause's pieces. Raises `EngineFailed`; closing it stops the engine before its next piece."""
        # An audio cache belongs here: by (engine, voice, speed, text), for openers and fillers.
        loop = asyncio.get_running_loop()
        pieces = self._engine.synthesize(text, voice=self._voice, speed=self._settings.speed)
        busy = threading.Lock()
        work_s, audio_s = 0.0, 0.0

        def advance() -> Chunk | None:
            nonlocal work_s
            with busy:
                began_s = time.monotonic()
                chunk = next(pieces, None)
                work_s += time.monotonic() - began_s
                return chunk

        def close() -> None:
            with busy:  # a piece in progress cannot be stopped; its generator can after it
                getattr(pieces, "close", lambda: None)()

        try:
            while True:
                ahead_s = self._played_until_s - loop.time()
                if ahead_s > self._settings.ahead_s:
                    await asyncio.sleep(ahead_s - self._settings.ahead_s)
                async with self._turnstile.turn(max(self._played_until_s, loop.time())):
                    chunk = await loop.run_in_executor(self._threads, advance)
                if chunk is None:
                    break
                seconds = len(chunk.samples) / self.sample_rate
                audio_s += seconds
                self._played_until_s = max(self._played_until_s, loop.time()) + seconds
                yield chunk
        except HalfbeatError:
            raise
        except Exception as e:
            log.exception("the voice failed", extra={"engine": self._engine.name})
            raise EngineFailed(f"the voice {self._engine.name} failed on this clause") from e
        finally:
            with suppress(RuntimeError):  # the threads are gone when the service stops
                self._threads.submit(close)
            if audio_s:
                REALTIME_FACTOR.labels(self._engine.name).observe(work_s / audio_s)


class BusSession:
    """One session: decisions by `SpeechSession`, sound by `Voice`, one task for the clause being spoken."""

    subjects: Sequence[subjects.Kind] = (subjects.DIALOGUE_CLAUSE, subjects.SESSION_EPOCH)

    def __init__(self, bus: Bus, voice: Voice, stamp: common_pb2.Stamp) -> None:
        self._bus, self._voice = bus, voice
        self._decisions = SpeechSession()
        self._decisions.on_event(EpochAdvanced(stamp.epoch))
        self._received: dict[tuple[Answer, int], Delivery] = {}
        self._speaking: asyncio.Task[None] | None = None
        self._epoch, self._seq = -1, 0
        self._idle_since_ns = 0

    async def handle(self, delivery: Delivery) -> None:
        """Takes a clause or a new epoch; never waits for the engine."""
        message = delivery.message
        if isinstance(message, session_pb2.EpochAdvanced):
            await self._do(self._decisions.on_event(EpochAdvanced(message.stamp.epoch)))
        elif isinstance(message, dialogue_pb2.Clause):
            stamp = message.stamp
            clause = ClauseReceived(Answer(stamp.epoch, stamp.turn, stamp.revision), message.index, message.text)
            self._received.setdefault((clause.answer, clause.index), delivery)
            await self._do(self._decisions.on_event(clause))

    async def aclose(self) -> None:
        """Stops speaking."""
        task, self._speaking = self._speaking, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Speak(clause):
                    delivery = self._received.pop((clause.answer, clause.index))
                    self._speaking = asyncio.create_task(self._speak(clause, delivery), name="tts-clause")
                case Stop():
                    self._voice.void()
                    if self._speaking is not None:
                        self._speaking.cancel()
                case Drop(clause, reason):
                    DROPPED.labels(reason).inc()
                    if reason != "duplicate":
                        self._received.pop((clause.answer, clause.index), None)
                case Refuse(clause):
                    DROPPED.labels("queue_full").inc()
                    delivery = self._received.pop((clause.answer, clause.index))
                    error = TooFast("more than a minute of speech waits already").to_message()
                    await self._publish(delivery, Piece(0, b"", is_last=True), error=error)

    async def _speak(self, clause: ClauseReceived, delivery: Delivery) -> None:
        """Speaks one clause, then whatever is next."""
        try:
            await self._publish_audio(clause, delivery)
        except HalfbeatError as e:
            log.warning("a clause was not spoken: %s", e, extra={"sid": delivery.sid})
            telemetry.ERRORS.labels("tts", common_pb2.ErrorCode.Name(e.code)).inc()
            with suppress(HalfbeatError):  # the bus itself may be what failed
                await self._publish(delivery, Piece(0, b"", is_last=True), error=e.to_message())
        except asyncio.CancelledError:
            if self._speaking is None:  # closed, not stopped
                raise
        self._idle_since_ns = time.monotonic_ns()
        await self._do(self._decisions.on_event(ClauseEnded()))

    async def _publish_audio(self, clause: ClauseReceived, delivery: Delivery) -> None:
        audio = ClauseAudio(self._voice.sample_rate)
        # A clause that waited behind another of its answer is not late by that wait.
        due_ns = max(delivery.received_ns, self._idle_since_ns) if clause.index else delivery.received_ns
        waited_ns = max(0, time.monotonic_ns() - due_ns)
        residence = telemetry.Residence("tts", due_ns)
        residence.start()
        span: Span | None = telemetry.start_span(
            "tts.first_audio",
            _message(delivery).stamp,
            context=telemetry.context_of(delivery.headers),
            start_ns=time.time_ns() - waited_ns,
        )
        assert span is not None
        span.set_attribute("halfbeat.clause", clause.index)
        try:
            async with aclosing(self._voice.speak(clause.text)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    for piece in audio.push(chunk):
                        await self._publish(delivery, piece, residence=residence if span else None)
                        if span is not None:
                            telemetry.observe_hop("tts.first_audio", (time.monotonic_ns() - due_ns) / 1e9)
                            span.end()
                            span = None
            for piece in audio.finish():
                await self._publish(delivery, piece)
        finally:
            if span is not None:
                span.end()

    async def _publish(
        self,
        delivery: Delivery,
        piece: Piece,
        *,
        residence: telemetry.Residence | None = None,
        error: common_pb2.Error | None = None,
    ) -> None:
        clause = _message(delivery)
        if clause.stamp.epoch != self._epoch:
            self._epoch, self._seq = clause.stamp.epoch, 0
        stamp = common_pb2.Stamp(
            sid=delivery.sid,
            epoch=clause.stamp.epoch,
            turn=clause.stamp.turn,
            revision=clause.stamp.revision,
            seq=self._seq,
        )
        self._seq += 1
        if residence is not None:
            stamp.residence.extend(clause.stamp.residence)
            residence.stamp_on(stamp)
        message = tts_pb2.SpeechAudio(
            stamp=stamp,
            clause=clause.index,
            offset_samples=piece.offset_samples,
            pcm=piece.pcm,
            words=[
                tts_pb2.WordTiming(
                    char_start=w.char_start,
                    char_end=w.char_end,
                    start_samples=w.start_samples,
                    end_samples=w.end_samples,
                )
                for w in piece.words
            ],
            is_last=piece.is_last,
        )
        if error is not None:
            message.error.CopyFrom(error)
        await self._bus.publish(subjects.TTS_AUDIO, message, headers=delivery.headers)


def _message(delivery: Delivery) -> dialogue_pb2.Clause:
    assert isinstance(delivery.message, dialogue_pb2.Clause)
    return delivery.message


assert RATE == 16_000  # what SpeechAudio promises
