"""A role for tests: tools by name, opened and closed by hand."""

import copy
from collections.abc import Sequence

from services.dialogue.engine import Shot, ToolSpec
from services.dialogue.role import Cause


class FakeRole:
    """See `services.dialogue.role.Role`."""

    instructions = "You are an agent."
    shots: Sequence[Shot] = ()
    facts: Sequence[str] = ("A truck can come tomorrow.",)
    apology = "Sorry about that."
    fallback: str | None = "I do not know that."

    def __init__(self, *tools: str, client: bool = False) -> None:
        self.open = set(tools)
        self._tools = tools
        self._is_client = client
        self.is_hanging_up = False
        self.cancelling: set[str] = set()
        self.fillers: dict[str, str] = {}
        self.forbidden: set[str] = set()
        self.heard: list[str] = []
        self.openers: Sequence[str] = ("Well,", "Hm,")
        self.tool_openers: dict[str, str] = {}
        self.known: dict[str, str] = {}
        self.checked: list[str] = []

    def tools(self) -> list[ToolSpec]:
        return [ToolSpec(name, name, "What it does.", {}, name in self.open) for name in self._tools]

    def is_client_tool(self, name: str) -> bool:
        return self._is_client

    def cancels_on_barge_in(self, name: str) -> bool:
        return name in self.cancelling

    def filler(self, name: str) -> str | None:
        return self.fillers.get(name, self.fillers.get(""))

    def opener(self, name: str) -> str | None:
        return self.tool_openers.get(name)

    def says(self, name: str) -> str | None:
        return self.known.get(name)

    def words_for(self, cause: Cause) -> str | None:
        words = {Cause.SILENCE: "Hello?", Cause.SILENCE_AGAIN: "Are you there?", Cause.GOODBYE: "Goodbye, then."}
        return words.get(cause)

    def short_words(self) -> list[str]:
        return [*self.openers, self.apology]

    def may_say(self, clause: str) -> bool:
        self.checked.append(clause)
        return clause not in self.forbidden

    def hear(self, said: str) -> None:
        self.heard.append(said)

    def stay(self) -> None:
        self.is_hanging_up = False

    def leave(self) -> None:
        self.is_hanging_up = True

    def suppose(self, said: str) -> "FakeRole":
        role = copy.deepcopy(self)
        role.is_hanging_up = False
        role.heard.append(said)
        return role
