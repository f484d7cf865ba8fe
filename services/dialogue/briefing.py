"""What the model is told, and what may be said after that. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from services.dialogue.engine import AgentSaid, CallerSaid, Item, Note, Prompt, ToolRan
from services.dialogue.grounding import Grounding
from services.dialogue.role import Role

#: Told to the model when its first try was not fit to be spoken.
ONCE_MORE = "Answer in one short sentence without any number, time, date or promise."


def brief(role: Role, items: Sequence[Item], *, is_speech_only: bool = False) -> Prompt:
    """The prompt of this role after this conversation."""
    return Prompt(role.instructions, role.shots, role.facts, role.tools(), items, is_speech_only)


def once_more(prompt: Prompt) -> Prompt:
    """The same, after an answer that was not fit to be spoken."""
    return replace(prompt, items=[*prompt.items, Note(ONCE_MORE)])


def grounding(role: Role, items: Iterable[Item]) -> Grounding | None:
    """What is known; None for a role that may say anything."""
    if role.fallback is None:
        return None
    known, caller = [role.instructions, *role.facts], []
    for item in items:
        match item:
            case CallerSaid(text):
                caller.append(text)
            case AgentSaid(text):
                known.append(text)
            case ToolRan():
                known += [item.arguments_json, item.result_json or ""]
    return Grounding(known, caller)
