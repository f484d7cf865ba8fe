"""The one-word protocol for small models on llama.cpp: a transcript, which the model goes on with.

    > Is there a fee?
    other No, the extra pickup is free.
    > Please do.
    book Done, a truck is booked.
    > There's a hole in the road.
    problem {"kind":"pothole"} Thanks, I've reported it.

The first token decides between speech and each tool, the second is a word already. Between the caller's last word and
the answer lies one token (the line's end, with the full stop if there is one), where a chat template has five, so that
little is left to read when the caller has spoken. A grammar admits only what is open now. No I/O here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from halfbeat.errors import EngineFailed
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
#: Begins a line of the caller.
CALLER = ">"
_HEAD = "A phone agent's calls, word for word. Lines that begin with > are the caller's."
_CACHE = {"cache_prompt": True, "timings_per_token": True}


class CompactDialect:
    """See the module."""

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """A completion request; the grammar is a field that llama.cpp adds to the API."""
        return {
            "prompt": transcript(prompt) + "\n",
            "stop": ["\n"],
            "extra_body": {"grammar": grammar(prompt), **_CACHE},
        }

    def beginning(self, prompt: Prompt) -> dict[str, Any]:
        """The same up to where it may still grow: within the caller's words, or where they will begin."""
        text = transcript(prompt)
        if prompt.items and not isinstance(prompt.items[-1], CallerSaid | Note):
            text += f"\n{CALLER}"
        return {"prompt": text, "extra_body": _CACHE}

    def parser(self, prompt: Prompt) -> CompactParser:
        """A parser for one answer."""
        return CompactParser(prompt)


def transcript(prompt: Prompt) -> str:
    """The prompt as text, but for the end of its last line; a longer conversation only ever appends."""
    speech = f"{SPEECH} " if prompt.tools else ""
    lines = [prompt.instructions]
    if prompt.tools:
        lines.append("Every answer of the agent starts with one word:")
        lines += [f"{_signature(tool)}: {tool.description.rstrip('.')}" for tool in prompt.tools]
        lines.append(f"{SPEECH}: anything else, questions and small talk")
    lines += ["", _HEAD, ""]
    for shot in prompt.shots:
        begin = f"{_do(shot.label, shot.arguments)} " if shot.label else speech
        lines += [f"{CALLER} {shot.caller}", begin + shot.reply]
    if prompt.facts or prompt.shots:
        lines += ["", f"(A new call begins. {' '.join(prompt.facts)})"]
    return "\n".join(lines + _conversation(prompt, speech))


def _conversation(prompt: Prompt, speech: str) -> list[str]:
    labels = {tool.name: tool.label for tool in prompt.tools}
    lines: list[str] = []
    did = ""  # a call whose words have not come yet
    is_callers = False
    for item in prompt.items:
        if did and not isinstance(item, AgentSaid | Note):
            lines.append(did)
            did = ""
        match item:
            case CallerSaid(text):
                if is_callers:
                    lines[-1] += f" {text}"  # two turns of the caller in a row are one line
                else:
                    lines.append(f"{CALLER} {text}")
            case AgentSaid(text, is_cut):
                lines.append((f"{did} " if did else speech) + text + (" —" if is_cut else ""))
                did = ""
            case ToolRan():
                did = _do(labels.get(item.name, item.name), json.loads(item.arguments_json or "{}"))
                if not item.is_spoken:
                    lines += [did, f"(Result: {item.result_json or 'not known yet'})"]
                    did = ""
            case Note(text):
                lines.append(f"({text})")
        is_callers = isinstance(item, CallerSaid)
    return [*lines, did] if did else lines


def _signature(tool: ToolSpec) -> str:
    """The label and what follows it: `problem {"kind":...}`."""
    names = ",".join(f'"{name}":...' for name in tool.schema.get("properties", {}))
    return f"{tool.label} {{{names}}}" if names else tool.label


def _do(label: str, arguments: Mapping[str, Any]) -> str:
    return f"{label} {json.dumps(arguments, separators=(',', ':'))}" if arguments else label


def grammar(prompt: Prompt) -> str:
    """GBNF of the answers that are open now (llama.cpp, XGrammar)."""
    rules = [r"reply ::= [^\x00-\x20{}<>`|*#_:(-] [^\n{}<>`|*#_]* " + '"\\n"?']
    choices = [] if prompt.needs_tool else [f'"{SPEECH} " reply' if prompt.tools else "reply"]
    for number, tool in enumerate(prompt.open_tools):
        if tool.schema.get("properties"):
            rules.append(f"arguments-{number} ::= {_object_rule(tool.schema, tool.schema)}")
            choices.append(f'"{tool.label} " arguments-{number}')
        else:
            choices.append(f'"{tool.label}"')
    return "\n".join([f"root ::= {' | '.join(choices)}", *rules, *_VALUES])


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
        raise EngineFailed("the server sent a native tool call in the one-word dialect")

    def flush(self) -> list[Delta]:
        """The stream has ended.

        Raises:
            EngineFailed: It ended before anything was decided.
        """
        deltas = self.feed(" ") if not self._is_speech else []  # a label that begins another one is whole now
        if not self._is_called and not self._is_speech:
            raise EngineFailed(f"the answer is not whole: {self._text[:20]!r}")
        return deltas

    def _decide(self) -> list[Delta]:
        label, space, rest = self._text.partition(" ")
        fits = [t for t in self._tools if (t.label == label if space else t.label.startswith(label))]
        is_speech = label == SPEECH if space else SPEECH.startswith(label)
        if is_speech and space:
            self._is_speech = True
            return [TextDelta(rest)] if rest else []
        if not fits and not is_speech:
            raise EngineFailed(f"the answer has no known label: {label[:20]!r}")
        if len(fits) != 1 or is_speech:
            return []
        arguments = "{}"
        if fits[0].schema.get("properties"):
            try:
                _, end = json.JSONDecoder().raw_decode(rest)
            except ValueError:
                return []
            arguments = rest[:end]
        self._is_called = True
        return [CallDelta("", fits[0].name, arguments)]
