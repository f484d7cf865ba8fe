"""The asr service on the bus: the caller's audio in, partial and final transcripts out."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from opentelemetry.trace import Span
from prometheus_client import Counter, Histogram

from halfbeat import subjects, telemetry
from halfbeat.audio import RATE_HZ, samples_of
from halfbeat.bus import Bus, Delivery
from halfbeat.bus.metrics import count_drop
from halfbeat.drop import DropReason
from halfbeat.engine_service import EngineService
from halfbeat.engine_threads import Deadline, EngineThreads
from halfbeat.errors import HalfbeatError, InvalidRequest
from halfbeat.fence import Fence
from halfbeat.subjects import Kind
from halfbeat.v1 import asr_pb2, audio_pb2, common_pb2, session_pb2
from services.asr.config import AsrSettings
from services.asr.decoding import Decoded, deadline_of, decoded, now_s
from services.asr.engine import AsrEngine
from services.asr.engines import make_engine
from services.asr.gate import Rejection
from services.asr.session import AsrSession, Decode, Final, Output, Partial, StreamPolicy

log = logging.getLogger(__name__)

DECODE = Histogram(
    "halfbeat_asr_decode_seconds",
    "Engine time of one decode, by what it was for",
    ["engine", "kind"],
    buckets=telemetry.VOICE_BUCKETS,
)
FLUSHES = Counter("halfbeat_asr_flushes_total", "Flushes answered, by whether the words were ready", ["answer"])
REJECTED = Counter("halfbeat_asr_rejected_total", "Pieces of audio without words, by why", ["reason"])
LOST_AUDIO = Counter("halfbeat_asr_lost_audio_seconds_total", "Audio that never came and was taken for silence")
telemetry.from_zero(FLUSHES, "ready", "waited")
telemetry.from_zero(REJECTED, *(rejection.value for rejection in Rejection))


class AsrService(EngineService[AsrEngine]):
    """Loads a recogniser and serves sessions with it."""

    def __init__(self, settings: AsrSettings, bus: Bus, engine: AsrEngine | None = None) -> None:
        """Takes the settings and a connected bus; `engine` replaces the one of the settings."""
        super().__init__("asr", settings, bus, lambda: engine or make_engine(settings))
        self._settings, self._bus = settings, bus

    def describe(self) -> dict[str, Any]:
        """Says which recogniser hears here."""
        return {**super().describe(), "language": self._settings.language}

    async def _open(self, request: session_pb2.OpenRequest) -> "BusSession":
        settings = self._settings
        language = request.config.language.split("-")[0].lower()
        if language not in ("", settings.language):
            raise InvalidRequest(
                f"this worker hears {settings.language!r}, not {language!r}; see HALFBEAT_ASR_LANGUAGE"
            )
        policy = StreamPolicy(interval_ms=settings.partial_interval_ms)
        return BusSession(self._bus, self.threads, policy, request.stamp, trace_pii=settings.trace_pii)


class _FlushInProgress:
    """A flush from its arrival to its final: its stamp, its span, its stopwatch."""

    def __init__(self, delivery: Delivery, stamp: common_pb2.Stamp) -> None:
        self.stamp, self.headers, self.received_ns = stamp, delivery.headers, delivery.received_ns
        self.queue_ms = 0.0
        self.has_decoded = False
        self._span: Span = telemetry.start_span(
            "asr.flush",
            stamp,
            context=telemetry.context_of(delivery.headers),
            start_ns=time.time_ns() - (time.monotonic_ns() - self.received_ns),
        )

    def residence(self) -> common_pb2.Residence:
        """This hop's share of the turn so far."""
        spent_us = (time.monotonic_ns() - self.received_ns) // 1000
        queue_us = min(spent_us, int(self.queue_ms * 1000))
        return common_pb2.Residence(hop="asr", queue_us=queue_us, work_us=spent_us - queue_us)

    def answered(self, text: str, *, trace_pii: bool) -> None:
        """The final is on its way."""
        self._span.set_attribute("halfbeat.asr.was_ready", not self.has_decoded)
        if trace_pii:
            self._span.set_attribute("pii.text", text)
        self._span.end()
        telemetry.observe_hop("asr.flush", (time.monotonic_ns() - self.received_ns) / 1e9, self._span)
        FLUSHES.labels("waited" if self.has_decoded else "ready").inc()

    def failed(self, error: HalfbeatError) -> None:
        """Its decode failed; it is answered with what was known before."""
        telemetry.fail(self._span, error)

    def abandoned(self) -> None:
        """The caller went on talking, or the call is over."""
        self._span.set_attribute("halfbeat.asr.is_void", True)
        self._span.end()


