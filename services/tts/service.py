"""The tts service on the bus: clauses in, audio out as it is made."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import Any, Self

from halfbeat import subjects, telemetry
from halfbeat.bus import Bus, Delivery
from halfbeat.bus.metrics import count_drop
from halfbeat.engine_service import EngineService
from halfbeat.errors import HalfbeatError, TooFast
from halfbeat.subjects import Kind
from halfbeat.v1 import common_pb2, dialogue_pb2, session_pb2, tts_pb2, turn_pb2
from services.tts.cache import AudioCache
from services.tts.config import TtsSettings
from services.tts.engine import TtsEngine
from services.tts.engines import make_engine
from services.tts.framing import Piece
from services.tts.preparation import Preparation
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
    TurnResumed,
)
from services.tts.voice import Voice

log = logging.getLogger(__name__)


class TtsService(EngineService[TtsEngine]):
    """Loads a voice and serves sessions with it."""

    def __init__(self, settings: TtsSettings, bus: Bus, engine: TtsEngine | None = None) -> None:
        """Takes the settings and a connected bus; `engine` replaces the one of the settings."""
        super().__init__("tts", settings, bus, lambda: engine or make_engine(settings))
        self._settings, self._bus = settings, bus
        self._cache = AudioCache(round(settings.cache_mb * 1e6))
        self._preparing = asyncio.Lock()
        self._openers: Preparation | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._openers = Preparation(self._voice(self._settings.voice), self._preparing)
        self._openers.add(self._settings.prepare)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._openers is not None:
            await self._openers.aclose()
        await super().__aexit__(*exc)

    def describe(self) -> dict[str, Any]:
        """Says which voice speaks here."""
        return {**super().describe(), "sample_rate_hz": self.threads.engine.sample_rate}

    async def _open(self, request: session_pb2.OpenRequest) -> "BusSession":
        voice = self._voice(request.config.voice or self._settings.voice)
        preparation = Preparation(voice, self._preparing)
        return BusSession(self._bus, voice, preparation, request.stamp.epoch, share_ms=self._settings.share_ms)

    def _voice(self, name: str) -> Voice:
        settings = self._settings
        return Voice(self.threads, self._cache, voice=name, speed=settings.speed, ahead_s=settings.ahead_s)


class BusSession:
    """One session: decisions by `SpeechSession`, sound by `Voice`, a task for the clause being spoken."""

    subjects: Sequence[Kind] = (
        subjects.DIALOGUE_CLAUSE,
        subjects.TURN_ENDPOINT,
        subjects.SESSION_EPOCH,
        subjects.TTS_PREPARE,
    )

    def __init__(self, bus: Bus, voice: Voice, preparation: Preparation, epoch: int, *, share_ms: float) -> None:
        self._bus, self._voice, self._preparation, self._share_ms = bus, voice, preparation, share_ms
        self._decisions = SpeechSession(epoch=epoch)
        self._tasks: set[asyncio.Task[None]] = set()
        self._speaking: asyncio.Task[None] | None = None
        self._defect: BaseException | None = None
        self._is_closed = False
        self._newest_epoch = epoch
        self._epoch, self._seq = -1, 0  # of the audio published last
        self._free_since_ns = 0

    async def handle(self, delivery: Delivery) -> None:
        """Takes a clause, what makes clauses void, or what to prepare; never waits for the engine."""
        if self._defect is not None:
            raise self._defect
        message = delivery.message
        stamp = getattr(message, "stamp", None)
        if isinstance(stamp, common_pb2.Stamp) and stamp.epoch > self._newest_epoch:
            self._newest_epoch = stamp.epoch
            self._voice.forget()
        outputs: list[Output] = []
        match message:
            case dialogue_pb2.Clause():
                clause = ClauseReceived(message.stamp, message.index, message.text, origin=delivery)
                outputs = self._decisions.on_event(clause)
            case session_pb2.EpochAdvanced():
                outputs = self._decisions.on_event(EpochAdvanced(message.stamp))
            case turn_pb2.Endpoint(kind=turn_pb2.ENDPOINT_KIND_RESUMED):
                self._voice.forget()  # a draft will not be heard
                outputs = self._decisions.on_event(TurnResumed(message.stamp))
            case tts_pb2.PrepareSpeech():
                self._preparation.add(message.texts)
        self._do(outputs)
        if any(isinstance(output, Stop) for output in outputs):
            telemetry.observe_stop("tts", self._speaking, delivery.received_ns)

    async def aclose(self) -> None:
        """Stops speaking."""
        self._is_closed = True
        await self._preparation.aclose()
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
        is_hurried = self._is_hurried(clause, delivery.received_ns)
        if is_hurried:
            span.set_attribute("halfbeat.over_budget", True)
        is_first = True
        try:
            async with aclosing(self._voice.speak(clause.text, is_hurried=is_hurried)) as pieces:
                async for piece in pieces:
                    residence = work if is_first else None
                    await self._publish(delivery, piece, residence=residence, is_over_budget=is_hurried and is_first)
                    if is_first:
                        telemetry.observe_hop("tts.first_audio", (time.monotonic_ns() - due_ns) / 1e9, span)
                        span.end()
                    is_first = False
        except HalfbeatError as e:
            if is_first:
                telemetry.fail(span, e)
            raise
        finally:
            if is_first:
                span.end()

    def _is_hurried(self, clause: dialogue_pb2.Clause, received_ns: int) -> bool:
        """Whether less than our share of the budget is left for the first sound; what is cached needs no hurry."""
        if not clause.budget_left_ms:  # not the first clause, or nobody waits
            return False
        left_ms = clause.budget_left_ms - (time.monotonic_ns() - received_ns) / 1e6
        return left_ms < self._share_ms and not self._voice.knows(clause.text)

    async def _publish_error(self, delivery: Delivery, error: HalfbeatError) -> None:
        telemetry.ERRORS.labels("tts", common_pb2.ErrorCode.Name(error.code)).inc()
        await self._publish(delivery, Piece(0, b"", is_last=True), error=error.to_message())

    async def _publish(
        self,
        delivery: Delivery,
        piece: Piece,
        *,
        residence: telemetry.Residence | None = None,
        is_over_budget: bool = False,
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
            is_over_budget=is_over_budget,
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
