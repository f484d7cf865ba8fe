"""The one-label protocol for small models that call tools badly: each answer begins with one word.

    other: I can only help with city services.
    book: Done. A truck comes tomorrow.
    problem {"kind":"pothole"}: Thanks, I have reported it.

The first token decides what happens, so a tool runs one token after the prompt is read, and a grammar admits only
what is open now. Examples go into the prompt as exchanges of an earlier call. No I/O here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    ToolSpec,
)

#: Label of plain speech.
SPEECH = "other"


class CompactDialect:
    """See the module."""

    def messages(self, prompt: Prompt) -> list[Message]:
        """The prompt as chat messages; a longer conversation only ever appends."""
        return messages(prompt)

    def options(self, prompt: Prompt) -> dict[str, Any]:
        """The grammar, as a field that llama.cpp adds to the API; text stops at a line's end."""
        return {"extra_body": {"grammar": grammar(prompt), "cache_prompt": True, "timings_per_token": True}}

    def parser(self, prompt: Prompt) -> CompactParser:
        """A parser for one answer."""
        return CompactParser(prompt)


def messages(prompt: Prompt) -> list[Message]:
    """The prompt as chat messages; a longer conversation only ever appends."""
    rules = [f"{_signature(tool)}: {tool.description.rstrip('.')}" for tool in prompt.tools]
    rules.append(f"{SPEECH}: anything else, questions and small talk")
    head = prompt.instructions
    if prompt.tools:
        head += "\nStart every answer with one word:\n" + "\n".join(rules)
    out: list[Message] = [{"role": "system", "content": head}]
    for shot in prompt.shots:
        out.append({"role": "user", "content": shot.caller})
        out.append({"role": "assistant", "content": _line(shot.label or SPEECH, shot.arguments, shot.reply)})
    if prompt.facts or prompt.shots:
        out.append({"role": "system", "content": "A new call begins. " + " ".join(prompt.facts)})
    labels = {tool.name: tool.label for tool in prompt.tools}
    pending: str | None = None
    for item in prompt.items:
        match item:
            case CallerSaid(text):
                if pending is not None:
                    out.append({"role": "assistant", "content": pending})
                    pending = None
                _append_user(out, text)
            case ToolRan():
                if pending is not None:
                    out.append({"role": "assistant", "content": pending})
                label = labels.get(item.name, item.name)
                pending = _head(label, json.loads(item.arguments_json or "{}"))
                if not item.is_spoken:
                    out.append({"role": "assistant", "content": pending})
                    out.append({"role": "system", "content": f"Result: {item.result_json or 'not known yet'}"})
                    pending = None
            case AgentSaid(text, is_cut):
                said = text + (" —" if is_cut else "")
                head_text = pending if pending is not None else SPEECH
                out.append({"role": "assistant", "content": f"{head_text}: {said}" if prompt.tools else said})
                pending = None
            case Note(text):
                out.append({"role": "system", "content": text})
    if pending is not None:
        out.append({"role": "assistant", "content": pending})
    return out


def _signature(tool: ToolSpec) -> str:
    """The label and what follows it: `problem {"kind":...}`."""
    names = ",".join(f'"{name}":...' for name in tool.schema.get("properties", {}))
    return f"{tool.label} {{{names}}}" if names else tool.label


def _append_user(out: list[Message], text: str) -> None:
    """Two turns of the caller in a row become one message: chat templates want roles to alternate."""
    if out[-1]["role"] == "user":
        out[-1] = {"role": "user", "content": f"{out[-1]['content']} {text}"}
    else:
        out.append({"role": "user", "content": text})


def _head(label: str, arguments: Mapping[str, Any]) -> str:
    return f"{label} {json.dumps(arguments, separators=(',', ':'))}" if arguments else label


def _line(label: str, arguments: Mapping[str, Any], speech: str) -> str:
    return f"{_head(label, arguments)}: {speech}"


