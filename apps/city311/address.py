"""Finds the address in what a caller said, through number words, abbreviations and hearing mistakes."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz, process

from apps.city311.spoken import KINDS_OF_STREET, sound_key, tokens

#: A street that fits less well than this (percent) is not taken; set on the cases in the tests.
LEAST_SCORE = 78.0
#: Streets that fit equally well within this (percent points) are ambiguous; the caller is asked which.
LEAST_MARGIN = 6.0
#: A word after the name that is this close to "street" (percent), as "treat" is, was "street".
LEAST_KIND_SCORE = 70.0
#: How well a name fits that sounds the same and is spelled otherwise (percent).
SOUNDS_EQUAL_SCORE = 84.0
#: Taken from a name with no "street" after it: "okay" alone is not Oak Street.
NO_KIND_PENALTY = 14.0
#: Words that may stand between the number and the street: "12 on oak street", "12 north oak street".
WORDS_BETWEEN = 2

# Looked for in `tokens`. A word before "street" that may be its name; "drive" and "place" are mostly no streets.
_NAME = r"(?!(?:my|our|your|their|the|this|that|a|any|every|whole|entire|same|other|is|are|for|of|about|no|\d+)\b)\w+"
_OTHER_KINDS = "drive|court|place|square|circle|way"
_KINDS = "|".join(sorted(KINDS_OF_STREET - set(_OTHER_KINDS.split("|"))))
_NAMES_STREET = re.compile(
    rf"\b{_NAME} (?:{_KINDS})\b|\b(?:on|at|to|from|is|its|not|\d+) {_NAME} (?:{_OTHER_KINDS})\b"
    rf"|\bliv(?:e|ing) (?:on|at) {_NAME}"
)
_NAMES_NUMBER = re.compile(r"\b\d+\b(?! (?:moment|2nd|sec|minute|more))")
_DENIES = re.compile(
    rf"\b(?:i|we|ive|weve)(?: \w+){{0,2}} moved\b|\b(?:dont|do not|no longer|never|not) live\b"
    rf"|\bnot (?:(?:on|at|from|in) )?(?:\d+ )?{_NAME} (?:{_KINDS}|{_OTHER_KINDS})\b"
    r"|\b(?:wrong|different|another|new|not my|isnt my) (?:address|street|house)\b"
)


class Problem(enum.StrEnum):
    """What is missing for an address."""

    NO_STREET = "no_street"
    AMBIGUOUS_STREET = "ambiguous_street"
    NO_NUMBER = "no_number"
    NUMBER_NOT_ON_STREET = "number_not_on_street"


@dataclass(frozen=True)
class StreetEntry:
    """What must be known of a street to find it: its name and the house numbers that exist."""

    id: int
    name: str
    lowest_number: int
    highest_number: int


@dataclass(frozen=True)
class Heard:
    """What was found in the words.

    Attributes:
        street: The street, where exactly one fits.
        house_number: The number said before it.
        candidates: Names of the streets that fit, best first.
        score: How well the first one fits, percent.
        problem: What is missing; None where nothing is.
    """

    street: StreetEntry | None = None
    house_number: int | None = None
    candidates: tuple[str, ...] = ()
    score: float = 0.0
    problem: Problem | None = Problem.NO_STREET


def find_street(spoken: str, streets: Sequence[StreetEntry]) -> Heard:
    """The street in a caller's words; a house number is not asked for."""
    return _find(tokens(spoken), streets)[0]


def names_street(spoken: str, besides: str = "") -> bool:
    """Whether the words seem to name a street, of the city or not.

    Args:
        spoken: As recognised.
        besides: An address ("12 Oak Street") that does not count, nor does its street without another number.
    """
    words = " ".join(tokens(spoken))
    if besides:
        number, *street = tokens(besides)
        words = re.sub(rf"(?:\b{number} |(?<!\d )\b){re.escape(' '.join(street))}\b", "", words)
    return bool(_NAMES_STREET.search(words))


def names_number(spoken: str) -> bool:
    """Whether the words hold a number; "one moment" is none."""
    return bool(_NAMES_NUMBER.search(" ".join(tokens(spoken))))


def denies_address(spoken: str) -> bool:
    """Whether the caller says that the address is another one, named or not: "I've moved", "not Oak Street"."""
    return bool(_DENIES.search(" ".join(tokens(spoken))))


