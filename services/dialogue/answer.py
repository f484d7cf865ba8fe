"""One answer of the agent as it forms: text becomes clauses, calls become tools, inventions are withheld. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from halfbeat.errors import EngineFailed, HalfbeatError
from services.dialogue.clauses import ClauseCutter, is_speakable, without_beginning, without_opener
from services.dialogue.engine import CallDelta, Delta, Finished, TextDelta, Usage
from services.dialogue.grounding import Grounding
from services.dialogue.outputs import AnswerKey
from services.dialogue.role import Role

#: Fewest characters before a comma where words that are known beforehand may be cut.
FIXED_FLOOR = 120
#: Fewer words than these ("I'm sorry,") are no answer by themselves.
_OPENER_WORDS = 4
#: Words that open an answer and say nothing: after another clause that opens it, they are one too many.
_OPENERS = ("Well,", "Okay,", "Sure,", "Thanks,", "Of course,")
#: An apology opens an answer too, but says something: what a tool says keeps it, but for a second one.
_APOLOGIES = ("Sorry,", "I'm sorry,")


@dataclass(frozen=True)
class Speak:
    """Say these words."""

    text: str
    is_filler: bool = False
    is_opener: bool = False


@dataclass(frozen=True)
class Withhold:
    """What the model went on to say may not be said; the answer ends without it."""

    why: str


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


Step = Speak | Withhold | Calls | AskAgain | Over


@dataclass
class Answer:
    """One answer.

    Attributes:
        key: Names it.
        role: Who speaks: what may be said, openers, the words after a failure.
        grounding: What is known; None where the model may say anything.
        already: The clause that was just said. Other words than those that the model had in mind with it go on from
            there: what they begin with is left out if it was said, or is an opener after another one.
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
    _goes_on: bool = False
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
        self._goes_on = False
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
            steps += self._say(clause if self._goes_on else self._joined(clause))
            self._goes_on = True
        return steps

    def _joined(self, text: str, *, keeps_apology: bool = False) -> str:
        """`text` as it goes on from what was just said, after "Well," without another opener."""
        rest = without_beginning(text, self.already)
        if rest != text or not self.already.endswith(","):
            return rest
        is_apology = without_opener(self.already, _APOLOGIES) != self.already
        apologies = () if keeps_apology and not is_apology else _APOLOGIES
        return without_opener(text, (*_OPENERS, *self.role.openers, *apologies))

    def _say(self, text: str, *, is_opener: bool = False) -> list[Step]:
        if not is_speakable(text):
            return []
        self.already = text
        return [Speak(text, is_opener=is_opener)]

    def _objection(self, clause: str) -> str:
        if self.grounding is not None and self.grounding.invented(clause):
            return "invented"
        return "" if self.role.may_say(clause) else "claim"

    def _refuse(self, why: str) -> list[Step]:
        """Ask once more if nothing was said; otherwise end, with the fallback where no more than "Well," was said."""
        self._cutter, self._goes_on = ClauseCutter(), False
        self._calls.clear()
        if self._words >= _OPENER_WORDS:
            return [Withhold(why), Over()]
        if self._has_spoken or self.retries:
            return [Withhold(why), *self.say(self.role.fallback or self.role.apology, keeps_apology=False), Over()]
        self.retries += 1
        return [AskAgain(why)]

    def say(self, text: str, *, is_opener: bool = False, keeps_apology: bool = True) -> list[Step]:
        """Exact words, unchecked. They are all there already, so no short first clause: it would only sound cut off."""
        self._has_spoken = True
        text = self._joined(text, keeps_apology=keeps_apology)
        return [step for clause in fixed_clauses(text) for step in self._say(clause, is_opener=is_opener)]

    def open(self, opener: str) -> list[Step]:
        """First words that lead to whatever comes next; the model may still be asked once more."""
        self._has_opened = True
        return self._say(self._joined(opener), is_opener=True)

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
        return [*self.say(self.role.apology, keeps_apology=False), Over(error or EngineFailed("no answer"))]


def fixed_clauses(text: str) -> list[str]:
    """Words that are known beforehand, cut where sentences end."""
    cutter = ClauseCutter(first_floor=FIXED_FLOOR, floor=FIXED_FLOOR)
    return cutter.feed(text) + cutter.flush()