def grammar(prompt: Prompt) -> str:
    """GBNF of the answers that are open now (llama.cpp, XGrammar)."""
    rules = ["reply ::= [A-Za-z0-9\"'] [^\\n{}<>`|*#_]*", 'ws ::= " "?']
    choices = [f'"{SPEECH}: " reply']
    for number, tool in enumerate(prompt.open_tools):
        if tool.schema.get("properties"):
            rules.append(f"arguments-{number} ::= {_object_rule(tool.schema, tool.schema)}")
            choices.append(f'"{tool.label} " arguments-{number}')
        else:
            choices.append(f'"{tool.label}:"')
    root = "reply" if not prompt.tools else " | ".join(choices)
    return "\n".join([f"root ::= {root}", *rules, *_VALUES])


_VALUES = (
    'string ::= "\\"" [^"\\\\\\n\\x00-\\x1f]* "\\""',
    'integer ::= "-"? [0-9]+',
    'number ::= "-"? [0-9]+ ("." [0-9]+)?',
    'boolean ::= "true" | "false"',
    'null ::= "null"',
    "value ::= string | number | boolean | null | object | array",
    'object ::= "{" (string ":" value ("," string ":" value)*)? "}"',
    'array ::= "[" (value ("," value)*)? "]"',
)


def _object_rule(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """All properties in order, the optional ones too: a small model decides better on a value than on an omission."""
    parts = [f'"\\"{name}\\":" {_value_rule(value, root)}' for name, value in schema.get("properties", {}).items()]
    return '"{" ' + ' "," '.join(parts) + ' "}"'


def _value_rule(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _value_rule(root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], root)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return "(" + " | ".join(json.dumps(json.dumps(value)) for value in values) + ")"
    if "anyOf" in schema:
        return "(" + " | ".join(_value_rule(choice, root) for choice in schema["anyOf"]) + ")"
    kind = schema.get("type")
    if kind in ("string", "integer", "number", "boolean", "null"):
        return str(kind)
    if kind == "array" and "items" in schema:
        item = _value_rule(schema["items"], root)
        return f'"[" ({item} ("," {item})*)? "]"'
    if kind == "object" and schema.get("properties"):
        return "(" + _object_rule(schema, root) + ")"
    if kind in ("object", "array"):
        return str(kind)  # of what, the tool's own types check
    return "value"


class CompactParser:
    """Reads one answer as it streams.

    `feed` returns deltas; after a `CallDelta` the rest is of no use and the stream may be closed.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._tools: Sequence[ToolSpec] = prompt.open_tools
        self._is_speech = not prompt.tools
        self._text = ""
        self._is_called = False

    @property
    def is_called(self) -> bool:
        """Whether a tool was called."""
        return self._is_called

    def feed(self, text: str) -> list[Delta]:
        """Deltas that this text completes."""
        if self._is_called:
            return []
        if self._is_speech:
            return [TextDelta(text)] if text else []
        self._text += text
        return self._decide()

    def feed_call(self, index: int, call_id: str, name: str, arguments: str) -> list[Delta]:
        """A native call, from a server that ignores the grammar: not of this dialect."""
        raise EngineFailed("the server sent a native tool call in the one-label dialect")

    def flush(self) -> list[Delta]:
        """The stream has ended.

        Raises:
            EngineFailed: It ended before anything was decided.
        """
        if self._is_called or self._is_speech:
            return []
        raise EngineFailed(f"the answer has no known label: {self._text[:20]!r}")

    def _decide(self) -> list[Delta]:
        label = self._text.split(" ", 1)[0].split(":", 1)[0]
        is_whole = len(label) < len(self._text)
        if label == SPEECH:
            _, colon, rest = self._text.partition(":")
            if not colon:
                return []
            self._is_speech = True
            return [TextDelta(rest)] if rest.strip() else []
        matching = [t for t in self._tools if t.label == label or (not is_whole and t.label.startswith(label))]
        if is_whole and not matching:
            raise EngineFailed(f"the answer has no known label: {label[:20]!r}")
        if len(matching) != 1 or (not is_whole and SPEECH.startswith(label)):
            return []
        tool = matching[0]
        if not tool.schema.get("properties"):
            self._is_called = True
            return [CallDelta("", tool.name, "{}")]
        arguments = self._text[len(label) :].strip() if is_whole else ""
        try:
            _, end = json.JSONDecoder().raw_decode(arguments)
        except ValueError:
            return []
        self._is_called = True
        return [CallDelta("", tool.name, arguments[:end])]
