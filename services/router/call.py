"""One call: the shell around the floor, the ear and the playout. It moves events; it decides nothing.

edge ──receive_audio──> Intake ─> Line ─> Ear ──frames──> asr               tasks: _listen (ear), _follow (control),
                                           └──windows──> Floor ──outputs──> bus     _take_speech (tts audio),
edge <──events── Playout <──audio── tts   dialogue ──clauses──┘                     _speak (pacer), Outbox.send,
                                                                                    _tick, Lease.keep
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress

from google.protobuf.message import Message

from halfbeat import subjects, telemetry
from halfbeat.bus import Bus, Delivery, Subscription
from halfbeat.clock import NS_PER_S, Clock
from halfbeat.errors import HalfbeatError, InternalError, InvalidRequest, TimedOut, TooFast, Unavailable
from halfbeat.v1 import asr_pb2, common_pb2, dialogue_pb2, session_pb2, tts_pb2
from services.router import counters, edge, placement
from services.router import floor_events as fe
from services.router.alarm import Alarm
from services.router.cleaner import Cleaner, Line
from services.router.client_tools import ClientTools
from services.router.config import RouterSettings
from services.router.detector import TurnEnd
from services.router.ear import Ear, Heard, Intake
from services.router.edge import Cleaning
from services.router.endpoint import VoiceActivity
from services.router.engine import Models
from services.router.floor import Floor
from services.router.heartbeat import Heartbeats
from services.router.lease import Lease
from services.router.outbox import EventQueue, Outbox
from services.router.performer import Performer
from services.router.wire import Wire, event_of, words_of

log = logging.getLogger(__name__)

CONTROL = (
    *(subjects.ASR_PARTIAL, subjects.ASR_FINAL, subjects.TOOL_CALL, subjects.TOOL_RESULT),
    *(subjects.DIALOGUE_CLAUSE, subjects.DIALOGUE_VOID, subjects.DIALOGUE_DONE),
    *subjects.STATUS.values(),
)
#: Wishes of a client that may wait behind its audio.
MAX_WISHES = 500
TICK_S = 0.2
#: A client's burst is worked off at this many times real time, so that neither this loop nor asr is flooded.
CATCH_UP = 8
_BACKLOG_MS = 120


class Call:
    """Implements `services.router.edge.LiveCall`. Make it, `await open()`, then `run()` in a task of its own."""

    def __init__(
        self,
        sid: str,
        config: session_pb2.SessionConfig,
        fmt: edge.EdgeFormat,
        bus: Bus,
        settings: RouterSettings,
        models: Models,
        clock: Clock,
    ) -> None:
        """Takes everything it needs; acquires nothing yet.

        Raises:
            InvalidRequest: the edge's sample rate is not one that halfbeat speaks.
        """
        if fmt.sample_rate_hz not in (8000, 16_000, 24_000, 48_000):
            raise InvalidRequest(f"sample rate {fmt.sample_rate_hz} Hz; 8000, 16000, 24000 or 48000")
        self._sid, self.config, self.format = sid, config, fmt
        self._bus, self.settings, self.models, self.clock = bus, settings, models, clock
        now_ns = clock.now_ns()
        turn_end = TurnEnd(settings.endpoint(), config.language or "en")
        self.floor = Floor(settings.floor(config.language), turn_end, fmt, now_ns)
        self._intake = Intake(fmt.sample_rate_hz)
        self.ear = Ear(fmt.sample_rate_hz, models.voice_detector(), VoiceActivity(settings.voice()))
        self.line: Line | None = None
        self._is_clear: bool | None = None
        self._inbox: deque[fe.FloorEvent | str] = deque()
        self._wake_ear, self._wake_mouth = asyncio.Event(), asyncio.Event()
        self._outbox, self._events = Outbox(bus), EventQueue()
        self._heartbeats = Heartbeats((), settings.worker_timeout_s, now_ns)
        self.wire = Wire(sid)
        self.performer = Performer(self)
        self._input_begin = 0
        self._has_input = False
        self._is_too_fast = False
        self._client_tools = ClientTools(self.wire)
        self._ended: edge.Ended | None = None
        self._stop = asyncio.Event()
        self._alarm = Alarm(self._on_due)
        self._subscriptions: list[Subscription] = []
        self.workers: dict[str, str] = {}
        self.started_at = time.time()

    # --- the call's life --------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Subscribes and places the session on workers. Raises as `services.router.edge.Calls.open` says."""
        try:
            self.line = self._line(self.models.cleaner)
            for wanted, ring in ((CONTROL, 512), ((subjects.TTS_AUDIO,), 2048)):
                names = [kind.of(self._sid) for kind in wanted]
                self._subscriptions.append(await self._bus.subscribe(names, ring_messages=ring))
            self.workers = await placement.place(
                self._bus,
                self._sid,
                self.config,
                attempts=self.settings.open_attempts,
                timeout_s=self.settings.open_timeout_s,
            )
        except BaseException:
            self._close_line()
            await self._unsubscribe()
            raise

    async def run(self) -> None:
        """Holds the call to its end; whatever happens, workers are told, and `Ended` is the last event."""
        error: common_pb2.Error | None = None
        lease = Lease(self._bus, self._sid, self.settings.name, self._state, self.clock, self.settings.lease_s)
        works = (self._listen, self._follow, self._take_speech, self._speak, self._outbox.send, self._tick, lease.keep)
        try:
            async with asyncio.TaskGroup() as group:
                self.performer.group = group
                tasks = [group.create_task(self.guarded(work)) for work in works]
                self._heartbeats = Heartbeats(self.workers, self.settings.worker_timeout_s, self.clock.now_ns())
                self._on_echo()
                self.feed(fe.CallBegan(self.config.has_opening))
                await self._stop.wait()
                await self._outbox.flush()
                for task in (*tasks, *self.performer.questions):
                    task.cancel()
        except* Exception:
            log.exception("a call failed", extra={"sid": self._sid, **self.performer.trace_ids})
            error = InternalError("the router failed on this call").to_message()
        finally:
            await self._close(error)

    async def guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Runs one of the call's tasks; its failure ends the call in the regular way, telling the edge why."""
        try:
            await work()
        except HalfbeatError as e:
            self.fail(e)
        except Exception:
            log.exception("a call failed", extra={"sid": self._sid, **self.performer.trace_ids})
            self.fail(InternalError("the router failed on this call"))

    def _line(self, cleaner: Cleaner | None) -> Line | None:
        """What the audio goes through before it is listened to: as much as the router offers and the edge wants."""
        wanted = {self.settings.cleaning, self.format.cleaning}
        if cleaner is None or Cleaning.NOTHING in wanted:
            return None
        return cleaner.line(self.format.sample_rate_hz, hears_agent=Cleaning.NOISE not in wanted)

    def _close_line(self) -> None:
        if self.line is not None:
            self.line.close()
            self.line = None

    def _on_echo(self) -> None:
        """Tells the floor when the agent's echo has gone, or may be back."""
        is_clear = self.line.is_clear if self.line is not None else None
        if is_clear != self._is_clear:
            self._is_clear = is_clear
            self.feed(fe.EchoMeasured(is_clear))

    async def _close(self, error: common_pb2.Error | None) -> None:
        ended = self._ended or edge.Ended("router", error)
        await self._unsubscribe()
        await placement.close(self._bus, self._sid, by=ended.by, error=ended.error, epoch=self.floor.epoch)
        self._close_line()
        counters.count_ended(ended.by, None if ended.error is None else ended.error.code)
        self._events.close(ended)

    async def _unsubscribe(self) -> None:
        for subscription in self._subscriptions:
            with suppress(HalfbeatError):
                await subscription.aclose()
        self._subscriptions.clear()

    def _state(self) -> Mapping[str, object]:
        return {
            "router": self.settings.name,
            "workers": self.workers,
            "application": self.config.application,
            "epoch": self.floor.epoch,
            "turn": self.floor.turn,
            "started_at": self.started_at,
        }

    # --- what the edge asks (services.router.edge.LiveCall) ---------------------------------------------------------

    @property
    def sid(self) -> str:
        return self._sid

    def events(self) -> AsyncIterator[edge.CallEvent]:
        return self._events.read()

    def receive_audio(self, pcm: bytes) -> None:
        try:
            self._intake.put(pcm, self.clock.now_ns())
        except TooFast as e:
            counters.DROPPED.labels("too_fast").inc()
            if not self._is_too_fast:
                self._is_too_fast = True
                self.tell(edge.Failed(e.to_message()))
            raise
        self._has_input = self._has_input or bool(pcm)
        self._wake_ear.set()

    def played(self, samples: int) -> None:
        if samples < 0:
            raise InvalidRequest("played a negative number of samples")
        self.performer.playout.played(samples, self.clock.now_ns())
        if self.line is not None:
            self.line.acknowledged(samples, self._intake.taken_samples)
        self._wake_mouth.set()

    def send_text(self, text: str) -> None:
        self._queue(fe.TextSent(text))

    def add_text(self, text: str) -> None:
        self._queue(fe.TextAdded(text))

    def commit_input(self) -> None:
        if not self._has_input:
            raise InvalidRequest("there is no audio to commit")
        self._has_input = False
        self._queue("commit")

    def clear_input(self) -> None:
        self._has_input = False
        self._intake.clear()
        self._queue("clear")

    def create_response(self, instructions: str = "") -> None:
        self._queue(fe.AnswerRequested(instructions))

    def interrupt(self) -> None:
        self.feed(fe.StopRequested())

    def truncate(self, turn: int, played_ms: int) -> None:
        mark = self.performer.playout.truncated(turn, max(0, played_ms))
        if mark is not None:
            self.publish(subjects.TURN_HEARD, self.wire.heard(mark))

    def return_tool(self, call_id: str, output_json: str) -> None:
        self.publish(subjects.TOOL_RESULT, self._client_tools.returned(call_id, output_json))

    def update(self, config: session_pb2.SessionConfig, fmt: edge.EdgeFormat) -> None:
        if fmt.sample_rate_hz != self.format.sample_rate_hz:
            raise InvalidRequest("the sample rate cannot change during a call")
        if config != self.config:
            self.config = config
            stamp = self.wire.stamp(subjects.SESSION_UPDATE, self.floor.epoch, self.floor.turn, 0)
            self.publish(subjects.SESSION_UPDATE, session_pb2.SessionUpdated(stamp=stamp, config=config))
        if fmt != self.format:
            has_other_cleaning = fmt.cleaning is not self.format.cleaning
            self.format = fmt
            if has_other_cleaning:
                self._close_line()
                self.line = self._line(self.models.cleaner)
                self._on_echo()
            self._queue(fe.FormatChanged(fmt))

    def end(self, by: str = "caller") -> None:
        self.feed(fe.CallLost(by))
        self._stop.set()

    # --- the ways between the parts ---------------------------------------------------------------------------------

    def feed(self, event: fe.FloorEvent) -> None:
        """Tells the floor and does what it says."""
        now_ns = self.clock.now_ns()
        outputs = self.floor.on_event(event, now_ns)
        for output in outputs:
            self.performer.perform(output, now_ns)
        if any(isinstance(output, fe.Commit) and output.adopts_draft for output in outputs):
            self.performer.play(now_ns)  # what is ready leaves now, not after whoever else wants the loop
        self._alarm.set(self.floor.due_ns, now_ns)
        if outputs or isinstance(event, fe.AnswerEnded):
            self._wake_mouth.set()

    def _on_due(self) -> None:
        """Speech has paused, or a turn is over, between two windows of audio."""
        try:
            self.feed(fe.Ticked())
        except HalfbeatError as e:
            self.fail(e)

    def fail(self, error: HalfbeatError, by: str = "router") -> None:
        """Ends the call with an error; `by` is "client" where nobody but the client can help it."""
        telemetry.ERRORS.labels("router", common_pb2.ErrorCode.Name(error.code)).inc()
        log.warning("the call fails: %s", error, extra={"sid": self._sid, "by": by, **self.performer.trace_ids})
        self.feed(fe.CallLost(by, error.to_message()))
        self._stop.set()

    def finish(self, by: str, error: common_pb2.Error | None) -> None:
        """The floor has ended the call."""
        self._ended = edge.Ended(by, error)
        self._stop.set()

    def publish(self, kind: subjects.Kind, message: Message, headers: Mapping[str, str] | None = None) -> None:
        self._outbox.put(kind, message, headers or {})

    def tell(self, event: edge.CallEvent) -> None:
        """Hands an event to the edge; a client that does not read ends its own call and nothing else."""
        try:
            self._events.put(event)
        except TimedOut as e:
            counters.DROPPED.labels("client_not_reading").inc()
            asyncio.get_running_loop().call_soon(self.fail, e, "client")

    def input_taken(self) -> None:
        """A spoken turn was committed: what the client sends from now on belongs to the next."""
        self._input_begin = self.ear.ring.end
        self._has_input = self._intake.waiting_ms > 0

    def _queue(self, event: fe.FloorEvent | str) -> None:
        """Keeps a wish in order behind the audio that came before it."""
        if len(self._inbox) >= MAX_WISHES:
            raise TooFast("too many requests wait")
        self._inbox.append(event)
        self._intake.mark()
        self._wake_ear.set()

    async def _listen(self) -> None:
        """Works off the caller's audio and wishes, in order."""
        while True:
            item = self._intake.take()
            if item is None:
                self._wake_ear.clear()
                await self._wake_ear.wait()
                continue
            pcm, received_ns = item
            if pcm is None:
                await self._publish_audio(self.ear.release())
                self._do_wish(self._inbox.popleft())
                continue
            inside = words = self.ear.convert(pcm)
            if (line := self.line) is not None:
                try:
                    inside, words = await line.clean(inside, received_ns)
                    received_ns -= line.delay_ns
                except Exception:
                    # A call with echo is better than none.
                    log.exception("echo and noise stay in a call", extra={"sid": self._sid})
                    self._close_line()
                self._on_echo()
            frames, voices = self.ear.hear(inside, received_ns, words)
            await self._publish_audio(frames)
            for voice in voices:
                self.feed(fe.VoiceWindow(voice, self.ear.time_of(voice.end_samples)))
            if self._intake.waiting_ms > _BACKLOG_MS:
                await self.clock.sleep(0.02 / CATCH_UP)

    async def _publish_audio(self, frames: list[Heard]) -> None:
        for frame in frames:
            utterance, floor = self.floor.utterance, self.floor
            turn, revision = (utterance.turn, utterance.revision) if utterance else (floor.turn, 0)
            await self._bus.publish(subjects.ASR_AUDIO, self.wire.audio(frame, floor.epoch, turn, revision))

    def _do_wish(self, wish: fe.FloorEvent | str) -> None:
        end = self.ear.ring.end
        if wish == "commit":
            self.feed(fe.InputCommitted(self._input_begin, end))
            self._input_begin = end
        elif wish == "clear":
            self.feed(fe.InputCleared())
            self._input_begin = end
        elif not isinstance(wish, str):
            self.feed(wish)

    async def _follow(self) -> None:
        """Takes what asr and dialogue say."""
        async for delivery in self._subscriptions[0]:
            self._on_control(delivery)
        raise Unavailable("the subscription ended")

    def _on_control(self, delivery: Delivery) -> None:
        message = delivery.message
        match message:
            case asr_pb2.Transcript() | dialogue_pb2.DraftVoided():
                self.feed(event_of(message))
            case dialogue_pb2.Clause():
                self.performer.on_clause(message)
            case dialogue_pb2.AnswerDone():
                self.performer.on_answer_done(message)
            case dialogue_pb2.ToolCall():
                if self.performer.on_tool_call(message) and message.is_client:
                    self._client_tools.called(message)
            case dialogue_pb2.ToolResult():
                self.performer.on_tool_result(message)
            case session_pb2.WorkerStatus():
                self._on_status(message)

    def _on_status(self, status: session_pb2.WorkerStatus) -> None:
        self._heartbeats.heard(status.service, self.clock.now_ns())
        if status.is_closed:
            error = status.error if status.HasField("error") else None
            text = f"{status.service} worker {status.worker} let go of the call"
            self.fail(Unavailable(f"{text}: {error.message}" if error else text))
        elif status.HasField("error"):
            self.tell(edge.Failed(status.error))

    async def _take_speech(self) -> None:
        """Takes the agent's audio."""
        async for delivery in self._subscriptions[1]:
            message = delivery.message
            assert isinstance(message, tts_pb2.SpeechAudio)
            if self.performer.on_speech(message, words_of(message)):
                self._wake_mouth.set()
        raise Unavailable("the subscription ended")

    async def _speak(self) -> None:
        """Paces the agent's audio."""
        while True:
            now_ns = self.clock.now_ns()
            self.performer.play(now_ns)
            next_ns = self.performer.playout.next_ns(now_ns)
            if next_ns is None:
                self._wake_mouth.clear()
                await self._wake_mouth.wait()
            else:
                await self.clock.sleep(max(0.001, (next_ns - self.clock.now_ns()) / NS_PER_S))

    async def _tick(self) -> None:
        """Lets time pass and watches the workers' heartbeats."""
        while True:
            await self.clock.sleep(TICK_S)
            self.feed(fe.Ticked())
            lost = self._heartbeats.lost(self.clock.now_ns())
            if lost is not None:
                silent = f"silent for {self.settings.worker_timeout_s} s"
                raise Unavailable(f"{lost} worker {self.workers.get(lost, '')} has been {silent}")
