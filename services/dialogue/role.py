"""Who the agent is in a call: an application's persona, or what a client of the Realtime API brings. No I/O."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol, Self

from halfbeat.application import GOODBYE, STILL_THERE, Application, Call
from halfbeat.v1 import session_pb2
from services.dialogue.engine import Shot, ToolSpec

DEFAULT_INSTRUCTIONS = "You are a helpful voice assistant on the phone. Answer in one or two short spoken sentences."
APOLOGY = "I'm sorry, that didn't work just now. Could you say that again?"


class Cause(Enum):
    """Why the agent speaks although the caller has said nothing; the values of the bus."""

    NONE = 0
    OPENING = auto()
    CLIENT = auto()
    SILENCE = auto()
    SILENCE_AGAIN = auto()
    GOODBYE = auto()

    @classmethod
    def _missing_(cls, value: object) -> Cause:
        """A cause of a newer router: the model is asked."""
        return cls.NONE


class Role(Protocol):
    """What the session must know of the agent.

    Attributes:
        instructions: Persona for the model.
        shots: Examples.
        facts: What is known in this call.
        apology: Spoken when the model or a tool fails.
        fallback: Spoken in place of invented facts; None where the model may say anything.
        openers: Said in turn when the model is late.
    """

    instructions: str
    shots: Sequence[Shot]
    facts: Sequence[str]
    apology: str
    fallback: str | None
    openers: Sequence[str]

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

    def opener(self, name: str) -> str | None:
        """First words of an answer that calls this tool, said before it runs."""
        ...

    def says(self, name: str) -> str | None:
        """Everything that is said when this tool is called, where that is known before it runs."""
        ...

    def words_for(self, cause: Cause) -> str | None:
        """What is said for this cause, where it is known; not the opening."""
        ...

    def short_words(self) -> list[str]:
        """What is likely to be said in this call and known already."""
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

    def leave(self) -> None:
        """Hang up once the answer was heard."""
        ...

    def suppose(self, said: str) -> Self:
        """This role as it will be once the caller has said this. What it is told does not reach this one."""
        ...


class ApplicationRole:
    """An application and one call of it."""

    def __init__(self, application: Application, call: Call, facts: Sequence[str]) -> None:
        labels = {tool.name: tool.label for tool in application.tools.values()}
        self._application = application
        self._call = call
        self.openers: Sequence[str] = application.openers
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
            ToolSpec(t.name, t.label, t.description, t.schema, t.when(self._call), t.is_meant(self._call))
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
        return self._application.filler if tool is None or tool.filler is None else tool.filler

    def opener(self, name: str) -> str | None:
        """See `Role`. None for a tool that is closed: it will be apologised for."""
        tool = self._application.tools.get(name)
        return tool.opener(self._call) if tool is not None and tool.when(self._call) else None

    def says(self, name: str) -> str | None:
        """See `Role`. None for a tool that is closed."""
        tool = self._application.tools.get(name)
        return tool.says if tool is not None and tool.when(self._call) else None

    def words_for(self, cause: Cause) -> str | None:
        """See `Role`."""
        return _silence(cause, self._application.still_there, self._application.goodbye)

    def short_words(self) -> list[str]:
        """See `Role`."""
        application, tools = self._application, self._application.tools.values()
        openers = [tool.opener(self._call) for tool in tools]
        words = [*application.openers, *openers, *(tool.says for tool in tools), application.filler]
        words += [*(tool.filler for tool in tools), *application.prepares, self.fallback, self.apology]
        words += application.still_there
        return [text for text in words if text]

    def may_say(self, clause: str) -> bool:
        """See `Role`."""
        return self._application.may_say(self._call, clause)

    def hear(self, said: str) -> None:
        """See `Role`."""
        self._call.said = said

    def stay(self) -> None:
        """See `Role`."""
        self._call.stay()

    def leave(self) -> None:
        """See `Role`."""
        self._call.hang_up()

    def suppose(self, said: str) -> ApplicationRole:
        """See `Role`."""
        role = copy.copy(self)
        role._call = self._call.supposing(said)
        return role


class ClientRole:
    """Instructions and tools that came with the session; the client runs the tools."""

    openers: Sequence[str] = ()
    shots: Sequence[Shot] = ()
    facts: Sequence[str] = ()
    apology = APOLOGY
    fallback: str | None = None

    def __init__(self, config: session_pb2.SessionConfig) -> None:
        self.is_hanging_up = False
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

    def opener(self, name: str) -> str | None:
        """None."""
        return None

    def says(self, name: str) -> str | None:
        """None."""
        return None

    def words_for(self, cause: Cause) -> str | None:
        """The same as of an application that sets none."""
        return _silence(cause, STILL_THERE, GOODBYE)

    def short_words(self) -> list[str]:
        """See `Role`."""
        return [self.apology, *STILL_THERE]

    def may_say(self, clause: str) -> bool:
        """Anything."""
        return True

    def hear(self, said: str) -> None:
        """Nothing to note."""

    def stay(self) -> None:
        """See `Role`."""
        self.is_hanging_up = False

    def leave(self) -> None:
        """See `Role`."""
        self.is_hanging_up = True

    def suppose(self, said: str) -> ClientRole:
        """Itself: it has no state that a draft could change."""
        return self


def _silence(cause: Cause, still_there: Sequence[str], goodbye: str) -> str | None:
    words = {Cause.SILENCE: still_there[0], Cause.SILENCE_AGAIN: still_there[1], Cause.GOODBYE: goodbye}
    return words.get(cause)