def find_address(spoken: str, streets: Sequence[StreetEntry], besides: str = "") -> Heard:
    """The street and house number in a caller's words.

    Args:
        spoken: As recognised or typed: "uh twelve oak street", "12 Oak St.", "one oh five maple avenue".
        streets: The streets of the city.
        besides: Of two streets that are named ("not Oak Street, Elm Street") this one is not meant.
    """
    words = tokens(spoken)
    heard, starts = _find(words, streets)
    if heard.problem is Problem.AMBIGUOUS_STREET and besides in heard.candidates:
        heard, starts = _find(words, [street for street in streets if street.name != besides])
    if heard.street is None:
        return heard
    numbers = (_house_number(words, start) for start in starts)
    number = next((number for number in numbers if number is not None), None)
    problem = None
    if number is None:
        problem = Problem.NO_NUMBER
    elif not heard.street.lowest_number <= number <= heard.street.highest_number:
        problem = Problem.NUMBER_NOT_ON_STREET
    return Heard(heard.street, number, heard.candidates, heard.score, problem)


def _find(words: Sequence[str], streets: Sequence[StreetEntry]) -> tuple[Heard, list[int]]:
    """The street that fits best and the indices of its first word, wherever it was said."""
    if not words or not streets:
        return Heard(), []
    fits = []
    for street in _likely(words, streets):
        score, starts = _best_run(words, tokens(street.name))
        fits.append((score, starts, street))
    fits.sort(key=lambda fit: (-fit[0], fit[2].name))
    best, starts, street = fits[0]
    if best < LEAST_SCORE:
        return Heard(score=best), []
    close = tuple(entry.name for score, _, entry in fits if score >= max(LEAST_SCORE, best - LEAST_MARGIN))
    if len(close) > 1:
        return Heard(None, None, close, best, Problem.AMBIGUOUS_STREET), starts
    return Heard(street, None, close, best, None), starts


def _likely(words: Sequence[str], streets: Sequence[StreetEntry], limit: int = 40) -> list[StreetEntry]:
    """The streets that are worth a close look, in a city with more than a few."""
    if len(streets) <= limit:
        return list(streets)
    names = [" ".join(tokens(street.name)) for street in streets]
    text = " ".join(words)
    return [
        streets[position] for _, _, position in process.extract(text, names, scorer=fuzz.partial_ratio, limit=limit)
    ]


def _best_run(words: Sequence[str], name: Sequence[str]) -> tuple[float, list[int]]:
    """How well the best run of words fits a street's name (percent), and where such runs begin.

    Compared without spaces, so that "may pull street" is close to "maple street".
    """
    proper, kind = (name[:-1], name[-1]) if len(name) > 1 and name[-1] in KINDS_OF_STREET else (name, "")
    best, starts = 0.0, list[int]()
    for length in range(max(1, len(proper) - 1), len(proper) + 2):
        for index in range(len(words) - length + 1):
            run = words[index : index + length]
            following = words[index + length] if index + length < len(words) else ""
            score = _score(run, proper, following, kind)
            if score > best:
                best, starts = score, []
            if score == best:
                starts.append(index)
    return best, starts


def _score(run: Sequence[str], proper: Sequence[str], following: str, kind: str) -> float:
    """How well a run of words fits the proper name, and the word after it the kind of street, percent."""
    if proper[0][0].isdigit():
        score = 100.0 if list(run) == list(proper) else 0.0  # "15th" is not a misheard "5th"
    elif any(word in KINDS_OF_STREET or word[0].isdigit() for word in run if word not in proper):
        score = 0.0
    else:
        said, meant = "".join(run), "".join(proper)
        score = fuzz.ratio(said, meant)
        if following and sound_key(said) == sound_key(meant):
            score = max(score, SOUNDS_EQUAL_SCORE)
    if not kind:
        return score
    if following == kind:
        return min(score, 100.0)
    if following in KINDS_OF_STREET:
        return score - LEAST_MARGIN - 1.0
    if following and fuzz.ratio(following, kind) >= LEAST_KIND_SCORE:
        return score - 2.0
    return min(score, 100.0) - NO_KIND_PENALTY


def _house_number(words: Sequence[str], start: int) -> int | None:
    """The nearest number before the street, at most a few words away, else the one right after it."""
    for index in range(start - 1, max(-1, start - 2 - WORDS_BETWEEN), -1):
        if words[index].isdigit() and len(words[index]) <= 6:
            return int(words[index])
    after = start
    while after < len(words) and words[after] not in KINDS_OF_STREET:
        after += 1
    following = [word for word in words[after + 1 : after + 3] if word != "number"]
    if following and following[0].isdigit() and len(following[0]) <= 6:
        return int(following[0])
    return None
