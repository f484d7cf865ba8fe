"""Any server with the OpenAI chat completions API: vLLM, llama.cpp, hosted ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import openai
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from halfbeat.errors import EngineFailed, HalfbeatError, InvalidRequest, TimedOut, Unavailable
from services.dialogue.dialect import Dialect, Parser
from services.dialogue.engine import Delta, Finished, Prompt, Sampling, Usage

log = logging.getLogger(__name__)


class OpenAiCompatible:
    """One model on one server.

    Args:
        base_url: Up to and including `/v1`.
        model: Name the server knows it by.
        dialect: How to ask for speech or a tool.
        api_key: Sent as bearer token; servers of one's own ignore it.
        first_token_s: Longest wait for the first token, in seconds.
        gap_s: Longest wait between tokens.
        prefill_tokens: Tokens to ask for when only the prompt matters: 0 for llama.cpp, 1 where 0 is refused, None for
            no prefill.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        dialect: Dialect,
        *,
        api_key: str = "none",
        first_token_s: float = 8.0,
        gap_s: float = 4.0,
        prefill_tokens: int | None = 1,
    ) -> None:
        self._model = model
        self._dialect = dialect
        self._first_token_s = first_token_s
        self._gap_s = gap_s
        self._prefill_tokens = prefill_tokens
        self._client = openai.AsyncOpenAI(
            base_url=base_url, api_key=api_key, max_retries=0, timeout=openai.Timeout(60.0, connect=2.0)
        )

    async def stream(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Delta]:
        """See `LlmEngine`. A failure before the first token is tried once more, unless it was our mistake."""
        for attempt in (1, 2):
            has_begun = False
            try:
                async with aclosing(self._attempt(prompt, sampling)) as deltas:
                    async for delta in deltas:
                        has_begun = True
                        yield delta
                return
            except (Unavailable, EngineFailed) as error:
                if has_begun or attempt == 2:
                    raise
                log.warning("language model failed before its first token, once more: %s", error)

    async def _attempt(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Delta]:
        parser = self._dialect.parser(prompt)
        request = self._dialect.request(prompt) | {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        reason = "stop"
        usage: Usage | None = None
        async with aclosing(self._chunks(request)) as chunks:
            async for chunk in chunks:
                usage = _usage(chunk) or usage
                for choice in chunk.choices:
                    reason = choice.finish_reason or reason
                    for delta in _deltas(choice, parser):
                        yield delta
                if parser.is_called:
                    break
        for delta in parser.flush():
            yield delta
        if usage is not None:
            yield usage
        yield Finished("tool" if parser.is_called or reason == "tool_calls" else reason)

    async def _chunks(self, request: dict[str, Any]) -> AsyncGenerator[ChatCompletionChunk | Completion]:
        """The server's chunks, with its failures as ours."""
        try:
            async with asyncio.timeout(self._first_token_s):
                stream = await self._create(request)
            iterator = aiter(stream)
            limit_s = self._first_token_s
            try:
                while True:
                    async with asyncio.timeout(limit_s):
                        try:
                            chunk = await anext(iterator)
                        except StopAsyncIteration:
                            return
                    limit_s = self._gap_s if chunk.choices and _text(chunk.choices[0]) else limit_s
                    yield chunk
            finally:
                await stream.close()
        except (TimeoutError, openai.OpenAIError) as error:
            raise _ours(error) from error

    async def prefill(self, prompt: Prompt) -> Usage:
        """See `LlmEngine`."""
        if self._prefill_tokens is None:
            return Usage()
        request = self._dialect.beginning(prompt) | {"max_tokens": self._prefill_tokens, "temperature": 0.0}
        try:
            return _usage(await self._create(request)) or Usage()
        except openai.OpenAIError as error:
            raise _ours(error) from error

    async def _create(self, request: dict[str, Any]) -> Any:
        """A plain completion where the dialect has a prompt of its own, else one of the chat API."""
        api: Any = self._client.completions if "prompt" in request else self._client.chat.completions
        return await api.create(model=self._model, **request)

    async def check(self) -> None:
        """Ask the server for its models, to know that it is there."""
        try:
            await self._client.models.list(timeout=5.0)
        except openai.OpenAIError as error:
            raise _ours(error) from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


def _text(choice: Any) -> str:
    """Text of a chunk of either API."""
    return (choice.text if hasattr(choice, "text") else choice.delta.content) or ""


def _deltas(choice: Any, parser: Parser) -> list[Delta]:
    text = _text(choice)
    deltas = parser.feed(text) if text else []
    calls = () if hasattr(choice, "text") else choice.delta.tool_calls
    for call in calls or ():
        function = call.function
        name = (function.name if function else "") or ""
        arguments = (function.arguments if function else "") or ""
        deltas += parser.feed_call(call.index, call.id or "", name, arguments)
    return deltas


def _usage(chunk: ChatCompletionChunk | ChatCompletion | Completion) -> Usage | None:
    """Tokens so far: from the last chunk, or from llama.cpp's `timings`, which come with each."""
    if chunk.usage is not None:
        details = chunk.usage.prompt_tokens_details
        cached = (details.cached_tokens or 0) if details else 0
        return Usage(chunk.usage.prompt_tokens, cached, chunk.usage.completion_tokens)
    timings = (chunk.model_extra or {}).get("timings")
    if not isinstance(timings, dict):
        return None
    cached = int(timings.get("cache_n", 0))
    return Usage(cached + int(timings.get("prompt_n", 0)), cached, int(timings.get("predicted_n", 0)))


def _ours(error: Exception) -> HalfbeatError:
    """The server's failure in our terms; texts never hold the prompt."""
    match error:
        case TimeoutError() | openai.APITimeoutError():
            return TimedOut("the language model gave no token in time")
        case openai.APIConnectionError():
            return Unavailable("no connection to the language model's server")
        case openai.APIStatusError(status_code=429):
            return Unavailable("the language model's server is busy")
        case openai.APIStatusError(status_code=code) if code < 500:
            return InvalidRequest(f"the language model's server refused the request with {code}")
        case openai.APIStatusError(status_code=code):
            return EngineFailed(f"the language model's server failed with {code}")
        case _:
            return EngineFailed(f"the language model's stream broke: {type(error).__name__}")
