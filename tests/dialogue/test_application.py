"""Applications: tools from typed functions, and every way a tool can fail."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Literal

import pytest

from halfbeat.application import (
    Application,
    Call,
    Caller,
    Context,
    InvalidArguments,
    ToolClosed,
    ToolError,
    ToolFailed,
    ToolResult,
    ToolTimedOut,
    UnknownTool,
)
from halfbeat.errors import HalfbeatError, InvalidRequest
from halfbeat.logs import JsonFormatter
from services.dialogue.loading import load_application


@pytest.fixture
def app() -> Application:
    app = Application("pizza", "You sell pizza.")

    @app.tool(label="order", when=lambda call: not call.data.get("is_ordered"))
    async def order_pizza(call: Call, size: Literal["small", "large"], count: int = 1) -> ToolResult:
        """The caller orders a pizza.

        Not shown to the model.
        """
        call.data["is_ordered"] = True
        return ToolResult({"count": count}, say=f"{count} {size} pizza ordered.")

    @app.tool(deadline_s=0.05)
    async def hang(call: Call) -> str:
        """It hangs."""
        await asyncio.sleep(60)
        return "never"

    @app.tool()
    async def time_out_inside(call: Call) -> str:
        """Something inside times out."""
        raise TimeoutError("database")

    @app.tool()
    def sync(call: Call, words: str) -> str:
        """It runs on a thread."""
        time.sleep(0.01)
        return words.upper()

    @app.tool()
    async def wrong(call: Call) -> str:
        """It returns the wrong thing."""
        return 7  # type: ignore[return-value]

    return app


def test_the_schema_and_the_description_come_from_the_function(app: Application) -> None:
    tool = app.tools["order_pizza"]
    assert tool.description == "The caller orders a pizza."
    assert tool.label == "order"
    assert tool.schema["properties"]["size"]["enum"] == ["small", "large"]
    assert tool.schema["required"] == ["size"]
    assert tool.schema["additionalProperties"] is False


async def test_a_tool_gets_its_arguments_with_their_types(app: Application) -> None:
    result = await app.run(Call("s1"), "order_pizza", '{"size": "large", "count": 2}')
    assert result == ToolResult({"count": 2}, "2 large pizza ordered.")


async def test_a_sync_tool_runs_and_its_string_is_spoken_word_for_word(app: Application) -> None:
    assert await app.run(Call("s1"), "sync", {"words": "hello"}) == ToolResult(say="HELLO")


async def test_a_wrong_argument_is_not_quoted_where_the_failure_is_logged(app: Application) -> None:
    said = '{"size": "12 Oak Street"}'
    with pytest.raises(InvalidArguments) as failed:
        await app.run(Call("s1"), "order_pizza", said)
    record = logging.makeLogRecord({"msg": "failed", "exc_info": (failed.type, failed.value, failed.tb)})
    line = JsonFormatter("dialogue", "d1").format(record)
    assert "InvalidArguments" in line
    assert "Oak" not in line


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("order_burger", "{}", UnknownTool),
        ("order_pizza", "{", InvalidArguments),
        ("order_pizza", '{"size": "huge"}', InvalidArguments),
        ("order_pizza", '{"size": "small", "cheese": true}', InvalidArguments),
        ("hang", "{}", ToolTimedOut),
        ("time_out_inside", "{}", ToolFailed),
        ("wrong", "{}", ToolFailed),
    ],
)
async def test_each_failure_has_its_own_error(
    app: Application, name: str, arguments: str, error: type[ToolError]
) -> None:
    with pytest.raises(error) as caught:
        await app.run(Call("s1"), name, arguments)
    assert type(caught.value) is error
    assert isinstance(caught.value, HalfbeatError)
    assert caught.value.tool == name


async def test_the_state_of_the_call_closes_a_tool(app: Application) -> None:
    call = Call("s1", data={"is_ordered": True})
    assert "order_pizza" not in [tool.name for tool in app.open_tools(call)]
    with pytest.raises(ToolClosed):
        await app.run(call, "order_pizza", '{"size": "small"}')


def test_equal_wishes_have_equal_keys_and_others_have_not() -> None:
    call = Call("s1")
    assert call.key("book", day="1", street="Oak") == Call("s1").key("book", street="Oak", day="1")
    assert len({call.key("book", day="1"), call.key("book", day="2"), Call("s2").key("book", day="1")}) == 3


def test_the_clock_of_a_call_has_a_zone_and_can_be_set() -> None:
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    assert Call("s1", now=lambda: moment).now() == moment
    assert Call("s1").now().tzinfo is not None


async def test_without_a_hook_the_opening_is_plain() -> None:
    assert (await Application("plain", "").open(Call("s1"))).opening


async def test_resources_live_as_long_as_the_application_runs() -> None:
    app, events = Application("x", ""), list[str]()

    @app.lifespan
    async def lifespan() -> AsyncIterator[str]:
        events.append("opened")
        yield "database"
        events.append("closed")

    async with app.running() as resources:
        assert (resources, events) == ("database", ["opened"])
    assert events == ["opened", "closed"]


def test_a_tool_without_a_docstring_or_with_a_taken_name_is_refused(app: Application) -> None:
    async def undocumented(call: Call) -> str:
        return ""

    with pytest.raises(ValueError, match="docstring"):
        app.tool()(undocumented)
    with pytest.raises(ValueError, match="twice"):
        app.tool()(app.tools["sync"].function)


async def test_the_context_hook_sees_who_calls() -> None:
    app = Application("x", "")

    @app.context
    async def context(call: Call) -> Context:
        return Context(f"Hi {call.caller.number}", ("A fact.",))

    assert (await app.open(Call("s1", Caller("+15550100142")))).opening == "Hi +15550100142"


def test_the_reference_application_is_found_by_its_package() -> None:
    assert load_application("apps.city311").name == "city311"


@pytest.mark.parametrize("path", ["apps.nothing_here", "halfbeat.errors"])
def test_a_path_without_an_application_is_refused(path: str) -> None:
    with pytest.raises(InvalidRequest, match="no application"):
        load_application(path)
