"""Which words of a caller who still speaks are worth reading ahead. No I/O."""

from __future__ import annotations

#: Read ahead once so many words are new: each reading costs the model at least what a token of an answer costs.
PREFILL_WORDS = 2
#: A final transcript is read after this pause in seconds: the request for its draft, which mostly follows at once,
#: reads it as well, and would have to wait.
FINAL_AFTER_S = 0.04


class ReadAhead:
    """How much of the present turn has been read."""

    def __init__(self) -> None:
        self._turn = (0, 0)
        self._read: list[str] = []

    def more(self, turn: int, revision: int, heard: str, *, is_final: bool) -> str | None:
        """What to read now, if there is enough that was not read.

        That is all but the last word, which may yet grow; of a final transcript every word. Words that are not certain
        yet are read as well: mostly they stay, and if not, the model's cache is good up to the first that changed.
        """
        if (turn, revision) != self._turn:
            self._turn, self._read = (turn, revision), []
        words = heard.split()
        if not is_final:
            words = words[:-1]
        known = 0
        while known < min(len(words), len(self._read)) and words[known] == self._read[known]:
            known += 1
        if len(words) - known < (1 if is_final else PREFILL_WORDS):
            return None
        self._read = words
        return " ".join(words)
