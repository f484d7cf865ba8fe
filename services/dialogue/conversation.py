"""What has been said and heard in a call, turn by turn. No I/O.

Only heard words count: an answer that was cut ends, for the model, at the last word that the caller's end played.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from services.dialogue.engine import AgentSaid, CallerSaid, Item, ToolRan


@dataclass
class SpokenClause:
    """A clause that was handed to speech; `heard_chars` of it were played.

    An opener leads to what comes after it: a tool that is called next is older than the words, for the model.
    """

    text: str
    is_filler: bool = False
    heard_chars: int = 0
    is_opener: bool = False

    @property
    def heard(self) -> str:
        """The heard part, cut after the last whole word."""
        if self.heard_chars >= len(self.text):
            return self.text
        head = self.text[: self.heard_chars]
        if not self.text[self.heard_chars].isspace():
            head = head.rpartition(" ")[0]
        return head.strip()


@dataclass
class Exchange:
    """One turn: the caller's words and what the agent did and said.

    Attributes:
        said: The caller's words; empty in the opening and when an answer was asked for without any.
        parts: Clauses and tool calls in order.
        is_complete: The whole answer was heard.
        is_cut: The caller cut it short.
    """

    turn: int
    revision: int
    said: str
    parts: list[SpokenClause | ToolRan] = field(default_factory=list)
    is_complete: bool = False
    is_cut: bool = False

    @property
    def clauses(self) -> list[SpokenClause]:
        """The clauses, fillers too; a clause's index on the bus is its place here."""
        return [part for part in self.parts if isinstance(part, SpokenClause)]

    @property
    def is_touched(self) -> bool:
        """Whether something of it has reached the caller or the world."""
        return any(isinstance(part, ToolRan) or part.heard_chars > 0 for part in self.parts)

    def hear(self, clause: int, chars: int, *, is_complete: bool = False, is_cut: bool = False) -> None:
        """Note that the caller's end has played so far; marks only ever grow."""
        for index, spoken in enumerate(self.clauses):
            if index < clause or is_complete:
                spoken.heard_chars = len(spoken.text)
            elif index == clause:
                spoken.heard_chars = max(spoken.heard_chars, min(chars, len(spoken.text)))
        self.is_complete |= is_complete
        self.is_cut |= is_cut

    def set_result(self, call_id: str, result_json: str, *, is_spoken: bool) -> bool:
        """Put the result to its call; returns whether there is such a call."""
        for index, part in enumerate(self.parts):
            if isinstance(part, ToolRan) and part.call_id == call_id:
                self.parts[index] = ToolRan(call_id, part.name, part.arguments_json, result_json, is_spoken)
                return True
        return False

    def items(self, *, assume_heard: bool = False) -> Iterator[Item]:
        """The exchange as the model sees it."""
        if self.said:
            yield CallerSaid(self.said)
        words: list[str] = []
        only_openers = True
        for part in self.parts:
            if isinstance(part, SpokenClause):
                heard = part.text if assume_heard else part.heard
                if heard and not part.is_filler:
                    words.append(heard)
                    only_openers &= part.is_opener
                continue
            if words and not only_openers:
                yield AgentSaid(" ".join(words))
                words, only_openers = [], True
            yield part
        if words:
            yield AgentSaid(" ".join(words), is_cut=self.is_cut and not assume_heard)


class Conversation:
    """The exchanges of a call, oldest first."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def begin(self, turn: int, revision: int, said: str) -> Exchange:
        """Begin a turn, or a revision of it: the former is dropped unless something of it reached the caller."""
        if self.exchanges:
            last = self.exchanges[-1]
            if last.turn == turn and not last.is_touched:
                self.exchanges.pop()
        exchange = Exchange(turn, revision, said)
        self.exchanges.append(exchange)
        return exchange

    def supposing(self, turn: int, revision: int, said: str) -> Conversation:
        """A conversation in which this turn has begun; this one stays as it is."""
        conversation = Conversation()
        conversation.exchanges = list(self.exchanges)
        conversation.begin(turn, revision, said)
        return conversation

    def find(self, turn: int, revision: int) -> Exchange | None:
        """The exchange of this turn and revision."""
        for exchange in reversed(self.exchanges):
            if (exchange.turn, exchange.revision) == (turn, revision):
                return exchange
        return None

    def items(self, *, assume_heard: bool = False) -> list[Item]:
        """The conversation as the model sees it; `assume_heard` takes the last answer as heard to its end."""
        last = len(self.exchanges) - 1
        return [
            item
            for index, exchange in enumerate(self.exchanges)
            for item in exchange.items(assume_heard=assume_heard and index == last)
        ]

    def to_json(self) -> list[dict[str, Any]]:
        """For the session's stored state."""
        return [asdict(exchange) for exchange in self.exchanges]

    @classmethod
    def from_json(cls, exchanges: list[dict[str, Any]]) -> Conversation:
        """The conversation that `to_json` gave."""
        conversation = cls()
        for table in exchanges:
            parts = [SpokenClause(**part) if "text" in part else ToolRan(**part) for part in table.get("parts", [])]
            conversation.exchanges.append(Exchange(**{**table, "parts": parts}))
        return conversation
