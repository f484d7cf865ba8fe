"""Drafts: answers to what the caller may have said to the end, formed before anybody knows. No I/O.

A draft forms on a copy of the role and of the conversation. Its first clause is published, so that it can be rendered;
everything else that the model streams is kept as it came. The commit that adopts the draft makes an answer of it from
the beginning: what the model streamed is checked again, with the call itself, and only now tools run. So nothing that a
draft does can be seen before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from halfbeat.drop import DropReason
from services.dialogue.answer import Answer, AskAgain, Speak
from services.dialogue.briefing import once_more
from services.dialogue.engine import CallerSaid, Delta, Finished, Prompt, TextDelta, Usage
from services.dialogue.outputs import (
    AnswerKey,
    Ask,
    DraftEnded,
    Halt,
    Output,
    Say,
    VoidDraft,
    Wasted,
    Withheld,
)


def plain(said: str) -> str:
    """Words without what recognisers differ in: case and marks."""
    return " ".join(re.findall(r"\w+", said.casefold()))


def basis(prompt: Prompt) -> Prompt:
    """What an answer is made from: equal for prompts that differ in marks of the caller's last words at most."""
    items = list(prompt.items)
    if items and isinstance(items[-1], CallerSaid):
        items[-1] = CallerSaid(plain(items[-1].text))
    return replace(prompt, items=items)


@dataclass
class Draft:
    """One draft.

    Attributes:
        key: Numbers of the commit that may adopt it.
        said: The caller's words it answers.
        prompt: What the model was told.
        answer: Forms the first clause, with a role that knows nothing of the call itself.
        deltas: What the model has streamed, its first try left out if it was asked once more.
        clause: Published.
        is_halted: The model was stopped.
    """

    key: AnswerKey
    said: str
    prompt: Prompt
    answer: Answer
    deltas: list[Delta] = field(default_factory=list)
    clause: Speak | None = None
    is_halted: bool = False

    def on_delta(self, delta: Delta) -> list[Output]:
        """Keep what the model streams; the first clause goes out, or the model is asked again.

        A `Withhold` is left to the commit, which has all of it read again.
        """
        self.deltas.append(delta)
        if self.clause is not None:
            return []
        for step in self.answer.on_delta(delta):
            match step:
                case Speak(text):
                    self.clause = step
                    return [Say(self.key, 0, text, is_draft=True)]
                case AskAgain(why):
                    self.deltas.clear()
                    return [Withheld(why), Ask(self.key, once_more(self.prompt), is_retry=True)]
        return []

    @property
    def is_read(self) -> bool:
        """Whether the model has come to its end."""
        return any(isinstance(delta, Finished) for delta in self.deltas)

    @property
    def written(self) -> int:
        """About so many tokens are kept."""
        return sum(isinstance(delta, TextDelta) for delta in self.deltas)

    @property
    def is_void(self) -> bool:
        """Whether there is no more than a beginning of it."""
        return self.is_halted and not self.is_read

    @property
    def usage(self) -> Usage:
        """What it has cost as far as it is known: the server tells at the end."""
        told = [delta for delta in self.deltas if isinstance(delta, Usage)]
        return told[-1] if told else Usage(completion_tokens=self.written)


class Drafts:
    """The draft that is alive, and the one before it.

    The latter is kept until the next commit: the caller may have only coughed, so that the next draft is equal to it;
    or the commit that adopts it may already be on its way.
    """

    def __init__(self) -> None:
        self.live: Draft | None = None
        self._former: Draft | None = None
        self._least = (0, -1)
        self._wasted_tokens = 0

    def of(self, key: AnswerKey) -> Draft | None:
        """The live draft, if it has this key."""
        return self.live if self.live is not None and self.live.key == key else None

    def staleness(self, key: AnswerKey) -> DropReason | None:
        """Why a request for a draft is not to be followed."""
        if (key.turn, key.revision) < self._least:
            return DropReason.STALE_REVISION
        return DropReason.DUPLICATE if self.live is not None and key <= self.live.key else None

    def on_resumed(self, turn: int, revision: int) -> list[Output]:
        """The caller goes on: older drafts are void."""
        self._least = max(self._least, (turn, revision))
        live = self.live
        return self.drop("resumed") if live and (live.key.turn, live.key.revision) < self._least else []

    def drop(self, outcome: str) -> list[Output]:
        """Stop working on the live draft."""
        draft, self.live = self.live, None
        if draft is None:
            return []
        draft.is_halted = True
        wasted = self.forget()
        self._former = draft
        return [Halt(draft.key), DraftEnded(outcome), *wasted]

    def forget(self) -> list[Output]:
        """The former draft has come to nothing."""
        draft, self._former = self._former, None
        return [] if draft is None else self.waste(draft)

    def waste(self, draft: Draft) -> list[Output]:
        """What this draft cost is lost."""
        self._wasted_tokens += draft.usage.completion_tokens
        return [Wasted(draft.usage)]

    def form(self, draft: Draft) -> list[Output]:
        """Ask the model for this draft, or take what it said in the former one if that was made from the same."""
        outputs = self.drop("replaced")
        self.live = draft
        former = self._former
        if former is None or not former.is_read or basis(former.prompt) != basis(draft.prompt):
            return [*outputs, Ask(draft.key, draft.prompt)]
        self._former = None
        draft.answer.retries = former.answer.retries
        for delta in former.deltas:
            outputs += draft.on_delta(delta)
        return outputs

    def recheck(self, prompt: Prompt) -> list[Output]:
        """The live draft would be made from this now; if that is something else, it must not be adopted."""
        draft = self.live
        if draft is None or basis(prompt) == basis(draft.prompt):
            return []
        return [*self.drop("voided"), VoidDraft(draft.key)]

    def take(self, key: AnswerKey) -> Draft | None:
        """The draft with these numbers, to be adopted; the router's word counts even if it was voided meanwhile."""
        if (draft := self.of(key)) is not None:
            self.live = None
            return draft
        if self._former is not None and self._former.key == key:
            draft, self._former = self._former, None
            return draft
        return None

    def take_wasted(self) -> int:
        """Tokens lost since this was asked before."""
        wasted, self._wasted_tokens = self._wasted_tokens, 0
        return wasted
