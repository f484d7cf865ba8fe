"""Tool calls as the OpenAI API has them. No I/O.

Some models write a call as bare or fenced JSON text; that is read as a call and never spoken.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

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


class NativeDialect:
    """See the module."""

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """The prompt, and what is open now."""
        return {"messages": self.messages(prompt), **self.options(prompt)}

    def beginning(self, prompt: Prompt) -> dict[str, Any]:
        """The same; what the server's template puts after it is read again with the answer."""
        return self.request(prompt)

    def messages(self, prompt: Prompt) -> list[Message]:
        """The prompt as chat messages."""
        out: list[Message] = [{"role": "system", "content": "\n".join([prompt.instructions, *prompt.facts])}]
        for item in prompt.items:
            match item:
                case CallerSaid(text):
                    out.append({"role": "user", "content": text})
                case AgentSaid(text, is_cut):
                    out.append({"role": "assistant", "content": text + (" —" if is_cut else "")})
                case ToolRan():
                    call = {"name": item.name, "arguments": item.arguments_json or "{}"}
                    calls = [{"id": item.call_id, "type": "function", "function": call}]
                    out.append({"role": "assistant", "content": None, "tool_calls": calls})
                    content = item.result_json or '{"status": "not known yet"}'
                    out.append({"role": "tool", "tool_call_id": item.call_id, "content": content})
                case Note(text):
                    out.append({"role": "user", "content": f"({text})"})
        return out

    def options(self, prompt: Prompt) -> dict[str, Any]:
        """The tools that are open now."""
        functions = [
            {
                "type": "function",
                "function": {"name": t.name, "description": t.description, "parameters": dict(t.schema)},
            }
            for t in prompt.open_tools
        ]
        return {"tools": functions} | ({"tool_choice": "required"} if prompt.needs_tool else {}) if functions else {}

    def parser(self, prompt: Prompt) -> NativeParser:
        """A parser for one answer."""
        return NativeParser()


@dataclass
class _Call:
    call_id: str = ""
    name: str = ""
    arguments: str = ""


class NativeParser:
    """Reads one answer as it streams."""

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}
        self._held = ""
        self._is_text = False

    @property
    def is_called(self) -> bool:
        """False: further pieces of the calls may follow, so the stream is read to its end."""
        return False

    def feed(self, text: str) -> list[Delta]:
        """Text is passed on, unless it begins like JSON or a code fence: then it is held back."""
        if self._is_text:
            return [TextDelta(text)] if text else []
        self._held += text
        head = self._held.lstrip()
        if not head or head[0] in "{[`<":
            return []
        self._is_text = True
        return [TextDelta(self._held)]

    def feed_call(self, index: int, call_id: str, name: str, arguments: str) -> list[Delta]:
        """A piece of a call; a new index begins a new call."""
        call = self._calls.setdefault(index, _Call())
        call.call_id = call.call_id or call_id
        call.name += name
        call.arguments += arguments
        return []

    def flush(self) -> list[Delta]:
        """The calls, complete; also one that was written as text."""
        deltas: list[Delta] = [CallDelta(c.call_id, c.name, c.arguments or "{}") for c in self._calls.values()]
        if not self._is_text and self._held.strip():
            deltas.append(_call_in_text(self._held))
        return deltas


def _call_in_text(text: str) -> CallDelta:
    start = text.find("{")
    try:
        call, _ = json.JSONDecoder().raw_decode(text[max(start, 0) :])
        name = call["name"]
        arguments = call.get("arguments", call.get("parameters", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineFailed("the answer is code, not speech") from error
    return CallDelta("", str(name), arguments if isinstance(arguments, str) else json.dumps(arguments))
