"""Do the words read as finished? Punctuation and closed word classes; cheap and local. No I/O."""

import re

from services.router.language import table

_WORD = re.compile(r"[\w'-]+")


class Reader:
    """Reads the words of one language."""

    def __init__(self, language: str = "en") -> None:
        words = table(language, "turn")
        self._is_known = bool(words)
        self._open = words.get("open_words", frozenset()) | words.get("fillers", frozenset())
        self._open_phrases = words.get("open_phrases", frozenset())
        self._short = words.get("short_answers", frozenset())
        self._waits = words.get("wait_phrases", frozenset())

    def log_odds(self, text: str) -> float:
        """Returns how much the words speak for the end of the turn: above 0 for it, below 0 against it."""
        words = _WORD.findall(text.lower())
        if not self._is_known or not words:
            return 0.0
        if " ".join(words) in self._short:
            return 2.0
        if self._ends_in(words, self._open_phrases):
            return -3.0
        if words[-1] in self._open:
            return -2.5
        mark = text.rstrip()[-1]
        return {".": 1.0, "?": 2.0, "!": 1.0, ",": -2.0}.get(mark, -0.5)

    def is_wait(self, text: str) -> bool:
        """Whether the caller asks for time: "hold on", "let me look"."""
        return self._ends_in(_WORD.findall(text.lower()), self._waits)

    @staticmethod
    def _ends_in(words: list[str], phrases: frozenset[str]) -> bool:
        return any(" ".join(words[-n:]) in phrases for n in range(1, min(6, len(words)) + 1))
