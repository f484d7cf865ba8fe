"""One answer of the agent as it forms: text becomes clauses, calls become tools, inventions are withheld. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from halfbeat.errors import EngineFailed, HalfbeatError
from services.dialogue.clauses import ClauseCutter
from services.dialogue.engine import CallDelta, Delta, Finished, TextDelta, Usage
from services.dialogue.grounding import Grounding
from services.dialogue.outputs import AnswerKey

#: Fewer words than these ("I'm sorry,") are no answer by themselves.
# Fewest characters before a comma where words that are known beforehand may be cut.
FIXED_FLOOR = 120
_OPENER_WORDS = 4


@dataclass(frozen=True)
class Speak:
    """Say these words."""

    text: str
    is_filler: bool = False


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
class Limits:
    """What may be said.

    Attributes:
        grounding: What is known; None where the model may say anything.
        may_say: The application's check of a clause.
        fallback: Said in place of what may not be said.
        apology: Said after a failure.
    """

    grounding: Grounding | None
    may_say: Callable[[str], bool]
    fallback: str
    apology: str


@dataclass
class Answer:
    """One answer; `key` names it, `exchange` of the conversation takes its words."""

    key: AnswerKey
    limits: Limits
    rounds: int = 0
    usage: Usage = field(default_factory=Usage)
    waiting: list[CallDelta] = field(default_factory=list)
    has_said_all: bool = True
    _cutter: ClauseCutter = field(default_factory=ClauseCutter)
    _calls: list[CallDelta] = field(default_factory=list)
    _has_spoken: bool = False
    _words: int = 0
    _retries: int = 0

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
            return [*steps, Calls(calls)]
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
            steps.append(Speak(clause))
        return steps

    def _objection(self, clause: str) -> str:
        if self.limits.grounding is not None and self.limits.grounding.invented(clause):
            return "invented"
        return "" if self.limits.may_say(clause) else "claim"

    def _refuse(self, why: str) -> list[Step]:
        """Ask once more if nothing was said; otherwise end, with the fallback where no more than "Well," was said."""
        self._cutter = ClauseCutter()
        self._calls.clear()
        if self._words >= _OPENER_WORDS:
            return [Over()]
        if self._has_spoken:
            return [*self.say(self.limits.fallback), Over()]
        if not self._retries:
            self._retries += 1
            return [AskAgain(why)]
        return [*self.say(self.limits.fallback), Over()]

    def say(self, text: str) -> list[Step]:
        """Exact words, unchecked. They are all there already, so no short first clause: it would only sound cut off."""
        cutter = ClauseCutter(first_floor=FIXED_FLOOR, floor=FIXED_FLOOR)
        self._has_spoken = True
        return [Speak(clause) for clause in cutter.feed(text) + cutter.flush()]

    def fail(self, error: HalfbeatError | None = None) -> list[Step]:
        """Apologise and end."""
        return [*self.say(self.limits.apology), Over(error or EngineFailed("no answer"))]
