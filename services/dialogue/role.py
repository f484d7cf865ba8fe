"""Who the agent is in a call: an application's persona, or what a client of the Realtime API brings. No I/O."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from halfbeat.application import Application, Call
from halfbeat.v1 import session_pb2
from services.dialogue.engine import Shot, ToolSpec

DEFAULT_INSTRUCTIONS = "You are a helpful voice assistant on the phone. Answer in one or two short spoken sentences."
APOLOGY = "I'm sorry, that didn't work just now. Could you say that again?"


class Role(Protocol):
    """What the session must know of the agent.

    Attributes:
        instructions: Persona for the model.
        shots: Examples.
        facts: What is known in this call.
        apology: Spoken when the model or a tool fails.
        fallback: Spoken in place of invented facts; None where the model may say anything.
    """

    instructions: str
    shots: Sequence[Shot]
    facts: Sequence[str]
    apology: str
    fallback: str | None

    @property
    def is_hanging_up(self) -> bool:
        """Whether the call ends once the answer was heard."""
        ...

    def tools(self) -> list[ToolSpec]:
        """All tools; `is_open` as the state of the call allows now."""
        ...

    def is_client_tool(self, name: str) -> bool:
        """Whether the client runs it, not we."""
        ...

    def cancels_on_barge_in(self, name: str) -> bool:
        """Whether a barge-in cancels this tool while it runs."""
        ...

    def filler(self, name: str) -> str | None:
        """What to say while this tool takes long."""
        ...

    def may_say(self, clause: str) -> bool:
        """Whether the model's own words may be spoken."""
        ...

    def hear(self, said: str) -> None:
        """The caller's words of the turn that begins."""
        ...

    def stay(self) -> None:
        """The caller goes on talking: do not hang up."""
        ...


class ApplicationRole:
    """An application and one call of it."""

    def __init__(self, application: Application, call: Call, facts: Sequence[str]) -> None:
        labels = {tool.name: tool.label for tool in application.tools.values()}
        self._application = application
        self._call = call
        self.instructions = application.persona
        self.shots: Sequence[Shot] = tuple(
            Shot(e.caller, e.reply, labels[e.tool] if e.tool else None, e.arguments) for e in application.examples
        )
        self.facts: Sequence[str] = tuple(facts)
        self.apology = application.apology
        self.fallback: str | None = application.fallback

    @property
    def is_hanging_up(self) -> bool:
        """See `Role`."""
        return self._call.is_hanging_up

    def tools(self) -> list[ToolSpec]:
        """See `Role`."""
        return [
            ToolSpec(t.name, t.label, t.description, t.schema, t.when(self._call))
            for t in self._application.tools.values()
        ]

    def is_client_tool(self, name: str) -> bool:
        """Never."""
        return False

    def cancels_on_barge_in(self, name: str) -> bool:
        """See `Role`."""
        tool = self._application.tools.get(name)
        return tool is not None and tool.cancel_on_barge_in

    def filler(self, name: str) -> str | None:
        """See `Role`."""
        tool = self._application.tools.get(name)
        return tool.filler if tool else None

    def may_say(self, clause: str) -> bool:
        """See `Role`."""
        return self._application.may_say(self._call, clause)

    def hear(self, said: str) -> None:
        """See `Role`."""
        self._call.said = said

    def stay(self) -> None:
        """See `Role`."""
        self._call.stay()


class ClientRole:
    """Instructions and tools that came with the session; the client runs the tools and ends the call."""

    is_hanging_up = False
    shots: Sequence[Shot] = ()
    facts: Sequence[str] = ()
    apology = APOLOGY
    fallback: str | None = None

    def __init__(self, config: session_pb2.SessionConfig) -> None:
        self.instructions = config.instructions or DEFAULT_INSTRUCTIONS
        self._tools = [
            ToolSpec(t.name, t.name, t.description, json.loads(t.parameters_json or "{}")) for t in config.client_tools
        ]

    def tools(self) -> list[ToolSpec]:
        """See `Role`."""
        return self._tools

    def is_client_tool(self, name: str) -> bool:
        """Always."""
        return True

    def cancels_on_barge_in(self, name: str) -> bool:
        """The client decides."""
        return False

    def filler(self, name: str) -> str | None:
        """None."""
        return None

    def may_say(self, clause: str) -> bool:
        """Anything."""
        return True

    def hear(self, said: str) -> None:
        """Nothing to note."""

    def stay(self) -> None:
        """It never hangs up."""
