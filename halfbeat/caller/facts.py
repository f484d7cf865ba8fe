"""Checks an answer against what it must say and must not claim (no I/O)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

# An agent that refuses, or speaks its own machinery, is wrong in every turn.
ALWAYS_FORBIDDEN = (r"can(?:no|')t assist", r"as an ai", r"language model", r"[{}<>`]", r"\bnull\b", r"\bjson\b")


@dataclass(frozen=True)
class Expected:
    """Facts of one turn, as regular expressions, case ignored.

    Attributes:
        required: each must be found.
        forbidden: none may be found.
    """

    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Reads `required` and `forbidden` of a script's turn."""
        return cls(tuple(table.get("required", ())), tuple(table.get("forbidden", ())))


def check(expected: Expected, answer: str) -> list[str]:
    """Returns what is wrong with an answer; empty when it is right."""
    if not answer.strip():
        return ["no answer"]
    faults = [f"missing /{p}/" for p in expected.required if not re.search(p, answer, re.IGNORECASE)]
    for pattern in (*expected.forbidden, *ALWAYS_FORBIDDEN):
        if re.search(pattern, answer, re.IGNORECASE):
            faults.append(f"forbidden /{pattern}/")
    return faults
