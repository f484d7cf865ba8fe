"""What an application is: a persona, a context hook and tools as typed Python functions.

The dialogue service loads one `Application` by import path (setting `app`), asks its context hook what is
known about the caller, offers the language model those tools that are open in the present state of the call,
and runs the one that the model picks. `docs/writing-an-application.md` shows a whole application in twenty
lines.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from halfbeat import errors

#: Calls a tool may receive besides its arguments: the present call, always as first parameter.
ToolFunction = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])


class ToolError(errors.ToolFailed):
    """A tool call that gave no result: `kind` names the reason in counters, `tool` the name asked for."""

    kind = "failed"

    def __init__(self, tool: str, detail: str = "") -> None:
        super().__init__(f"{tool}: {detail}" if detail else tool)
        self.tool = tool
        self.detail = detail


class UnknownTool(ToolError):
    """The application has no tool of that name."""

    kind = "unknown"


class ToolClosed(ToolError):
    """The tool exists, but the state of the call does not allow it now."""

    kind = "closed"


class InvalidArguments(ToolError):
    """The arguments are not JSON or do not fit the tool's types."""

    kind = "invalid_arguments"


class ToolFailed(ToolError):
    """The tool raised; the cause is chained."""

    kind = "raised"


class ToolTimedOut(ToolError):
    """The tool gave no result within its deadline."""

    kind = "timed_out"


@dataclass(frozen=True)
class Caller:
    """Who calls: the number in E.164 (`None` when withheld) and what else the edge was told."""

    number: str | None = None
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class Call:
    """One call as the application sees it.

    Attributes:
        sid: The session's id, the same in every log line and trace.
        caller: Who calls.
        data: The application's own state of this call. JSON values only: it is stored with the session, so
            that another worker can go on with the call.
        resources: What the application's `lifespan` yielded (a database, an HTTP client), else `None`.
        said: The caller's words in the present turn, as they were recognised.
    """

    def __init__(
        self,
        sid: str,
        caller: Caller | None = None,
        *,
        now: Callable[[], datetime] | None = None,
        data: dict[str, Any] | None = None,
        resources: Any = None,
    ) -> None:
        self.sid = sid
        self.caller = caller or Caller()
        self.data: dict[str, Any] = {} if data is None else data
        self.resources = resources
        self.said = ""
        self._now = now or (lambda: datetime.now(UTC).astimezone())
        self._is_hanging_up = False

    def now(self) -> datetime:
        """The present time, always with a time zone."""
        return self._now()

    def key(self, tool: str, /, **arguments: Any) -> str:
        """An idempotency key: equal for equal session, tool and arguments, in any process."""
        canonical = json.dumps(arguments, sort_keys=True, separators=(",", ":"), default=str)
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:16]
        return f"{self.sid}:{tool}:{digest}"

    def hang_up(self) -> None:
        """End the call once the caller has heard the present answer; a barge-in before that cancels it."""
        self._is_hanging_up = True

    @property
    def is_hanging_up(self) -> bool:
        """Whether `hang_up` was called and no barge-in has taken it back."""
        return self._is_hanging_up

    def stay(self) -> None:
        """Take `hang_up` back. The dialogue service does this when the caller goes on talking."""
        self._is_hanging_up = False


@dataclass(frozen=True)
class Context:
    """What is known when the call opens.

    Attributes:
        opening: The first sentence, spoken word for word.
        facts: Short sentences for the prompt. The model may speak of no number, date or time that is not in
            them, in the conversation or in a tool's result.
    """

    opening: str
    facts: Sequence[str] = ()


@dataclass(frozen=True)
class ToolResult:
    """What a tool gives back.

    Attributes:
        data: For the model and the log; JSON values.
        say: The exact words to speak, where the facts must be right. Without it the model phrases the answer.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    say: str | None = None


@dataclass(frozen=True)
class Example:
    """One exchange shown to the model: the caller's words, the `tool` it calls, if any, and what the agent says."""

    caller: str
    reply: str
    tool: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tool:
    """A function that the model may call.

    Attributes:
        name: The function's name.
        label: One word for it, for small models that pick a word instead of calling a function.
        description: First paragraph of its docstring, shown to the model: when to call it.
        schema: JSON schema of its arguments.
        deadline_s: Longest time it may take, in seconds.
        cancel_on_barge_in: Whether the caller's barge-in cancels it. False for what must not be half done.
        filler: Spoken when the result takes long, such as "One moment."
    """

    name: str
    label: str
    description: str
    schema: Mapping[str, Any]
    deadline_s: float
    cancel_on_barge_in: bool
    filler: str | None
    when: Callable[[Call], bool]
    function: ToolFunction
    arguments: type[BaseModel]

    def parse(self, arguments: Mapping[str, Any] | str) -> dict[str, Any]:
        """Validated arguments, from JSON text or a mapping.

        Raises:
            InvalidArguments: They are no JSON object or do not fit the types.
        """
        try:
            if isinstance(arguments, str):
                model = self.arguments.model_validate_json(arguments or "{}")
            else:
                model = self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            reason = f"{where}: {first['msg']}" if where else first["msg"]
            raise InvalidArguments(self.name, reason) from error
        return {name: getattr(model, name) for name in type(model).model_fields}


