"""The one thing that a session asks of the language model at any moment: an answer, a draft, or to read ahead."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any

from halfbeat import telemetry
from halfbeat.errors import HalfbeatError, TimedOut
from halfbeat.v1 import common_pb2
from services.dialogue.counters import PREFILLS
from services.dialogue.engine import Delta, Finished, LlmEngine, Prompt, Sampling, TextDelta
from services.dialogue.outputs import AnswerKey, Ask

#: Longest time in seconds that a draft waits for a commit; the router lets none wait that long.
DRAFT_WAIT_S = 10.0
log = logging.getLogger(__name__)


class Generation:
    """Asks one thing at a time: what was asked before is stopped, and has let go of the model before the next begins.

    Args:
        engine: Shared by all sessions.
        start: Starts a task of the session.
        on_delta: Takes what the model streams.
        on_failure: Told that the model failed for good.
        is_waiting: Whether the stream of this key is not to be read on before `release`.
        trace_pii: Whether words go into spans.
    """

    def __init__(
        self,
        engine: LlmEngine,
        *,
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        on_delta: Callable[[AnswerKey, Delta], None],
        on_failure: Callable[[AnswerKey, HalfbeatError], None],
        is_waiting: Callable[[AnswerKey], bool],
        trace_pii: bool,
    ) -> None:
        self._engine, self._start, self._trace_pii = engine, start, trace_pii
        self._on_delta, self._on_failure, self._is_waiting = on_delta, on_failure, is_waiting
        self._alone = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._key: AnswerKey | None = None
        self._released = asyncio.Event()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What the model does for this session now."""
        return self._task

    def ask(self, ask: Ask, sampling: Sampling, stamp: common_pb2.Stamp, headers: Mapping[str, str]) -> None:
        """Stream an answer; `headers` carry the trace of its turn."""
        self.stop()
        self._key = ask.key
        self._task = self._start(self._stream(ask, sampling, stamp, headers))

    def read_ahead(self, prompt: Prompt, after_s: float = 0.0) -> None:
        """Let the model read this, unless it is asked something before `after_s` seconds have passed."""
        self.stop()
        self._task = self._start(self._read(prompt, after_s))

    def halt(self, key: AnswerKey) -> None:
        """Stop the stream of this answer."""
        if self._key == key:
            self.stop()

    def stop(self) -> None:
        """Stop whatever the model does for this session."""
        task, self._task, self._key = self._task, None, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()  # the current one sees that it is no longer the one

    def release(self) -> None:
        """Read on a stream that waits."""
        self._released.set()

    async def _stream(self, ask: Ask, sampling: Sampling, stamp: common_pb2.Stamp, headers: Mapping[str, str]) -> None:
        """One request to the model, from its first to its last token, in spans of the turn's trace."""
        began_ns = time.time_ns()
        context = telemetry.context_of(headers)
        first = telemetry.start_span("llm.first_token", stamp, context=context, start_ns=began_ns)
        first.set_attribute("halfbeat.is_retry", ask.is_retry)
        is_first = True
        try:
            async with self._alone, aclosing(self._engine.stream(ask.prompt, sampling)) as deltas:
                async for delta in deltas:
                    if is_first:
                        is_first = False
                        if isinstance(delta, TextDelta) and self._trace_pii:
                            first.set_attribute("pii.text", delta.text)
                        first.end()
                        telemetry.observe_hop("llm.first_token", (time.time_ns() - began_ns) / 1e9, first)
                    self._on_delta(ask.key, delta)
                    if isinstance(delta, Finished):
                        return
                    while self._is_mine and self._is_waiting(ask.key):
                        await self._wait()
                    if not self._is_mine:
                        return
        except HalfbeatError as error:
            log.warning("the language model failed: %s", error, extra={"sid": stamp.sid, **telemetry.ids_of(first)})
            if is_first:
                telemetry.fail(first, error)
            self._on_failure(ask.key, error)
        finally:
            if is_first:
                first.end()

    async def _wait(self) -> None:
        self._released.clear()
        try:
            async with asyncio.timeout(DRAFT_WAIT_S):
                await self._released.wait()
        except TimeoutError as error:
            raise TimedOut("nobody committed the draft") from error

    @property
    def _is_mine(self) -> bool:
        return self._task is asyncio.current_task()

    async def _read(self, prompt: Prompt, after_s: float) -> None:
        try:
            await asyncio.sleep(after_s)
            async with self._alone:
                usage = await self._engine.prefill(prompt)
            telemetry.TOKENS.labels("prefill").inc(max(0, usage.prompt_tokens - usage.cached_tokens))
            PREFILLS.labels("done").inc()
        except asyncio.CancelledError:
            PREFILLS.labels("cancelled").inc()
            raise
        except HalfbeatError as error:
            PREFILLS.labels("failed").inc()
            log.info("the prompt was not read ahead: %s", error)
