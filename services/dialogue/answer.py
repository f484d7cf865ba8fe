"""One answer of the agent as it forms: text becomes clauses, calls become tools, inventions are withheld. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from halfbeat.errors import EngineFailed, HalfbeatError
from services.dialogue.clauses import ClauseCutter, is_speakable, without_beginning
from services.dialogue.engine import CallDelta, Delta, Finished, TextDelta, Usage
from services.dialogue.grounding import Grounding
from services.dialogue.outputs import AnswerKey
from services.dialogue.role import Role

#: Fewest characters before a comma where words that are known beforehand may be cut.
FIXED_FLOOR = 120
#: Fewer words than these ("I'm sorry,") are no answer by themselves.
_OPENER_WORDS = 4


@dataclass(frozen=True)
class Speak:
    """Say these words."""

    text: str
    is_filler: bool = False
    is_opener: bool = False


@dataclass(frozen=True)
class Calls:
    """The model is done and wants these tools run, in order."""

    calls: tuple[CallDelta, ...]


@dataclass(frozen=True)
class AskAgain:
    """Nothing was said yet, and what the model began to say may not be said: ask once more."""

    why: str


@dataclass(frozen=True)
class Over:
    """The answer has been said."""

    error: HalfbeatError | None = None


Step = Speak | Calls | AskAgain | Over


@dataclass
class Answer:
    """One answer.

    Attributes:
        key: Names it.
        role: Who speaks: what may be said, openers, the words after a failure.
        grounding: What is known; None where the model may say anything.
        already: Words that were just said: the next ones, if they begin with them, go on from there.
        rounds: Tools that were run one after the other.
        waiting: Calls that are still to be run.
        knew_words: Whether all words of the tool that runs were said before it began.
        has_said_all: Whether tools have said what is to be said, or the model has to.
        retries: How often the model was asked once more.
        is_over_budget: The model was late, so an opener was said before it.
    """

    key: AnswerKey
    role: Role
    grounding: Grounding | None
    already: str = ""
    rounds: int = 0
    usage: Usage = field(default_factory=Usage)
    waiting: list[CallDelta] = field(default_factory=list)
    knew_words: bool = False
    has_said_all: bool = True
    retries: int = 0
    is_over_budget: bool = False
    _cutter: ClauseCutter = field(default_factory=ClauseCutter)
    _calls: list[CallDelta] = field(default_factory=list)
    _has_spoken: bool = False
    _has_opened: bool = False
    _words: int = 0

    def on_delta(self, delta: Delta) -> list[Step]:
        """Take what the model streams. After `AskAgain`, `Calls` or `Over` the rest of the stream is void."""
        match delta:
            case TextDelta(text):
                return self._speak(self._cutter.feed(text))
            case CallDelta():
                self._calls.append(delta)
                return []
            case Usage():
                self.usage = Usage(
                    self.usage.prompt_tokens + delta.prompt_tokens,
                    self.usage.cached_tokens + delta.cached_tokens,
                    self.usage.completion_tokens + delta.completion_tokens,
                )
                return []
            case Finished():
                return self._on_finished()

    def _on_finished(self) -> list[Step]:
        steps = self._speak(self._cutter.flush())
        if any(not isinstance(step, Speak) for step in steps):
            return steps
        if self._calls:
            calls, self._calls = tuple(self._calls), []
            return [*steps, *self.before_tool(calls[0].name), Calls(calls)]
        if self._has_spoken:
            return [*steps, Over()]
        return self._refuse("empty")

    def _speak(self, clauses: Iterable[str]) -> list[Step]:
        steps: list[Step] = []
        for clause in clauses:
            why = self._objection(clause)
            if why:
                return [*steps, *self._refuse(why)]
            self._has_spoken = True
            self._words += len(clause.split())
            steps += self._say(clause)
        return steps

    def _say(self, text: str, *, is_opener: bool = False) -> list[Step]:
        """Speak, but for what was said just now; after a late model's "Well," its own "Okay," is one too many."""
        rest = text
        if self.already:
            said = (self.already, *(self.role.openers if self.is_over_budget else ()))
            rest = next((rest for words in said if (rest := without_beginning(text, words)) != text), text)
            self.already = ""
        return [Speak(rest, is_opener=is_opener)] if is_speakable(rest) else []

    def _objection(self, clause: str) -> str:
        if self.grounding is not None and self.grounding.invented(clause):
            return "invented"
        return "" if self.role.may_say(clause) else "claim"

    def _refuse(self, why: str) -> list[Step]:
        """Ask once more if nothing was said; otherwise end, with the fallback where no more than "Well," was said."""
        self._cutter = ClauseCutter()
        self._calls.clear()
        if self._words >= _OPENER_WORDS:
            return [Over()]
        fallback = self.role.fallback or self.role.apology
        if self._has_spoken or self.retries:
            return [*self.say(fallback), Over()]
        self.retries += 1
        return [AskAgain(why)]

    def say(self, text: str, *, is_opener: bool = False) -> list[Step]:
        """Exact words, unchecked. They are all there already, so no short first clause: it would only sound cut off."""
        self._has_spoken = True
        return [step for clause in fixed_clauses(text) for step in self._say(clause, is_opener=is_opener)]

    def open(self, opener: str) -> list[Step]:
        """First words that lead to whatever comes next; the model may still be asked once more."""
        steps = self._say(opener, is_opener=True)
        self._has_opened, self.already = True, opener
        return steps

    def before_tool(self, name: str) -> list[Step]:
        """What is said before this tool runs: all its words if they are known, else its opener if nothing was said."""
        says = self.role.says(name)
        self.knew_words = bool(says)
        if says:
            return self.say(says, is_opener=True)
        opener = None if self._has_spoken or self._has_opened else self.role.opener(name)
        return self.open(opener) if opener else []

    def fail(self, error: HalfbeatError | None = None) -> list[Step]:
        """Apologise and end."""
        return [*self.say(self.role.apology), Over(error or EngineFailed("no answer"))]


def fixed_clauses(text: str) -> list[str]:
    """Words that are known beforehand, cut where sentences end."""
    cutter = ClauseCutter(first_floor=FIXED_FLOOR, floor=FIXED_FLOOR)
    return cutter.feed(text) + cutter.flush()
