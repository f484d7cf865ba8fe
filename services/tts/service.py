"""The tts service on the bus: clauses in, audio out as it is made."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import Any, Self

from aiohttp import web

from halfbeat import subjects, telemetry
from halfbeat.bus import Bus, Delivery
from halfbeat.bus.metrics import count_drop
from halfbeat.errors import HalfbeatError, TooFast
from halfbeat.subjects import Kind
from halfbeat.v1 import common_pb2, dialogue_pb2, session_pb2, tts_pb2
from halfbeat.worker import Worker
from services.tts.config import TtsSettings
from services.tts.engine import TtsEngine
from services.tts.engines import make_engine
from services.tts.framing import ClauseAudio, Piece
from services.tts.session import (
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
from services.tts.voice import EnginePool, Voice

log = logging.getLogger(__name__)


class TtsService:
    """Loads a voice and serves sessions with it."""

    def __init__(self, settings: TtsSettings, bus: Bus, engine: TtsEngine | None = None) -> None:
        """Takes the settings and a connected bus; `engine` replaces the one of the settings."""
        self._settings, self._bus = settings, bus
        self._engine = engine
        self._pool: EnginePool | None = None
        self._worker = Worker(bus, "tts", self._open, name=settings.name, slots=settings.slots)

    async def __aenter__(self) -> Self:
        engine = self._engine or make_engine(self._settings)
        self._pool = EnginePool(engine, workers=self._settings.workers)
        try:
            await self._pool.load()
            await self._worker.__aenter__()
        except BaseException:
            await self._pool.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._worker.__aexit__(*exc)
        if self._pool is not None:
            await self._pool.aclose()

    async def drain(self) -> None:
        """Refuses new sessions and returns when the last has closed."""
        await self._worker.drain()

    def add_routes(self, app: web.Application) -> None:
        """Has no routes of its own."""

    def describe(self) -> dict[str, Any]:
        """Says which voice speaks here."""
        assert self._pool is not None
        engine = self._pool.engine
        return {"engine": engine.name, "sample_rate_hz": engine.sample_rate, "slots": self._settings.slots}

    async def _open(self, request: session_pb2.OpenRequest) -> "BusSession":
        assert self._pool is not None
        settings = self._settings
        voice = Voice(
            self._pool,
            voice=request.config.voice or settings.voice,
            speed=settings.speed,
            ahead_s=settings.ahead_s,
        )
        return BusSession(self._bus, voice, request.stamp.epoch)


class BusSession:
    """One session: decisions by `SpeechSession`, sound by `Voice`, a task for the clause being spoken."""

    subjects: Sequence[Kind] = (subjects.DIALOGUE_CLAUSE, subjects.SESSION_EPOCH)

    def __init__(self, bus: Bus, voice: Voice, epoch: int) -> None:
        self._bus, self._voice = bus, voice
        self._decisions = SpeechSession(epoch=epoch)
        self._tasks: set[asyncio.Task[None]] = set()
        self._speaking: asyncio.Task[None] | None = None
        self._defect: BaseException | None = None
        self._is_closed = False
        self._newest_epoch = epoch
        self._epoch, self._seq = -1, 0  # of the audio published last
        self._free_since_ns = 0

    async def handle(self, delivery: Delivery) -> None:
        """Takes a clause or a new epoch; never waits for the engine."""
        if self._defect is not None:
            raise self._defect
        message = delivery.message
        assert isinstance(message, session_pb2.EpochAdvanced | dialogue_pb2.Clause)
        if message.stamp.epoch > self._newest_epoch:
            self._newest_epoch = message.stamp.epoch
            self._voice.forget()
        if isinstance(message, session_pb2.EpochAdvanced):
            self._do(self._decisions.on_event(EpochAdvanced(message.stamp)))
        else:
            clause = ClauseReceived(message.stamp, message.index, message.text, origin=delivery)
            self._do(self._decisions.on_event(clause))

    async def aclose(self) -> None:
        """Stops speaking."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Speak(clause):
                    self._speaking = self._start(self._speak(_origin(clause)))
                    self._speaking.add_done_callback(self._on_ended)
                case Stop(reason):
                    count_drop(subjects.DIALOGUE_CLAUSE, reason)
                    if self._speaking is not None:
                        self._speaking.cancel()
                case Drop(_, reason):
                    count_drop(subjects.DIALOGUE_CLAUSE, reason)
                case Refuse(clause):
                    error = TooFast("a minute of speech waits already; this clause is not spoken")
                    self._start(self._publish_error(_origin(clause), error))

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work, name="tts-clause")
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._defect = task.exception()  # raised by the next `handle`, which ends the session

    def _on_ended(self, _: asyncio.Task[None]) -> None:
        self._free_since_ns = time.monotonic_ns()
        if not self._is_closed:
            self._do(self._decisions.on_event(ClauseEnded()))

    async def _speak(self, delivery: Delivery) -> None:
        try:
            await self._publish_audio(delivery)
        except HalfbeatError as e:
            log.warning("a clause was not spoken: %s", e, extra={"sid": delivery.sid})
            with suppress(HalfbeatError):  # the bus itself may be what failed
                await self._publish_error(delivery, e)

    async def _publish_audio(self, delivery: Delivery) -> None:
        clause = _clause(delivery)
        # What a clause waited behind another of its own answer is not a delay that anybody hears.
        due_ns = max(delivery.received_ns, self._free_since_ns) if clause.index else delivery.received_ns
        work = telemetry.Residence("tts", due_ns)
        work.start()
        span = telemetry.start_span(
            "tts.first_audio",
            clause.stamp,
            context=telemetry.context_of(delivery.headers),
            start_ns=time.time_ns() - (time.monotonic_ns() - due_ns),
        )
        span.set_attribute("halfbeat.clause", clause.index)
        audio = ClauseAudio(self._voice.sample_rate)
        is_first = True
        try:
            async with aclosing(self._voice.speak(clause.text)) as chunks:
                async for chunk in chunks:
                    for piece in audio.push(chunk):
                        await self._publish(delivery, piece, residence=work if is_first else None)
                        if is_first:
                            telemetry.observe_hop("tts.first_audio", (time.monotonic_ns() - due_ns) / 1e9)
                            span.end()
                        is_first = False
            for piece in audio.finish():
                await self._publish(delivery, piece)
        finally:
            if is_first:
                span.end()

    async def _publish_error(self, delivery: Delivery, error: HalfbeatError) -> None:
        telemetry.ERRORS.labels("tts", common_pb2.ErrorCode.Name(error.code)).inc()
        await self._publish(delivery, Piece(0, b"", is_last=True), error=error.to_message())

    async def _publish(
        self,
        delivery: Delivery,
        piece: Piece,
        *,
        residence: telemetry.Residence | None = None,
        error: common_pb2.Error | None = None,
    ) -> None:
        clause = _clause(delivery)
        message = tts_pb2.SpeechAudio(
            stamp=self._stamp(clause.stamp),
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
            error=error,
        )
        if residence is not None:
            message.stamp.residence.extend(clause.stamp.residence)
            residence.stamp_on(message.stamp)
        await self._bus.publish(subjects.TTS_AUDIO, message, headers=delivery.headers)

    def _stamp(self, of: common_pb2.Stamp) -> common_pb2.Stamp:
        """The clause's own stamp with our next number within its epoch."""
        self._seq = self._seq + 1 if of.epoch == self._epoch else 0
        self._epoch = of.epoch
        return common_pb2.Stamp(sid=of.sid, epoch=of.epoch, turn=of.turn, revision=of.revision, seq=self._seq)


def _origin(clause: ClauseReceived) -> Delivery:
    assert isinstance(clause.origin, Delivery)
    return clause.origin


def _clause(delivery: Delivery) -> dialogue_pb2.Clause:
    assert isinstance(delivery.message, dialogue_pb2.Clause)
    return delivery.message