class BusSession:
    """One call: decisions by `AsrSession`, decodes on the engine's threads, at most one wanted at a time."""

    subjects: Sequence[Kind] = (subjects.ASR_AUDIO, subjects.ASR_CONTROL, subjects.SESSION_EPOCH)

    def __init__(
        self,
        bus: Bus,
        threads: EngineThreads[AsrEngine],
        policy: StreamPolicy,
        opened: common_pb2.Stamp,
        *,
        trace_pii: bool = False,
    ) -> None:
        self._bus, self._threads, self._policy, self._trace_pii = bus, threads, policy, trace_pii
        self._decisions = AsrSession(policy)
        self._sid = opened.sid
        self._fence = Fence(opened.epoch, opened.turn, opened.revision)
        self._audio_epoch = opened.epoch
        self._epoch = opened.epoch
        self._seq: dict[tuple[Kind, int], int] = {}
        self._headers: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._decoding: asyncio.Task[None] | None = None
        self._deadline = Deadline()  # of what is being decoded
        self._flush: _FlushInProgress | None = None
        self._failure: BaseException | None = None
        self._lost_samples = 0

    async def handle(self, delivery: Delivery) -> None:
        """Takes audio or a control; never waits for the engine.

        Raises:
            EngineFailed: a decode has failed since the last message; the session goes on.
            InvalidRequest: this message makes no sense; the session goes on.
        """
        message = delivery.message
        if isinstance(message, audio_pb2.AudioFrame):
            await self._on_audio(message)
        elif isinstance(message, asr_pb2.AsrControl):
            await self._on_control(message, delivery)
        elif isinstance(message, session_pb2.EpochAdvanced):
            self._epoch = max(self._epoch, message.stamp.epoch)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        """Wants nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._abandon_flush()

    async def _on_audio(self, frame: audio_pb2.AudioFrame) -> None:
        # Compared with other audio only: an epoch that was announced may overtake frames that are still good.
        if frame.stamp.epoch < self._audio_epoch:
            count_drop(subjects.ASR_AUDIO, DropReason.STALE_EPOCH)
            return
        self._audio_epoch = frame.stamp.epoch
        pcm = samples_of(frame.pcm)
        if len(pcm) > RATE_HZ:
            raise InvalidRequest(f"a frame of {len(pcm)} samples: at most one second at {RATE_HZ} Hz")
        outputs = self._decisions.on_audio(frame.offset_samples, pcm, frame.is_speech, _now_ms())
        lost = self._decisions.lost_samples
        if lost != self._lost_samples:
            LOST_AUDIO.inc((lost - self._lost_samples) / RATE_HZ)
            self._lost_samples = lost
        await self._do(outputs)

    async def _on_control(self, control: asr_pb2.AsrControl, delivery: Delivery) -> None:
        reason = self._fence.stale(control.stamp)
        if reason is not None:
            count_drop(subjects.ASR_CONTROL, reason)
            return
        self._fence.advance(control.stamp)
        self._epoch = max(self._epoch, control.stamp.epoch)
        self._headers = dict(delivery.headers)
        turn = control.stamp.turn
        match control.WhichOneof("command"):
            case "speech_started":
                self._abandon_flush()
                offset = control.speech_started.offset_samples
                await self._do(self._decisions.on_speech_started(turn, offset, _now_ms()))
            case "flush":
                self._abandon_flush()
                self._flush = _FlushInProgress(delivery, control.stamp)
                await self._do(self._decisions.on_flush(turn, control.flush.offset_samples, _now_ms()))
                if self._flush is not None:
                    self._deadline.at_s = now_s()  # of the decode of this pause, if it waits for the engine still
                    self._start(self._tick_after(self._policy.flush_wait_ms + 1))
            case "reset":
                self._abandon_flush()
                await self._do(self._decisions.on_reset())
                self._stop_decoding()
            case _:
                raise InvalidRequest("a control without a command")

    async def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Decode():
                    self._stop_decoding()
                    self._deadline = deadline_of(output)
                    self._decoding = self._start(self._decode(output, self._deadline))
                case Partial():
                    await self._publish_partial(output)
                case Final():
                    await self._publish_final(output)

    async def _decode(self, decode: Decode, deadline: Deadline) -> None:
        try:
            answer = await decoded(self._threads, decode, deadline)
        except HalfbeatError as e:
            log.warning("a decode failed: %s", e, extra={"sid": self._sid})
            self._failure = e  # raised by the next `handle`, which reports it
            if self._flush is not None:
                self._flush.failed(e)
            outputs = self._decisions.on_failed(decode)
        else:
            self._measure(decode, answer)
            recognition = answer.heard.recognition
            outputs = self._decisions.on_recognised(decode, recognition, answer.took_ms, _now_ms())
        self._decoding = None  # so that the next decode does not stop the task that starts it
        await self._do(outputs)

    def _measure(self, decode: Decode, answer: Decoded) -> None:
        DECODE.labels(self._threads.engine.name, decode.purpose).observe(answer.took_ms / 1000)
        if answer.heard.rejection is not None:
            REJECTED.labels(answer.heard.rejection.value).inc()
        if self._flush is not None:
            self._flush.has_decoded = True
            self._flush.queue_ms += answer.queue_ms if decode.is_flush else 0.0

    async def _tick_after(self, delay_ms: float) -> None:
        await asyncio.sleep(delay_ms / 1000)
        await self._do(self._decisions.on_tick(_now_ms()))

    async def _publish_partial(self, partial: Partial) -> None:
        await self._bus.publish(
            subjects.ASR_PARTIAL,
            asr_pb2.Transcript(
                stamp=self._stamp(subjects.ASR_PARTIAL, self._fence.turn, self._fence.revision),
                stable=partial.stable,
                unstable=partial.unstable,
                start_samples=partial.start,
                end_samples=partial.end,
                confidence=partial.confidence,
            ),
            headers=self._headers,
        )

    async def _publish_final(self, final: Final) -> None:
        flush, self._flush = self._flush, None
        if flush is None:
            return
        stamp = self._stamp(subjects.ASR_FINAL, flush.stamp.turn, flush.stamp.revision)
        stamp.residence.extend(flush.stamp.residence)
        stamp.residence.append(flush.residence())
        transcript = asr_pb2.Transcript(
            stamp=stamp,
            stable=final.text,
            is_final=True,
            start_samples=final.start,
            end_samples=final.end,
            confidence=final.confidence,
        )
        try:
            await self._bus.publish(subjects.ASR_FINAL, transcript, headers=flush.headers)
        finally:
            flush.answered(final.text, trace_pii=self._trace_pii)

    def _stamp(self, kind: Kind, turn: int, revision: int) -> common_pb2.Stamp:
        seq = self._seq.get((kind, self._epoch), 0)
        self._seq[kind, self._epoch] = seq + 1
        return common_pb2.Stamp(sid=self._sid, epoch=self._epoch, turn=turn, revision=revision, seq=seq)

    def _abandon_flush(self) -> None:
        flush, self._flush = self._flush, None
        if flush is not None:
            flush.abandoned()

    def _stop_decoding(self) -> None:
        if self._decoding is not None:
            self._decoding.cancel()
            self._decoding = None

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"asr-{self._sid}")
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()  # a defect or the bus: raised by the next `handle`


def _now_ms() -> float:
    return time.monotonic_ns() / 1e6
