"""The adapter for OpenAI-compatible servers against a server that behaves badly on purpose."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from halfbeat.errors import EngineFailed, HalfbeatError, InvalidRequest, TimedOut, Unavailable
from services.dialogue.dialect import by_name
from services.dialogue.engine import (
    CallDelta,
    CallerSaid,
    Delta,
    Finished,
    Prompt,
    Sampling,
    TextDelta,
    ToolSpec,
    Usage,
)
from services.dialogue.engines.openai_compatible import OpenAiCompatible

PROMPT = Prompt("You are an agent.", items=[CallerSaid("Hello")])
TOOLS = Prompt(
    "You are an agent.",
    tools=[ToolSpec("schedule_pickup", "book", "Wants a truck.", {"type": "object", "properties": {}})],
    items=[CallerSaid("Hello")],
)
Behaviour = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


class Server:
    """Streams what the test says."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.behaviours = list(behaviours)
        self.requests: list[dict[str, Any]] = []
        self.hung_up = asyncio.Event()

    async def complete_plain(self, request: web.Request) -> web.StreamResponse:
        assert "messages" not in await request.json()
        return await self.complete(request)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await behaviour(request, response)
        except (ConnectionResetError, asyncio.CancelledError):
            self.hung_up.set()
            raise
        return response


async def send_plain(response: web.StreamResponse, text: str) -> None:
    """A chunk of the plain completions API."""
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": None}
    chunk = {"id": "1", "object": "text_completion", "created": 0, "model": "m", "choices": [choice]}
    await response.write(f"data: {json.dumps(chunk)}\n\n".encode())


async def send(response: web.StreamResponse, delta: dict[str, Any], reason: str | None = None) -> None:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
    await response.write(f"data: {json.dumps(chunk)}\n\n".encode())


def speaks(*words: str, reason: str = "stop") -> Behaviour:
    async def behave(request: web.Request, response: web.StreamResponse) -> None:
        await response.prepare(request)
        for word in words:
            await send(response, {"content": word})
        await send(response, {}, reason)
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        usage |= {"prompt_tokens_details": {"cached_tokens": 5}}  # type: ignore[dict-item]
        last = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [], "usage": usage}
        await response.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())

    return behave


def fails(status: int) -> Behaviour:
    async def behave(request: web.Request, response: web.StreamResponse) -> None:
        response.set_status(status)
        response.headers["Content-Type"] = "application/json"
        await response.prepare(request)
        await response.write(b'{"error": {"message": "the caller said: secret"}}')

    return behave


async def is_silent(request: web.Request, response: web.StreamResponse) -> None:
    await response.prepare(request)
    await asyncio.sleep(30)


async def stops_in_between(request: web.Request, response: web.StreamResponse) -> None:
    await response.prepare(request)
    await send(response, {"content": "Well, "})
    await asyncio.sleep(30)


async def breaks_off(request: web.Request, response: web.StreamResponse) -> None:
    await response.prepare(request)
    await send(response, {"content": "Well, "})
    assert request.transport is not None
    request.transport.abort()


@asynccontextmanager
async def engine(server: Server, dialect: str = "native", **options: Any) -> AsyncIterator[OpenAiCompatible]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.complete)
    app.router.add_post("/v1/completions", server.complete_plain)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    options = {"first_token_s": 5.0, "gap_s": 5.0} | options
    client = OpenAiCompatible(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", "m", by_name(dialect), **options)
    try:
        yield client
    finally:
        await client.aclose()
        await runner.cleanup()


async def read(client: OpenAiCompatible, prompt: Prompt = PROMPT) -> list[Delta]:
    return [delta async for delta in client.stream(prompt, Sampling(max_tokens=20))]


async def test_words_usage_and_the_end_arrive_in_order() -> None:
    server = Server(speaks("Good ", "day."))
    async with engine(server) as client:
        deltas = await read(client)
    assert deltas == [TextDelta("Good "), TextDelta("day."), Usage(9, 5, 3), Finished("stop")]
    assert server.requests[0]["max_tokens"] == 20
    assert server.requests[0]["messages"][-1] == {"role": "user", "content": "Hello"}


async def test_a_native_call_arrives_whole() -> None:
    async def calls(request: web.Request, response: web.StreamResponse) -> None:
        await response.prepare(request)
        first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "schedule_pickup", "arguments": ""}}
        await send(response, {"tool_calls": [first]})
        await send(response, {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})
        await send(response, {}, "tool_calls")
        await response.write(b"data: [DONE]\n\n")

    server = Server(calls)
    async with engine(server) as client:
        deltas = await read(client, TOOLS)
    assert deltas == [CallDelta("c1", "schedule_pickup", "{}"), Finished("tool")]
    assert server.requests[0]["tools"][0]["function"]["name"] == "schedule_pickup"


async def test_a_compact_call_needs_no_more_than_its_first_token() -> None:
    async def begins_to_book(request: web.Request, response: web.StreamResponse) -> None:
        await response.prepare(request)
        await send_plain(response, "book")
        while True:
            await asyncio.sleep(0.02)
            await send_plain(response, " and so on")

    server = Server(begins_to_book)
    async with engine(server, "compact") as client:
        deltas = await read(client, TOOLS)
        async with asyncio.timeout(5):
            await server.hung_up.wait()
    assert deltas == [CallDelta("", "schedule_pickup", "{}"), Finished("tool")]
    assert "grammar" in server.requests[0]


@pytest.mark.parametrize(
    ("behaviour", "error", "requests"),
    [
        (fails(500), EngineFailed, 2),
        (fails(429), Unavailable, 2),
        (fails(400), InvalidRequest, 1),
        (is_silent, TimedOut, 1),
        (stops_in_between, TimedOut, 1),
        (breaks_off, Unavailable, 1),
    ],
)
async def test_each_failure_of_the_server_has_its_error_and_only_safe_ones_are_tried_again(
    behaviour: Behaviour, error: type[HalfbeatError], requests: int
) -> None:
    server = Server(behaviour)
    async with engine(server, first_token_s=0.3, gap_s=0.3) as client:
        with pytest.raises(error) as caught:
            await read(client)
    assert type(caught.value) is error
    assert len(server.requests) == requests
    assert "secret" not in str(caught.value)


async def test_a_failure_before_the_first_token_is_made_good_by_a_second_try() -> None:
    server = Server(fails(503), speaks("Fine."))
    async with engine(server) as client:
        assert (await read(client))[0] == TextDelta("Fine.")


async def test_no_server_is_unavailable() -> None:
    client = OpenAiCompatible("http://127.0.0.1:9/v1", "m", by_name("native"))
    with pytest.raises(Unavailable):
        await read(client)
    with pytest.raises(Unavailable):
        await client.check()
    await client.aclose()


async def test_closing_the_iterator_hangs_up_so_that_the_server_stops() -> None:
    server = Server(stops_in_between)
    async with engine(server) as client:
        stream = client.stream(PROMPT, Sampling())
        assert await anext(stream) == TextDelta("Well, ")
        await stream.aclose()
        async with asyncio.timeout(5):
            await server.hung_up.wait()


async def test_prefill_asks_for_no_answer() -> None:
    async def answers(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Content-Type"] = "application/json"
        await response.prepare(request)
        message = {"role": "assistant", "content": ""}
        choice = {"index": 0, "message": message, "finish_reason": "length"}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        await response.write(json.dumps(body).encode())

    server = Server(answers)
    async with engine(server, prefill_tokens=0) as client:
        await client.prefill(PROMPT)
    async with engine(server, prefill_tokens=None) as client:
        await client.prefill(PROMPT)
    assert [request["max_tokens"] for request in server.requests] == [0]
