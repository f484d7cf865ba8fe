"""From written to spoken text: "12 Oak St. at 3:30 PM" -> "twelve Oak Street at three thirty P M".

The words of numbers come from num2words; `expressions` finds what each number is. Looked at and not taken: gruut's own
verbaliser (60-110 ms a clause, reads 555-0134 as two big numbers) and WeText (fast, but "the fifth of december" and
"twelve point five dollars").

Every spoken word keeps the characters it was written with, so that what was *heard* can be told in the text's words.
"""

import re
import unicodedata
from dataclasses import dataclass

from services.tts.expressions import RULES

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*(?:(?<=s)['’])?")
_READ_AS_WORDS = frozenset({"OK", "NASA", "COVID", "FEMA", "ZIP", "PIN", "ADA", "HI", "NO", "YES", "AND", "THE", "NOT"})


@dataclass(frozen=True)
class Spoken:
    """One written word or expression and how it is said.

    Attributes:
        char_start: first character in the text.
        char_end: one past the last, closing punctuation included.
        words: lower-case words, capitalised names and single capital letters ("P"); "," is a short pause inside.
        pause: punctuation after it, one of "", ",", ";", ":", ".", "?", "!".
    """

    char_start: int
    char_end: int
    words: tuple[str, ...]
    pause: str = ""


def normalise(text: str) -> tuple[Spoken, ...]:
    """Returns what is said, in order. Never fails: what is not understood (another script, say) is left out."""
    found: list[tuple[int, int, tuple[str, ...]]] = []
    is_taken = [False] * len(text)

    def take(start: int, end: int, words: tuple[str, ...]) -> None:
        found.append((start, start + len(text[start:end].rstrip()), words))
        is_taken[start:end] = [True] * (end - start)

    for pattern, say in RULES:
        for match in pattern.finditer(text):
            if not any(is_taken[match.start() : match.end()]):
                words = say(match)
                if words:
                    take(*match.span(), tuple(words))
    for match in _WORD.finditer(text):
        if not any(is_taken[match.start() : match.end()]):
            words = _word(match[0], is_shouted=text.isupper())
            if words:
                take(*match.span(), tuple(words))
    found.sort()
    return tuple(_with_pause(text, found, i) for i in range(len(found)))


def spoken_text(text: str) -> str:
    """Returns the spoken words as one string, for engines that take text and for reading."""
    return " ".join(" ".join(item.words).replace(" ,", ",") + item.pause for item in normalise(text))


def _with_pause(text: str, found: list[tuple[int, int, tuple[str, ...]]], i: int) -> Spoken:
    """Gives an expression the punctuation up to the next one."""
    start, end, words = found[i]
    is_last = i + 1 == len(found)
    gap = text[end:] if is_last else text[end : found[i + 1][0]]
    pause = _pause_of(gap)
    if is_last and not pause and text[end - 1] == ".":  # "... at 6 p.m." ends the sentence too
        pause = "."
    closing = re.split(r"\s", gap)[0]
    return Spoken(start, end + len(closing), words, pause)


def _pause_of(gap: str) -> str:
    if "..." in gap or "…" in gap:
        return ","
    for mark in "?!.;:":
        if mark in gap:
            return mark
    return "," if re.search(r"[,()—–\n]|\s-\s|--", gap) else ""


def _word(written: str, *, is_shouted: bool) -> list[str]:
    plain = written.replace("’", "'")
    if not unicodedata.normalize("NFKD", plain)[0].isascii():
        return []
    is_initials = plain.isupper() and 2 <= len(plain) <= 4 and plain not in _READ_AS_WORDS
    return list(plain) if is_initials and not is_shouted else [plain]
