"""Finds numbers, times and dates in the agent's words that nobody has told it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable

# ruff: noqa: SIM905 - as lists these would take a line for each word
_SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()
_TEENS = "sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_NUMBERS = {word: str(value) for value, word in enumerate(_SMALL + _TEENS)}
_NUMBERS |= {word: str(10 * value) for value, word in enumerate(_TENS, 2)}
_NUMBERS |= {"hundred": "100", "thousand": "1000", "dozen": "12", "noon": "noon", "midnight": "midnight"}
del _NUMBERS["one"]  # "one moment", "that one"

_TIMES = frozenset(
    "monday tuesday wednesday thursday friday saturday sunday january february march april june july august"
    " september october november december today tonight tomorrow yesterday morning afternoon evening weekend noon"
    " midnight".split()
)
_CLOCK = re.compile(r"\b(\d{1,2})(?::(\d\d))?\s*(?:a\.?m\b|p\.?m\b|o'clock)", re.IGNORECASE)
_WORD = re.compile(r"\d+(?:[.,:]\d+)*|[a-z']+", re.IGNORECASE)


def figures(text: str) -> set[str]:
    """The numbers of a text, spelled alike: "seven", "7" and "7:00" are "7"."""
    found = set()
    for word in _WORD.findall(text.lower()):
        if word[0].isdigit():
            found.add(word.replace(",", "").removesuffix(":00"))
        elif word in _NUMBERS:
            found.add(_NUMBERS[word])
    return found


def times(text: str) -> set[str]:
    """The days and times of a text: weekdays, "tomorrow", "noon", clock times as their figures with a mark."""
    words = {word.removesuffix("'s") for word in _WORD.findall(text.lower())}
    clocks = {
        f"@{hour}" + (f":{minute}" if minute not in (None, "00") else "") for hour, minute in _CLOCK.findall(text)
    }
    return (words & _TIMES) | {clock.rstrip(":") for clock in clocks}


class Grounding:
    """What is known in a call: from facts, tools and the agent's own words; and, apart, from the caller.

    A caller's number may be repeated ("42 Elm Street"), but a time that only the caller named must not be confirmed.
    """

    def __init__(self, known: Iterable[str] = (), caller: Iterable[str] = ()) -> None:
        self._figures: set[str] = set()
        self._times: set[str] = set()
        for text in known:
            self._figures |= figures(text)
            self._times |= times(text)
        for text in caller:
            self._figures |= figures(text)

    def invented(self, clause: str) -> set[str]:
        """What the clause says that is not known; empty when it may be spoken."""
        return (times(clause) - self._times) | (figures(clause) - self._figures - {"noon", "midnight"})
