"""One call on the bus: messages become events of the session, its outputs become messages, streams and tool runs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from halfbeat import subjects, telemetry
from halfbeat.application import Application, Call
from halfbeat.bus import Bus, Delivery, KeyValue
from halfbeat.bus.metrics import count_drop
from halfbeat.errors import HalfbeatError
from halfbeat.subjects import Kind
from halfbeat.v1 import asr_pb2, common_pb2, dialogue_pb2, session_pb2, turn_pb2
from services.dialogue.answer import fixed_clauses
from services.dialogue.config import DialogueSettings
from services.dialogue.counters import DRAFTS, WITHHELD, count_tokens
from services.dialogue.engine import Delta, LlmEngine, Sampling
from services.dialogue.generation import Generation
from services.dialogue.outputs import (
    AnswerKey,
    Ask,
    CancelTool,
    DraftEnded,
    Dropped,
    Finish,
    Halt,
    Output,
    Prefill,
    RunTool,
    Say,
    VoidDraft,
    Wasted,
    Withheld,
)
from services.dialogue.role import Cause, ClientRole
from services.dialogue.session import DialogueSession
from services.dialogue.tool_runs import ToolRuns
from services.dialogue.wire import Wire

log = logging.getLogger(__name__)


class BusSession:
    """See `halfbeat.worker.Session`.

    Args:
        bus: Connected.
        sid: The session.
        settings: Of the service.
        engine: Shared by all sessions.
        decisions: What to do.
        sampling: How the model draws tokens.
        application: Runs the tools; None when the client brings its own.
        call: The application's view of the call.
        store: Where the session's state is kept.
    """

    subjects: Sequence[Kind] = (
        subjects.TURN_DRAFT,
        subjects.TURN_ENDPOINT,
        subjects.TURN_COMMIT,
        subjects.TURN_HEARD,
        subjects.SESSION_EPOCH,
        subjects.SESSION_UPDATE,
        subjects.ASR_PARTIAL,
        subjects.ASR_FINAL,
        subjects.TOOL_RESULT,
    )

    def __init__(
        self,
        bus: Bus,
        sid: str,
        settings: DialogueSettings,
        engine: LlmEngine,
        decisions: DialogueSession,
        sampling: Sampling,
        *,
        application: Application | None,
        call: Call,
        store: KeyValue,
    ) -> None:
        self._bus, self._sid, self._settings = bus, sid, settings
        self._decisions, self._sampling = decisions, sampling
        self._application, self._call, self._store = application, call, store
        self._tasks: set[asyncio.Task[None]] = set()
        self._wire = Wire(sid, trace_pii=settings.trace_pii)
        self._tools = ToolRuns(
            application,
            call,
            stamp=self._wire.stamp,
            publish=self._publish,
            start=self._start,
            on_result=self._on_tool_result,
            client_s=settings.client_tool_s,
        )
        self._generation = Generation(
            engine,
            start=self._start,
            on_delta=self._on_delta,
            on_failure=self._on_failure,
            is_waiting=decisions.is_waiting,
            trace_pii=settings.trace_pii,
        )
        self._outbox: asyncio.Queue[tuple[Kind, Any, Mapping[str, str]]] = asyncio.Queue()
        self._defect: BaseException | None = None
        self._saving: asyncio.Task[None] | None = None
        self._start(self._publish_all())

    def begin(self) -> None:
        """The session is open: warm the model's cache, and the voice's."""
        texts = [clause for words in self._decisions.role.short_words() for clause in fixed_clauses(words)]
        prepare = self._wire.prepare(self._decisions.epoch, list(dict.fromkeys(texts)))
        self._publish(subjects.TTS_PREPARE, prepare)
        self._do(self._decisions.on_opened())

    async def handle(self, delivery: Delivery) -> None:
        """Take one message; never waits for the model or a tool."""
        if self._defect is not None:
            raise self._defect
        message = delivery.message
        match message:
            case turn_pb2.TurnDrafted():
                self._on_drafted(delivery, message)
            case turn_pb2.Endpoint(stamp=s, kind=turn_pb2.ENDPOINT_KIND_RESUMED):
                self._do(self._decisions.on_resumed(s.epoch, s.turn, s.revision))
            case turn_pb2.TurnCommitted():
                self._on_committed(delivery, message)
            case turn_pb2.Heard(stamp=s):
                self._do(
                    self._decisions.on_heard(
                        s.turn,
                        s.revision,
                        message.clause,
                        message.chars,
                        is_complete=message.is_complete,
                        is_cut=message.is_cut,
                    )
                )
                if message.is_complete or message.is_cut:
                    self._save()
            case session_pb2.EpochAdvanced(stamp=s):
                task = self._generation.task
                self._do(self._decisions.on_epoch(s.epoch))
                telemetry.observe_stop("dialogue", task, delivery.received_ns)
            case asr_pb2.Transcript(stamp=s):
                heard = f"{message.stable} {message.unstable}"
                self._do(self._decisions.on_transcript(s.epoch, s.turn, s.revision, heard, is_final=message.is_final))
            case dialogue_pb2.ToolResult():
                self._tools.take_client_result(message)
            case session_pb2.SessionUpdated():
                if self._application is None:
                    self._sampling = sampling_of(message.config, self._settings)
                    self._do(self._decisions.on_updated(ClientRole(message.config)))

    async def aclose(self) -> None:
        """Stop everything but tools that run: a booking is not half done."""
        await self._tools.finish(5.0)
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._outbox.join()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(HalfbeatError):
            await self._store.delete(self._sid)

    # Events.

    def _on_drafted(self, delivery: Delivery, message: turn_pb2.TurnDrafted) -> None:
        stamp = message.stamp
        outputs = self._decisions.on_drafted(stamp.epoch, stamp.turn, stamp.revision, message.transcript)
        if not any(isinstance(output, Dropped | VoidDraft) for output in outputs):
            self._wire.begin(delivery, stamp, message.budget_left_ms)
        self._do(outputs)

    def _on_committed(self, delivery: Delivery, message: turn_pb2.TurnCommitted) -> None:
        stamp = message.stamp
        key = AnswerKey(stamp.epoch, stamp.turn, stamp.revision)
        was_draft = self._decisions.is_current(key)
        outputs = self._decisions.on_committed(
            stamp.epoch,
            stamp.turn,
            stamp.revision,
            message.transcript,
            wants_answer=message.wants_answer,
            is_prompted=message.is_prompted,
            instructions=message.instructions,
            adopts_draft=message.adopts_draft,
            cause=Cause(message.prompt_cause),
        )
        if not any(isinstance(output, Dropped) for output in outputs):
            take = self._wire.adopt if was_draft and message.adopts_draft else self._wire.begin
            take(delivery, stamp, message.budget_left_ms)
        self._do(outputs)
        self._generation.release()
        if message.budget_left_ms and self._decisions.is_current(key):
            self._start(self._watch_budget(key, message.budget_left_ms))
        self._save()

    def _on_delta(self, key: AnswerKey, delta: Delta) -> None:
        self._do(self._decisions.on_delta(key, delta))

    def _on_failure(self, key: AnswerKey, error: HalfbeatError) -> None:
        self._do(self._decisions.on_failure(key, error))

    async def _watch_budget(self, key: AnswerKey, budget_ms: int) -> None:
        """An opener is due once no more is left than it takes to be heard; a filler where still nothing follows."""
        await asyncio.sleep(max(0, budget_ms - self._wire.spent_ms - self._settings.opener_ms) / 1000)
        self._do(self._decisions.on_over_budget(key))
        await asyncio.sleep(self._settings.filler_after_s)
        self._do(self._decisions.on_still_late(key))

    # Outputs.

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Ask(key):
                    self._generation.ask(output, self._sampling, self._wire.stamp("", key), self._wire.headers)
                case Halt(key):
                    self._generation.halt(key)
                case Say():
                    self._publish(subjects.DIALOGUE_CLAUSE, self._wire.clause(output))
                case RunTool():
                    self._tools.run(output, telemetry.context_of(self._wire.headers))
                    if output.filler:
                        self._start(self._fill(output.call_id))
                case CancelTool(call_id):
                    self._tools.cancel(call_id)
                case Finish():
                    self._finish(output)
                case Prefill(prompt, after_s):
                    self._generation.read_ahead(prompt, after_s)
                case Dropped(what, reason):
                    count_drop(what, reason)
                case Withheld(why):
                    WITHHELD.labels(why).inc()
                case VoidDraft(key):
                    self._publish(subjects.DIALOGUE_VOID, self._wire.void(key))
                case DraftEnded(outcome):
                    DRAFTS.labels(outcome).inc()
                case Wasted(usage):
                    count_tokens(usage, is_wasted=True)

    def _finish(self, finish: Finish) -> None:
        count_tokens(finish.usage)
        if finish.error is not None:
            telemetry.ERRORS.labels("dialogue", common_pb2.ErrorCode.Name(finish.error.code)).inc()
        self._publish(subjects.DIALOGUE_DONE, self._wire.done(finish))
        self._save()

    async def _fill(self, call_id: str) -> None:
        await asyncio.sleep(self._settings.filler_after_s)
        self._do(self._decisions.on_tool_slow(call_id))

    def _on_tool_result(
        self, call_id: str, result: dict[str, Any], say: str | None, error: HalfbeatError | None
    ) -> None:
        self._do(self._decisions.on_tool_result(call_id, result, say=say, error=error))
        self._save()

    # Plumbing.

    def _publish(self, kind: Kind, message: Any) -> None:
        """In order, without waiting here: the bus may wait for its connection."""
        self._outbox.put_nowait((kind, message, self._wire.headers))

    async def _publish_all(self) -> None:
        while True:
            kind, message, headers = await self._outbox.get()
            try:
                await self._bus.publish(kind, message, headers=headers)
            finally:
                self._outbox.task_done()

    def _save(self) -> None:
        """Store the session's state; changes in quick succession are stored once."""
        if self._saving is None or self._saving.done():
            self._saving = self._start(self._store_state())

    async def _store_state(self) -> None:
        await asyncio.sleep(0.2)
        state = {
            "epoch": self._decisions.epoch,
            "exchanges": self._decisions.conversation.to_json(),
            "data": self._call.data,
        }
        with suppress(HalfbeatError):
            await self._store.put(self._sid, json.dumps(state, default=str).encode(), ttl_s=self._settings.state_ttl_s)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"dialogue-{self._sid}")
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the session failed", exc_info=error, extra={"sid": self._sid})
            self._defect = error  # raised by the next `handle`, which ends the session


def sampling_of(config: session_pb2.SessionConfig, settings: DialogueSettings) -> Sampling:
    """The session's wishes, else the service's settings."""
    return Sampling(
        max_tokens=config.max_answer_tokens or settings.max_answer_tokens,
        temperature=config.temperature if config.HasField("temperature") else settings.temperature,
    )
