"""The texts of the labelled set: kinds of turns, and which half a line belongs to."""

import hashlib
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from bench.turns.speech import Line, plain

Half = Literal["tune", "report"]
_TEXTS = Path(__file__).with_name("lines.toml")


def caller_lines(kinds: Iterable[str] = (), *, takes: int = 1) -> list[Line]:
    """Returns the lines of the set.

    Args:
        kinds: tables of `lines.toml`; all when empty.
        takes: how often each is said: by other callers, with other pauses, every third one over the telephone.

    Raises:
        KeyError: there is no such kind.
    """
    tables = tomllib.loads(_TEXTS.read_text(encoding="utf-8"))
    chosen = list(kinds) or list(tables)
    lines = [Line(text, kind) for kind in chosen for text in tables[kind]["lines"]]
    return [_take(line, take) for take in range(takes) for line in lines]


def half_of(text: str) -> Half:
    """Returns the half of the set a text belongs to: a matter of its words alone, so all its takes are in one half."""
    # The fourth byte: of the first few the one that gives both halves as many lines, and as many pauses.
    return "tune" if hashlib.sha256(plain(text).encode()).digest()[3] % 2 else "report"


def _take(line: Line, take: int) -> Line:
    """Numbers a take; the number alone changes what is drawn for it."""
    number = hashlib.sha256(f"{line.text} {take}".encode()).digest()[0]
    snr_db = (None, 25.0, 15.0)[number // 3 % 3] if number % 3 == 0 else None
    return replace(line, is_phone=number % 3 == 0, snr_db=snr_db, level_dbfs=-22.0 - 2 * (number % 4) - 0.001 * take)
