"""Speak or act as one JSON object under a schema: `{"do": "speak", "say": "..."}`. No I/O.

The spoken text streams out of the growing object; for a tool the arguments follow the name.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json

from halfbeat.errors import EngineFailed
from services.dialogue.dialect import Message
from services.dialogue.engine import (
    AgentSaid,
    CallDelta,
    CallerSaid,
    Delta,
    Note,
    Prompt,
    TextDelta,
    ToolRan,
)

SPEAK = "speak"


class StructuredDialect:
    """See the module."""

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """The prompt, and what is open now."""
        return {"messages": self.messages(prompt), **self.options(prompt)}

    def beginning(self, prompt: Prompt) -> dict[str, Any]:
        """The same; what the server's template puts after it is read again with the answer."""
        return self.request(prompt)

    def messages(self, prompt: Prompt) -> list[Message]:
        """The prompt as chat messages."""
        head = [prompt.instructions, *prompt.facts]
        if prompt.tools:
            head.append('Answer as JSON: {"do": "speak", "say": "..."}, or to act {"do": NAME, "arguments": {...}}:')
            head += [f"{t.name} {json.dumps(dict(t.schema))}: {t.description}" for t in prompt.tools]
        out: list[Message] = [{"role": "system", "content": "\n".join(head)}]
        for item in prompt.items:
            match item:
                case CallerSaid(text):
                    out.append({"role": "user", "content": text})
                case AgentSaid(text, is_cut):
                    said = {"do": SPEAK, "say": text + (" —" if is_cut else "")}
                    out.append({"role": "assistant", "content": _json(said) if prompt.tools else said["say"]})
                case ToolRan():
                    act = {"do": item.name, "arguments": json.loads(item.arguments_json or "{}")}
                    out.append({"role": "assistant", "content": _json(act)})
                    out.append({"role": "user", "content": f"Result: {item.result_json or 'not known yet'}"})
                case Note(text):
                    out.append({"role": "user", "content": f"({text})"})
        return out

    def options(self, prompt: Prompt) -> dict[str, Any]:
        """The schema of what is open now."""
        if not prompt.tools:
            return {}
        speak = _object(do={"const": SPEAK}, say={"type": "string"})
        acts = [_object(do={"const": t.name}, arguments=dict(t.schema)) for t in prompt.open_tools]
        choices = acts if prompt.needs_tool else [speak, *acts]
        schema = {"anyOf": choices} if acts else speak
        return {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            }
        }

    def parser(self, prompt: Prompt) -> StructuredParser:
        """A parser for one answer."""
        return StructuredParser(is_plain=not prompt.tools)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


class StructuredParser:
    """Reads one answer as it streams."""

    def __init__(self, *, is_plain: bool) -> None:
        self._is_plain = is_plain
        self._text = ""
        self._spoken = 0
        self._is_called = False

    @property
    def is_called(self) -> bool:
        """Whether a tool was called."""
        return self._is_called

    def feed(self, text: str) -> list[Delta]:
        """More text of the object."""
        if self._is_plain:
            return [TextDelta(text)] if text else []
        self._text += text
        try:
            answer = from_json(self._text.strip(), allow_partial="trailing-strings")
        except ValueError:
            return []
        say = answer.get("say") if isinstance(answer, dict) else None
        if not isinstance(say, str) or answer.get("do") != SPEAK:
            return []
        fresh, self._spoken = say[self._spoken :], len(say)
        return [TextDelta(fresh)] if fresh else []

    def feed_call(self, index: int, call_id: str, name: str, arguments: str) -> list[Delta]:
        """A native call: not of this dialect."""
        raise EngineFailed("the server sent a native tool call in the structured dialect")

    def flush(self) -> list[Delta]:
        """The answer has ended; a tool call is complete only now."""
        if self._is_plain:
            return []
        try:
            answer = from_json(self._text.strip(), allow_partial="trailing-strings")
        except ValueError as error:
            raise EngineFailed("the answer is no JSON") from error
        if not isinstance(answer, dict) or not isinstance(answer.get("do"), str):
            raise EngineFailed("the answer is no object with a `do`")
        if answer["do"] == SPEAK:
            return []
        self._is_called = True
        return [CallDelta("", answer["do"], json.dumps(answer.get("arguments") or {}))]
