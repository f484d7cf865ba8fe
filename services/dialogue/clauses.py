"""Cuts streamed text into clauses that can be spoken: the first one short, none inside "Mr. Hill" or "3.5".

A state machine without I/O: feed text as it comes, take clauses as they are ready.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# ruff: noqa: SIM905 - as a list it would take a line for each

#: A full stop after these does not end a sentence.
ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st ave blvd rd ln hwy apt no vs etc e.g i.e a.m p.m u.s jan feb mar apr jun jul aug sep sept"
    " oct nov dec mt ft sgt capt rev gen approx dept inc ltd jr sr".split()
)
_END = re.compile(r"[.!?…]+[\"')\]]*\s+|[!?]+$")
_SOFT = re.compile(r"(?<=[^\W\d])[,;:](?:\s+|$)|[,;:]\s+|\s[-–—]\s+|—\s*")
# Where a first clause without any mark may end: before what begins like a sentence of its own.
_JOINT = re.compile(r"\s+(?=(?:but|because|although|unless|which|and (?:I|you|we|they|it|he|she))\s)")
_JOINT_FLOOR = 24
_LAST_WORD = re.compile(r"([\w.]*\w)[.!?…]+[\"')\]]*\s+$")


class ClauseCutter:
    """Cuts one answer.

    Args:
        first_floor: Fewest characters of the first clause when it is cut at a comma.
        floor: The same for later clauses.
        ceiling: A clause that grows longer is cut at its last space.
    """

    def __init__(self, first_floor: int = 2, floor: int = 40, ceiling: int = 180) -> None:
        self._first_floor = first_floor
        self._floor = floor
        self._ceiling = ceiling
        self._text = ""
        self._count = 0

    def feed(self, text: str) -> list[str]:
        """Take more text; returns the clauses that it completes, without surrounding space.

        A full stop counts once the space after it is there, because "3." may go on as "3.5"; a comma after a letter,
        an exclamation or a question mark count at once.
        """
        self._text += text
        clauses = []
        while (cut := self._cut()) is not None:
            clause = " ".join(self._text[:cut].split()).rstrip(" -–—")
            self._text = self._text[cut:]
            if is_speakable(clause):
                clauses.append(clause)
                self._count += 1
        return clauses

    def flush(self) -> list[str]:
        """The text has ended: returns what is left, as one clause or none."""
        clause = " ".join(self._text.split())
        self._text = ""
        return [clause] if is_speakable(clause) else []

    def _cut(self) -> int | None:
        """Where the earliest clause ends, so that the pieces in which the text arrives do not matter."""
        floor = self._floor if self._count else self._first_floor
        ends = (m.end() for m in _END.finditer(self._text) if self._is_sentence_end(m.end()))
        softs = (
            m.end()
            for m in _SOFT.finditer(self._text)
            if len(self._text[: m.start()].strip()) >= floor and not _is_inside_number_or_address(self._text, m)
        )
        joint_floor = None if self._count else max(self._first_floor, _JOINT_FLOOR)
        joints = (m.end() for m in _JOINT.finditer(self._text) if joint_floor and m.start() >= joint_floor)
        cuts = [cut for cut in (next(ends, None), next(softs, None), next(joints, None)) if cut is not None]
        if cuts:
            return min(cuts)
        if len(self._text) > self._ceiling:
            space = self._text.rfind(" ", 0, self._ceiling)
            return space + 1 if space > 0 else self._ceiling
        return None

    def _is_sentence_end(self, position: int) -> bool:
        head = self._text[:position]
        word = _LAST_WORD.search(head)
        if word is None or head.rstrip()[-1] in "!?":
            return True
        last = word.group(1).lower()
        if last in ABBREVIATIONS or (len(last) == 1 and last.isalpha() and last != "i"):
            # "9 a.m. The truck": a capital letter after a.m. begins a sentence, after "St." or "Mr." a name.
            return last in ("a.m", "p.m") and self._text[position : position + 1].isupper()
        return True


def without_beginning(text: str, beginning: str) -> str:
    """`text` without these first words, however they are written; all of it when it begins otherwise."""
    words = re.findall(r"\w+", beginning)
    pattern = r"\W*" + r"\W+".join(map(re.escape, words)) + r"(?=[\s,.;:!?]|$)[\s,.;:!?]*"
    found = re.match(pattern, text, re.IGNORECASE) if words else None
    return text[found.end() :] if found else text


def without_opener(text: str, openers: Iterable[str]) -> str:
    """`text` without one of these at its beginning ("Sorry,"), up to the comma: "Sorry about that." stays."""
    first, comma, rest = text.partition(",")
    return rest.lstrip() if comma and _plain(first) in map(_plain, openers) else text


def is_speakable(text: str) -> bool:
    """Whether there is anything to say."""
    return any(character.isalnum() for character in text)


def _plain(words: str) -> list[str]:
    return re.findall(r"\w+", words.lower())


def _is_inside_number_or_address(text: str, mark: re.Match[str]) -> bool:
    """Whether the comma stands within "1, 2" or "Thursday, June 4", which sound wrong when taken apart."""
    before = text[: mark.start()].rsplit(None, 1)[-1:]
    after = text[mark.end() : mark.end() + 1]
    return bool(before and before[0][-1:].isdigit() and (not after or after.isdigit()))
