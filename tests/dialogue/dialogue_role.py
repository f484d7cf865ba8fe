"""A role for tests: tools by name, opened and closed by hand."""

from collections.abc import Sequence

from services.dialogue.engine import Shot, ToolSpec


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

    def tools(self) -> list[ToolSpec]:
        return [ToolSpec(name, name, "What it does.", {}, name in self.open) for name in self._tools]

    def is_client_tool(self, name: str) -> bool:
        return self._is_client

    def cancels_on_barge_in(self, name: str) -> bool:
        return name in self.cancelling

    def filler(self, name: str) -> str | None:
        return self.fillers.get(name)

    def may_say(self, clause: str) -> bool:
        return clause not in self.forbidden

    def hear(self, said: str) -> None:
        self.heard.append(said)

    def stay(self) -> None:
        self.is_hanging_up = False
