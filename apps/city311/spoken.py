"""Words as a caller says them, made comparable: numbers as digits, street kinds written out, sounds as keys."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SUFFIXES = {
    "st": "street",
    "str": "street",
    "ave": "avenue",
    "av": "avenue",
    "rd": "road",
    "dr": "drive",
    "ln": "lane",
    "blvd": "boulevard",
    "ct": "court",
    "pl": "place",
    "ter": "terrace",
    "pkwy": "parkway",
    "sq": "square",
    "hwy": "highway",
    "cir": "circle",
}
#: The words that end a street's name.
KINDS_OF_STREET = frozenset(_SUFFIXES.values()) | {"way"}

# ruff: noqa: SIM905 - as lists these would take a line for each word
_UNITS_AND_TEENS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
).split()
_ROUND_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_UP_TO_NINETEENTH = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth"
    " sixteenth seventeenth eighteenth nineteenth"
).split()
_TENS = {word: 10 * value for value, word in enumerate(_ROUND_TENS, 2)}
_NUMBERS = {word: value for value, word in enumerate(_UNITS_AND_TEENS)} | _TENS
_ORDINALS = {word: value for value, word in enumerate(_UP_TO_NINETEENTH, 1)} | {
    word[:-1] + "ieth": value for word, value in _TENS.items()
}
_ZERO_INSIDE = frozenset({"oh", "o"})  # "one oh five", but "oh, twelve" is no number

#: Spelling to sound, in order; crude on purpose: it only has to join what a recogniser confuses.
_SOUNDS = tuple(
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"^kn|^gn", "n"),
        (r"^wr", "r"),
        (r"ph", "f"),
        (r"gh", ""),
        (r"sch|sh|ch|tch", "x"),
        (r"ck|q", "k"),
        (r"dg|g(?=[ei])", "j"),
        (r"c(?=[eiy])", "s"),
        (r"c", "k"),
        (r"z", "s"),
        (r"(?<=.)[hw]", ""),
        (r"^[aeiouy]+", "A"),
        (r"[aeiouy]+", ""),
        (r"(.)\1+", r"\1"),
    )
)


def tokens(spoken: str) -> list[str]:
    """Lower-case words with numbers as digits ("one oh five" -> "105"), ordinals as "5th", street kinds in full."""
    words = re.sub(r"[^a-z0-9 ]", " ", spoken.lower().replace("'", "")).split()
    result: list[str] = []
    index = 0
    while index < len(words):
        for read in (_ordinal, _number):
            text, used = read(words, index)
            if used:
                result.append(text)
                index += used
                break
        else:
            result.append(_SUFFIXES.get(words[index], words[index]))
            index += 1
    return result


def sound_key(word: str) -> str:
    """The consonants one hears: equal for "oak" and "oke", "maple" and "maypull", "cedar" and "seeder"."""
    for pattern, sound in _SOUNDS:
        word = pattern.sub(sound, word)
    return word


def _ordinal(words: Sequence[str], index: int) -> tuple[str, int]:
    """`("21st", 2)` for "twenty first", `("5th", 1)` for "fifth", `("", 0)` where no ordinal begins."""
    word = words[index]
    following = words[index + 1] if index + 1 < len(words) else ""
    if word in _TENS and 0 < _ORDINALS.get(following, 0) < 10:
        return _with_ending(_TENS[word] + _ORDINALS[following]), 2
    if word in _ORDINALS:
        return _with_ending(_ORDINALS[word]), 1
    return "", 0


def _with_ending(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _number(words: Sequence[str], index: int) -> tuple[str, int]:
    """Digits of the number that begins here and how many words it takes; `("", 0)` where none begins.

    What does not add up is put side by side, as house numbers are said: "four twenty" is 420, "one oh five" 105,
    "twelve hundred" 1200, "two hundred and six" 206.
    """
    parts: list[int | str] = []
    start = index
    while index < len(words):
        word = words[index]
        last = parts[-1] if parts else None
        if index > start and _ordinal(words, index)[1]:
            break  # "twelve fifth street" is number 12
        if word in _NUMBERS:
            _add(parts, _NUMBERS[word])
        elif word in _ZERO_INSIDE and parts:
            parts.append(0)
        elif word.isdigit():
            parts.append(word)
        elif word in ("hundred", "thousand") and isinstance(last, int) and 0 < last < 100:
            parts[-1] = last * (100 if word == "hundred" else 1000)
        elif not (word == "and" and _is_round(last) and " ".join(words[index + 1 : index + 2]) in _NUMBERS):
            break
        index += 1
    return "".join(str(part) for part in parts), index - start


def _add(parts: list[int | str], value: int) -> None:
    last = parts[-1] if parts else None
    fits = _is_round(last) or (value < 10 and isinstance(last, int) and last % 100 in _TENS.values())
    if fits and value and isinstance(last, int):
        parts[-1] = last + value
    else:
        parts.append(value)


def _is_round(part: int | str | None) -> bool:
    return isinstance(part, int) and part >= 100 and part % 100 == 0
