"""Which words of a caller who still speaks are worth reading ahead. No I/O."""

from __future__ import annotations

#: Read ahead once so many new words are certain.
PREFILL_WORDS = 3


class ReadAhead:
    """How much of the present turn has been read."""

    def __init__(self) -> None:
        self._turn = (0, 0)
        self._words = 0

    def more(self, turn: int, revision: int, stable: str, *, is_final: bool) -> str | None:
        """What is certain, if there is enough of it that was not read.

        That is all but the last word, which may yet grow; of a final transcript, which comes at the first pause and
        mostly before the turn is committed, every word.
        """
        if (turn, revision) != self._turn:
            self._turn, self._words = (turn, revision), 0
        words = stable.split()
        certain = len(words) if is_final else len(words) - 1
        if certain - self._words < (1 if is_final else PREFILL_WORDS):
            return None
        self._words = certain
        return " ".join(words[:certain])
