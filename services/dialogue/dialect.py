"""The three ways to ask a model for "speak or act": each renders a prompt and reads the answer. No I/O.

| dialect | for | the answer is |
|---|---|---|
| native | servers and models with tool calls (vLLM, hosted ones) | text and `tool_calls` |
| structured | any server with `response_format: json_schema` | `{"do": ..., "say": ...}` |
| compact | small models on llama.cpp | one word, then text, by grammar; the prompt is a plain transcript |
"""

from __future__ import annotations

from typing import Any, Protocol

from services.dialogue.engine import Delta, Prompt

Message = dict[str, Any]


class Parser(Protocol):
    """Reads one streamed answer."""

    @property
    def is_called(self) -> bool:
        """Whether the answer is decided to be a tool call; the stream may be closed."""
        ...

    def feed(self, text: str) -> list[Delta]:
        """More text of the answer."""
        ...

    def feed_call(self, index: int, call_id: str, name: str, arguments: str) -> list[Delta]:
        """A piece of a native tool call."""
        ...

    def flush(self) -> list[Delta]:
        """The answer has ended. Raises `EngineFailed` when it makes no sense."""
        ...


class Dialect(Protocol):
    """Renders prompts and makes parsers."""

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """Fields of the request for an answer: of a plain completion where there is a `prompt`, else of a chat's.

        A conversation that grew has an equal beginning.
        """
        ...

    def beginning(self, prompt: Prompt) -> dict[str, Any]:
        """The same to have it read ahead: nothing that the request for the answer could word otherwise."""
        ...

    def parser(self, prompt: Prompt) -> Parser:
        """A parser for one answer to this prompt."""
        ...


def by_name(name: str) -> Dialect:
    """The dialect "native", "structured" or "compact"."""
    if name == "native":
        from services.dialogue.native import NativeDialect

        return NativeDialect()
    if name == "structured":
        from services.dialogue.structured import StructuredDialect

        return StructuredDialect()
    if name == "compact":
        from services.dialogue.compact import CompactDialect

        return CompactDialect()
    raise ValueError(f"no dialect {name!r}: native, structured or compact")
