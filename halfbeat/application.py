"""What an application is: a persona, a context hook and tools as typed Python functions.

The dialogue service loads one `Application` by import path (setting `app`), asks its context hook what is
known about the caller, offers the language model those tools that are open in the present state of the call,
and runs the one that the model picks. `docs/writing-an-application.md` shows a whole application in twenty
lines.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from halfbeat.call import Call, Caller
from halfbeat.tool import (
    InvalidArguments,
    Tool,
    ToolClosed,
    ToolError,
    ToolFailed,
    ToolResult,
    ToolTimedOut,
    UnknownTool,
    arguments_model,
)

__all__ = [
    "Application",
    "Call",
    "Caller",
    "Context",
    "Example",
    "InvalidArguments",
    "Tool",
    "ToolClosed",
    "ToolError",
    "ToolFailed",
    "ToolResult",
    "ToolTimedOut",
    "UnknownTool",
]

F = TypeVar("F", bound=Callable[..., Any])

#: Said when the model is late, so that the caller need not wait for the agent's first sound.
OPENERS = ("Well,", "Okay,")
#: Said when a tool takes long, or nothing follows an opener; it goes on from any of them: "Well, let me see."
FILLER = "Let me see."
#: Said to a caller who is silent: at first, and once more.
STILL_THERE = ("Are you still there?", "I can't hear you. Are you there?")
#: Said to a caller who stays silent, before the agent hangs up.
GOODBYE = "I still can't hear you, so I'm hanging up now. Goodbye!"


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
class Example:
    """One exchange shown to the model: the caller's words, the `tool` it calls, if any, and what the agent says."""

    caller: str
    reply: str
    tool: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Application:
    """A voice application: register one context hook and any number of tools on it.

    Args:
        name: For logs and metrics.
        persona: The system prompt: who the agent is and how it speaks. Keep it short, each token costs time.
        examples: A few exchanges that show a small model what to do.
        apology: Spoken when the model or a tool fails.
        fallback: Spoken in place of an answer that says what nobody knows.
        openers: Said in turn when the model is late; none where no words are better than these.
        filler: Said while a tool without a filler of its own takes long; may be empty.
        still_there: Said to a silent caller, and once more; together they are two.
        goodbye: Said to a caller who stays silent, before the agent hangs up.
        prepares: Further sentences that are often said, word for word; the voice may render them beforehand.
    """

    def __init__(
        self,
        name: str,
        persona: str,
        *,
        examples: Sequence[Example] = (),
        apology: str = "I'm sorry, that didn't work just now. Could you say that again?",
        fallback: str = "I'm afraid I don't know that. Is there anything else I can do?",
        openers: Sequence[str] = OPENERS,
        filler: str = FILLER,
        still_there: tuple[str, str] = STILL_THERE,
        goodbye: str = GOODBYE,
        prepares: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.persona = persona
        self.examples = tuple(examples)
        self.apology = apology
        self.fallback = fallback
        self.openers = tuple(openers)
        self.filler = filler
        self.still_there = still_there
        self.goodbye = goodbye
        self.prepares = tuple(prepares)
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
        nowhere in what is known are refused without it. It may be asked of a draft, with a copy of the call; what it
        does to the call counts once the clause is really said, when it is asked again.
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
        opener: str | Callable[[Call], str | None] | None = None,
        says: str | None = None,
        is_meant: Callable[[Call], bool] = lambda call: False,
    ) -> Callable[[F], F]:
        """Decorator: a function `(call: Call, **arguments) -> ToolResult | str`, async or not.

        The JSON schema comes from the type hints, the description from the docstring. A result of type `str`
        is spoken word for word. A sync function runs on a thread.

        Args:
            label: One common word for it, the name by default; see `Tool`.
            when: Whether the tool is open in the present state of the call.
            cancel_on_barge_in: Whether a barge-in cancels it while it runs.
            deadline_s: Longest time in seconds until `ToolTimedOut`.
            filler: Spoken when the result takes long, in place of the application's.
            opener: First words of the answer ("Okay,"), or a function of the call that gives them: said as soon as the
                model has picked the tool, before it runs, so they must not claim what it has not done. Exact words of
                the result that begin with them go on from there.
            says: All that is said, word for word, where that is known before the tool runs; it may then return None.
            is_meant: Whether the caller's words ask for it for sure: while it is open the model has no other choice.

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
            arguments = arguments_model(function)
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
                opener=opener if callable(opener) else lambda call: opener,
                says=says,
                when=when,
                is_meant=is_meant,
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
        if result is None and tool.says:
            return ToolResult()
        if not isinstance(result, ToolResult):
            raise ToolFailed(name, f"returned {type(result).__name__}, not ToolResult or str")
        return result


async def _no_resources() -> AsyncIterator[None]:
    yield None
