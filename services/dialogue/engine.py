"""What the dialogue service asks of a language model: a prompt in, deltas out.

A prompt is data, not text: each adapter renders it in the way its model reads best (native tool calls, a JSON
schema, one label a turn). What came earlier in a call is never rewritten, so that servers find it in their cache.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class CallerSaid:
    """Words of the caller."""

    text: str


@dataclass(frozen=True)
class AgentSaid:
    """Words of the agent that the caller has heard; `is_cut` when the caller cut them short."""

    text: str
    is_cut: bool = False


@dataclass(frozen=True)
class ToolRan:
    """A tool call and its result; `result_json` is None while it is not known.

    `is_spoken`: the result's exact words were spoken and follow as `AgentSaid`.
    """

    call_id: str
    name: str
    arguments_json: str
    result_json: str | None
    is_spoken: bool = False


@dataclass(frozen=True)
class Note:
    """An instruction for the present answer alone, always last."""

    text: str


Item = CallerSaid | AgentSaid | ToolRan | Note


@dataclass(frozen=True)
class ToolSpec:
    """A tool as the model sees it. The list is the same for a whole call; what is open changes.

    `is_meant`: the caller's words ask for it, and nothing else is an answer.
    """

    name: str
    label: str
    description: str
    schema: Mapping[str, Any]
    is_open: bool = True
    is_meant: bool = False


@dataclass(frozen=True)
class Shot:
    """One example exchange: `label` is a tool's label, or None for plain speech."""

    caller: str
    reply: str
    label: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prompt:
    """All that a model is told for one answer.

    Attributes:
        instructions: Persona; equal in all calls of an application.
        shots: Examples; equal in all calls of an application.
        facts: What is known in this call.
        tools: All tools of the call, open or not.
        items: The conversation so far, oldest first.
        is_speech_only: No tool may be called (the answer after a tool's result).
    """

    instructions: str
    shots: Sequence[Shot] = ()
    facts: Sequence[str] = ()
    tools: Sequence[ToolSpec] = ()
    items: Sequence[Item] = ()
    is_speech_only: bool = False

    @property
    def open_tools(self) -> list[ToolSpec]:
        """The tools that may be called in this answer."""
        tools = [] if self.is_speech_only else [tool for tool in self.tools if tool.is_open]
        return [tool for tool in tools if tool.is_meant] or tools

    @property
    def needs_tool(self) -> bool:
        """Whether the answer has to call one of them."""
        return any(tool.is_meant for tool in self.open_tools)


@dataclass(frozen=True)
class Sampling:
    """How to draw tokens: at most `max_tokens`, `temperature` 0 for the likeliest."""

    max_tokens: int = 80
    temperature: float = 0.0


@dataclass(frozen=True)
class TextDelta:
    """Words to speak, as they form."""

    text: str


@dataclass(frozen=True)
class CallDelta:
    """A tool call, complete. `name` is what the model wrote, known or not."""

    call_id: str
    name: str
    arguments_json: str


@dataclass(frozen=True)
class Usage:
    """Tokens read, of these found in the server's cache, and written."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Finished:
    """The model is done: "stop", "length" or "tool"."""

    reason: str


Delta = TextDelta | CallDelta | Usage | Finished


class LlmEngine(Protocol):
    """A language model behind some server.

    Errors are those of `halfbeat.errors`: `Unavailable` (no connection), `TimedOut` (no first token, or a gap),
    `EngineFailed` (the server's 5xx, a broken stream), `InvalidRequest` (its 4xx).
    """

    def stream(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Delta]:
        """Deltas of one answer, ending with `Finished`. Closing the iterator stops the generation."""
        ...

    async def prefill(self, prompt: Prompt) -> Usage:
        """Make the server read the prompt now, so that its cache is warm; returns what it read. Cancelling stops it."""
        ...

    async def check(self) -> None:
        """Return if the server is there; raise as above if not."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
