"""Runs the tools of one call: ours by the application, a client's by asking over the bus and waiting."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from opentelemetry.context import Context

from halfbeat import subjects, telemetry
from halfbeat.application import Application, Call, ToolError
from halfbeat.errors import HalfbeatError, TimedOut, from_message
from halfbeat.subjects import Kind
from halfbeat.v1 import common_pb2, dialogue_pb2
from services.dialogue.counters import TOOL_CALLS
from services.dialogue.outputs import AnswerKey, RunTool

log = logging.getLogger(__name__)

#: `(call_id, result, exact words, error)`.
OnResult = Callable[[str, dict[str, Any], str | None, HalfbeatError | None], None]


class ToolRuns:
    """What runs now, by call id.

    Args:
        application: Runs our tools; None when the client brings its own.
        call: The application's view of the call.
        stamp: Makes the stamp of a message of this kind.
        publish: Hands a message to the bus.
        on_result: Told of each end but a cancellation.
        client_s: Longest wait for a client's result, in seconds.
    """

    def __init__(
        self,
        application: Application | None,
        call: Call,
        *,
        stamp: Callable[[str, AnswerKey], common_pb2.Stamp],
        publish: Callable[[Kind, Any], None],
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        on_result: OnResult,
        client_s: float,
    ) -> None:
        self._application, self._call = application, call
        self._stamp, self._publish, self._start, self._on_result = stamp, publish, start, on_result
        self._client_s = client_s
        self._running: dict[str, asyncio.Task[None]] = {}
        self._client_waits: set[str] = set()

    def run(self, run: RunTool, context: Context) -> None:
        """Announce the call on the bus and start it; `context` is the turn's trace."""
        key = self._call.key(run.name, turn=run.key.turn, arguments=run.arguments_json)
        message = dialogue_pb2.ToolCall(
            stamp=self._stamp("call", run.key),
            call_id=run.call_id,
            name=run.name,
            arguments_json=run.arguments_json,
            is_client=run.is_client,
            idempotency_key=key,
        )
        self._publish(subjects.TOOL_CALL, message)
        if run.is_client:
            self._client_waits.add(run.call_id)
        work = self._wait_for_client(run) if run.is_client else self._call_ours(run, context)
        self._running[run.call_id] = self._start(work)

    def cancel(self, call_id: str) -> None:
        """Cancel one of ours."""
        task = self._running.get(call_id)
        if task is not None:
            task.cancel()

    def take_client_result(self, message: dialogue_pb2.ToolResult) -> None:
        """A result on the bus: a client's that is waited for, or else our own publication."""
        if message.call_id not in self._client_waits:
            return
        self._client_waits.discard(message.call_id)
        self._running.pop(message.call_id).cancel()
        error = from_message(message.error) if message.HasField("error") else None
        TOOL_CALLS.labels("client", "failed" if error else "ok").inc()
        self._on_result(message.call_id, _object(message.result_json), None, error)

    async def finish(self, limit_s: float) -> None:
        """Wait for ours that run: a booking is not left half done because the caller hung up."""
        ours = [task for call_id, task in self._running.items() if call_id not in self._client_waits]
        if ours:
            await asyncio.wait(ours, timeout=limit_s)

    async def _wait_for_client(self, run: RunTool) -> None:
        await asyncio.sleep(self._client_s)
        self._client_waits.discard(run.call_id)
        self._running.pop(run.call_id, None)
        TOOL_CALLS.labels("client", "timed_out").inc()
        error = TimedOut(f"the client gave no result of {run.name}")
        self._on_result(run.call_id, {"error": "timed_out"}, None, error)

    async def _call_ours(self, run: RunTool, context: Context) -> None:
        assert self._application is not None
        name = run.name if run.name in self._application.tools else "unknown"
        began_ns = time.monotonic_ns()
        known: dict[str, Any] = {"error": "cancelled"}
        say: str | None = None
        failure: ToolError | None = None
        outcome = "cancelled"
        try:
            with telemetry.span(f"tool.{name}", self._stamp("", run.key), context=context) as span:
                try:
                    result = await self._application.run(self._call, run.name, run.arguments_json)
                    known, say, outcome = dict(result.data), result.say, "ok"
                except ToolError as error:
                    failure, outcome, known = error, error.kind, {"error": error.kind}
                    span.set_attribute("halfbeat.error", error.kind)
                    telemetry.fail(span, error)
                    log.warning("a tool gave no result: %s", error.kind, exc_info=error, extra={"tool": name})
        finally:
            TOOL_CALLS.labels(name, outcome).inc()
            self._running.pop(run.call_id, None)
            message = dialogue_pb2.ToolResult(
                stamp=self._stamp("result", run.key),
                call_id=run.call_id,
                name=run.name,
                result_json=json.dumps(known | ({"say": say} if say else {}), default=str),
                took_ms=(time.monotonic_ns() - began_ns) // 1_000_000,
            )
            if failure is not None:
                message.error.CopyFrom(failure.to_message())
            self._publish(subjects.TOOL_RESULT, message)
        self._on_result(run.call_id, known, say, failure)


def _object(text: str) -> dict[str, Any]:
    """A client's result as an object, whatever it is."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"output": value}