class Application:
    """A voice application: register one context hook and any number of tools on it.

    Args:
        name: For logs and metrics.
        persona: The system prompt: who the agent is and how it speaks. Keep it short, each token costs time.
        examples: A few exchanges that show a small model what to do.
        apology: Spoken when the model or a tool fails.
        fallback: Spoken in place of an answer that says what nobody knows.
    """

    def __init__(
        self,
        name: str,
        persona: str,
        *,
        examples: Sequence[Example] = (),
        apology: str = "I'm sorry, that didn't work just now. Could you say that again?",
        fallback: str = "I'm afraid I don't know that. Is there anything else I can do?",
    ) -> None:
        self.name = name
        self.persona = persona
        self.examples = tuple(examples)
        self.apology = apology
        self.fallback = fallback
        self._check: Callable[[Call, str], bool] | None = None
        self._context: Callable[[Call], Awaitable[Context]] | None = None
        self._lifespan: Callable[[], AsyncIterator[Any]] | None = None
        self._tools: dict[str, Tool] = {}

    @property
    def tools(self) -> Mapping[str, Tool]:
        """All tools by name, open or not."""
        return MappingProxyType(self._tools)

    def context(self, function: Callable[[Call], Awaitable[Context]]) -> Callable[[Call], Awaitable[Context]]:
        """Decorator: the hook that is asked once, when a call opens."""
        self._context = function
        return function

    def lifespan(self, function: Callable[[], AsyncIterator[Any]]) -> Callable[[], AsyncIterator[Any]]:
        """Decorator: an async generator that opens what the tools need and yields it (`call.resources`)."""
        self._lifespan = function
        return function

    def check(self, function: Callable[[Call, str], bool]) -> Callable[[Call, str], bool]:
        """Decorator: whether the model's own words may be spoken; false for a claim that is not so.

        It sees each clause of the model's speech, not the exact words of a tool. Numbers, dates and times that occur
        nowhere in what is known are refused without it.
        """
        self._check = function
        return function

    def may_say(self, call: Call, clause: str) -> bool:
        """Ask the `check` hook; true without one."""
        return self._check is None or self._check(call, clause)

    def tool(
        self,
        *,
        label: str | None = None,
        when: Callable[[Call], bool] = lambda call: True,
        cancel_on_barge_in: bool = False,
        deadline_s: float = 5.0,
        filler: str | None = None,
    ) -> Callable[[F], F]:
        """Decorator: a function `(call: Call, **arguments) -> ToolResult | str`, async or not.

        The JSON schema comes from the type hints, the description from the docstring. A result of type `str`
        is spoken word for word. A sync function runs on a thread.

        Args:
            label: One common word for it, the name by default; see `Tool`.
            when: Whether the tool is open in the present state of the call.
            cancel_on_barge_in: Whether a barge-in cancels it while it runs.
            deadline_s: Longest time in seconds until `ToolTimedOut`.
            filler: Spoken when the result takes long.

        Raises:
            ValueError: The name is taken, or there is no docstring.
        """

        def register(function: F) -> F:
            name = function.__name__
            description = inspect.getdoc(function)
            if name in self._tools:
                raise ValueError(f"tool {name} is registered twice")
            if not description:
                raise ValueError(f"tool {name} has no docstring; the model reads it")
            arguments = _arguments_model(function)
            schema = arguments.model_json_schema()
            schema.pop("title", None)
            for argument in schema.get("properties", {}).values():
                argument.pop("title", None)
            self._tools[name] = Tool(
                name=name,
                label=label or name,
                description=" ".join(description.split("\n\n")[0].split()),
                schema=MappingProxyType(schema),
                deadline_s=deadline_s,
                cancel_on_barge_in=cancel_on_barge_in,
                filler=filler,
                when=when,
                function=function,
                arguments=arguments,
            )
            return function

        return register

    def open_tools(self, call: Call) -> list[Tool]:
        """The tools that the state of the call allows now, in order of registration."""
        return [tool for tool in self._tools.values() if tool.when(call)]

    async def open(self, call: Call) -> Context:
        """Ask the context hook; without one there is a plain opening and no facts."""
        if self._context is None:
            return Context(opening="Hello, how can I help you?")
        return await self._context(call)

    def running(self) -> AbstractAsyncContextManager[Any]:
        """Open the application's resources for as long as the service runs."""
        return asynccontextmanager(self._lifespan or _no_resources)()

    async def run(self, call: Call, name: str, arguments: Mapping[str, Any] | str) -> ToolResult:
        """Run one tool.

        Cancelling this cancels an async tool; a sync one goes on to its end on its thread and its result is
        lost.

        Raises:
            ToolError: One of the subclasses above; nothing else but `CancelledError` escapes.
        """
        tool = self._tools.get(name)
        if tool is None:
            raise UnknownTool(name)
        if not tool.when(call):
            raise ToolClosed(name)
        values = tool.parse(arguments)
        try:
            async with asyncio.timeout(tool.deadline_s) as deadline:
                if inspect.iscoroutinefunction(tool.function):
                    result = await tool.function(call, **values)
                else:
                    result = await asyncio.to_thread(tool.function, call, **values)
        except TimeoutError as error:
            if deadline.expired():
                raise ToolTimedOut(name, f"no result within {tool.deadline_s} s") from error
            raise ToolFailed(name, repr(error)) from error
        except Exception as error:
            raise ToolFailed(name, repr(error)) from error
        if isinstance(result, str):
            return ToolResult(say=result)
        if not isinstance(result, ToolResult):
            raise ToolFailed(name, f"returned {type(result).__name__}, not ToolResult or str")
        return result


async def _no_resources() -> AsyncIterator[None]:
    yield None


def _arguments_model(function: ToolFunction) -> type[BaseModel]:
    """A pydantic model of the parameters after the first one, which is the call."""
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        raise ValueError(f"tool {function.__name__} takes the call as first parameter")
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        parameter.name: (
            hints.get(parameter.name, Any),
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in parameters[1:]
    }
    model: type[BaseModel] = create_model(
        function.__name__, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields
    )
    return model
