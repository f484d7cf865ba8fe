"""How much of the agent's words was heard: marks, by the engine's word timings or in proportion. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from halfbeat.audio import RATE_HZ

#: A common speaking rate; guesses the length of a clause before all of its audio came.
CHARS_PER_S = 15


@dataclass(frozen=True, slots=True)
class Word:
    """Characters of a clause's text and when they sound, in samples at 16 kHz since the clause began."""

    char_start: int
    char_end: int
    start_samples: int
    end_samples: int


@dataclass(frozen=True, slots=True)
class HeardMark:
    """How much of an answer the caller has heard. `text`: the words, fillers included."""

    epoch: int
    turn: int
    revision: int
    clause: int
    chars: int
    played_ms: int
    text: str = ""
    is_complete: bool = False
    is_cut: bool = False


def chars_heard(text: str, words: Sequence[Word], heard: int, received: int, total: int | None) -> int:
    """Characters of a clause whose audio was played, whole words only.

    Args:
        text: of the clause.
        words: its timings, as far as they came; none leaves it to proportion.
        heard: samples played, at 16 kHz.
        received: samples that came so far.
        total: samples of the whole clause; None before all came.
    """
    if words:
        return max((w.char_end for w in words if w.end_samples <= heard), default=0)
    length = max(received, len(text) * RATE_HZ // CHARS_PER_S) if total is None else total
    chars = len(text) * heard // length if length else 0
    space = text.rfind(" ", 0, chars + 1)
    return chars if chars >= len(text) else max(0, space)
