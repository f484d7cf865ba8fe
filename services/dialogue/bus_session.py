"""One call on the bus: messages become events of the session, its outputs become messages, streams and tool runs."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any

from halfbeat import subjects, telemetry
from halfbeat.application import Application, Call
from halfbeat.bus import Bus, Delivery, KeyValue
from halfbeat.bus.metrics import count_drop
from halfbeat.errors import HalfbeatError
from halfbeat.subjects import Kind
from halfbeat.v1 import asr_pb2, common_pb2, dialogue_pb2, session_pb2, turn_pb2
from services.dialogue.config import DialogueSettings
from services.dialogue.counters import PREFILLS, WITHHELD
from services.dialogue.engine import Finished, LlmEngine, Prompt, Sampling, TextDelta
from services.dialogue.outputs import (
    AnswerKey,
    Ask,
    CancelTool,
    Dropped,
    Finish,
    Halt,
    Output,
    Prefill,
    RunTool,
    Say,
    Withheld,
)
from services.dialogue.role import ClientRole
from services.dialogue.session import DialogueSession, spent
from services.dialogue.tool_runs import ToolRuns

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
        self._bus, self._sid, self._settings, self._engine = bus, sid, settings, engine
        self._decisions, self._sampling = decisions, sampling
        self._application, self._call, self._store = application, call, store
        self._tasks: set[asyncio.Task[None]] = set()
        self._tools = ToolRuns(
            application,
            call,
            stamp=self._stamp,
            publish=self._publish,
            start=self._start,
            on_result=self._on_tool_result,
            client_s=settings.client_tool_s,
        )
        self._streaming: tuple[AnswerKey, asyncio.Task[None]] | None = None
        self._prefilling: asyncio.Task[None] | None = None
        self._headers: Mapping[str, str] = {}
        self._residence = telemetry.Residence("dialogue", time.monotonic_ns())
        self._upstream: list[common_pb2.Residence] = []
        self._has_stamped = True
        self._seq: dict[tuple[str, int], int] = {}
        self._outbox: asyncio.Queue[tuple[Kind, Any, Mapping[str, str]]] = asyncio.Queue()
        self._defect: BaseException | None = None
        self._saving: asyncio.Task[None] | None = None
        self._start(self._publish_all())

    def begin(self) -> None:
        """The session is open: warm the model's cache."""
        self._do(self._decisions.on_opened())

    async def handle(self, delivery: Delivery) -> None:
        """Take one message; never waits for the model or a tool."""
        if self._defect is not None:
            raise self._defect
        message = delivery.message
        match message:
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
                self._do(self._decisions.on_epoch(s.epoch))
            case asr_pb2.Transcript(stamp=s):
                self._do(
                    self._decisions.on_transcript(
                        s.epoch, s.turn, s.revision, message.stable, is_final=message.is_final
                    )
                )
            case dialogue_pb2.ToolResult():
                self._tools.take_client_result(message)
            case session_pb2.SessionUpdated():
                if self._application is None:
                    self._decisions.role = ClientRole(message.config)
                    self._sampling = sampling_of(message.config, self._settings)

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

    def _on_committed(self, delivery: Delivery, message: turn_pb2.TurnCommitted) -> None:
        stamp = message.stamp
        outputs = self._decisions.on_committed(
            stamp.epoch,
            stamp.turn,
            stamp.revision,
            message.transcript,
            wants_answer=message.wants_answer,
            is_prompted=message.is_prompted,
            instructions=message.instructions,
        )
        if not any(isinstance(output, Dropped) for output in outputs):
            self._headers = delivery.headers
            self._upstream = list(stamp.residence)
            self._residence = telemetry.Residence("dialogue", delivery.received_ns)
            self._residence.start()
            self._has_stamped = False
        self._do(outputs)
        self._save()

    # Outputs.

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Ask(key, prompt, is_retry):
                    self._halt()
                    task = self._start(self._stream(key, prompt, is_retry=is_retry))
                    self._streaming = (key, task)
                case Halt(key):
                    if self._streaming is not None and self._streaming[0] == key:
                        self._halt()
                case Say():
                    self._say(output)
                case RunTool():
                    self._tools.run(output, telemetry.context_of(self._headers))
                    if output.filler:
                        self._start(self._fill(output.call_id))
                case CancelTool(call_id):
                    self._tools.cancel(call_id)
                case Finish():
                    self._finish(output)
                case Prefill(prompt):
                    self._prefill(prompt)
                case Dropped(what, reason):
                    count_drop(what, reason)
                case Withheld(why):
                    WITHHELD.labels(why).inc()

    def _halt(self) -> None:
        if self._prefilling is not None:
            self._prefilling.cancel()
            self._prefilling = None
        streaming, self._streaming = self._streaming, None
        if streaming is not None and streaming[1] is not asyncio.current_task():
            streaming[1].cancel()

    async def _stream(self, key: AnswerKey, prompt: Prompt, *, is_retry: bool) -> None:
        """One request to the model, from its first to its last token, in spans of the turn's trace."""
        context = telemetry.context_of(self._headers)
        stamp = self._stamp("", key)
        began_ns = time.time_ns()
        first = telemetry.start_span("llm.first_token", stamp, context=context, start_ns=began_ns)
        first.set_attribute("halfbeat.is_retry", is_retry)
        is_waiting = True
        try:
            async with aclosing(self._engine.stream(prompt, self._sampling)) as deltas:
                async for delta in deltas:
                    if is_waiting:
                        is_waiting = False
                        first.end()
                        telemetry.observe_hop("llm.first_token", (time.time_ns() - began_ns) / 1e9)
                    if not self._decisions.is_current(key):
                        return
                    if isinstance(delta, TextDelta) and self._settings.trace_pii:
                        first.set_attribute("pii.text", delta.text)
                    outputs = self._decisions.on_delta(key, delta)
                    self._do(outputs)
                    if isinstance(delta, Finished) or any(isinstance(output, Ask) for output in outputs):
                        return
        except HalfbeatError as error:
            log.warning("the language model failed: %s", error, extra={"sid": self._sid})
            self._do(self._decisions.on_failure(key, error))
        finally:
            if is_waiting:
                first.end()

    def _say(self, say: Say) -> None:
        message = dialogue_pb2.Clause(
            stamp=self._stamp("clause", say.key), index=say.index, text=say.text, is_filler=say.is_filler
        )
        if not self._has_stamped:
            self._has_stamped = True
            message.stamp.residence.extend(self._upstream)
            self._residence.stamp_on(message.stamp)
            work_us = message.stamp.residence[-1].work_us
            span = telemetry.start_span(
                "llm.clause",
                message.stamp,
                context=telemetry.context_of(self._headers),
                start_ns=time.time_ns() - work_us * 1000,
            )
            if self._settings.trace_pii:
                span.set_attribute("pii.text", say.text)
            span.end()
            telemetry.observe_hop("llm.clause", work_us / 1e6)
        self._publish(subjects.DIALOGUE_CLAUSE, message)

    def _finish(self, finish: Finish) -> None:
        usage = finish.usage
        for kind, tokens in spent(usage).items():
            telemetry.TOKENS.labels(kind).inc(max(0, tokens))
        message = dialogue_pb2.AnswerDone(
            stamp=self._stamp("done", finish.key),
            clauses=finish.clauses,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            completion_tokens=usage.completion_tokens,
            hangs_up=finish.hangs_up,
        )
        if finish.error is not None:
            telemetry.ERRORS.labels("dialogue", common_pb2.ErrorCode.Name(finish.error.code)).inc()
            message.error.CopyFrom(finish.error.to_message())
        self._publish(subjects.DIALOGUE_DONE, message)
        self._save()

    def _prefill(self, prompt: Prompt) -> None:
        if self._prefilling is not None:
            self._prefilling.cancel()
        self._prefilling = self._start(self._read_ahead(prompt))

    async def _read_ahead(self, prompt: Prompt) -> None:
        try:
            await self._engine.prefill(prompt)
            PREFILLS.labels("done").inc()
        except asyncio.CancelledError:
            PREFILLS.labels("cancelled").inc()
            raise
        except HalfbeatError as error:
            PREFILLS.labels("failed").inc()
            log.info("the prompt was not read ahead: %s", error, extra={"sid": self._sid})

    async def _fill(self, call_id: str) -> None:
        await asyncio.sleep(self._settings.filler_after_s)
        self._do(self._decisions.on_tool_slow(call_id))

    def _on_tool_result(
        self, call_id: str, result: dict[str, Any], say: str | None, error: HalfbeatError | None
    ) -> None:
        self._do(self._decisions.on_tool_result(call_id, result, say=say, error=error))
        self._save()

    # Plumbing.

    def _stamp(self, kind: str, key: AnswerKey) -> common_pb2.Stamp:
        stamp = common_pb2.Stamp(sid=self._sid, epoch=key.epoch, turn=key.turn, revision=key.revision)
        if kind:
            stamp.seq = self._seq[kind, key.epoch] = self._seq.get((kind, key.epoch), -1) + 1
        return stamp

    def _publish(self, kind: Kind, message: Any) -> None:
        """In order, without waiting here: the bus may wait for its connection."""
        self._outbox.put_nowait((kind, message, self._headers))

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
