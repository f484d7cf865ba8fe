"""Words that say "go on", not "stop": what a listener utters while the other speaks."""

import re

from services.router import language as languages

_WORD = re.compile(r"\w+(?:['-]\w+)*")
#: Longer than this nobody utters without wanting the floor.
MAX_WORDS = 4


def words_of(text: str) -> list[str]:
    """Returns the words, in lower case, without punctuation."""
    return _WORD.findall(text.lower().replace("’", "'"))


def is_backchannel(text: str, language: str = "en") -> bool:
    """Whether the text is nothing but such words and phrases; False for no words at all, and in unknown languages.

    Args:
        text: what was said.
        language: BCP 47 tag.
    """
    words = words_of(text)
    return 0 < len(words) <= MAX_WORDS and _is_made_of(words, _known(language))


def may_become_backchannel(text: str, language: str = "en") -> bool:
    """Whether more of the text, perhaps of its last word, could make it backchannel: "i" of "i see", "mm-h"."""
    words = words_of(text)
    if not 0 < len(words) <= MAX_WORDS:
        return False
    known = _known(language)
    return any(
        _is_made_of(words[:count], known) and any(phrase.startswith(" ".join(words[count:])) for phrase in known)
        for count in range(len(words))
    )


def _known(language: str) -> frozenset[str]:
    return languages.table(language, "overlap").get("backchannel", frozenset())


def _is_made_of(words: list[str], known: frozenset[str]) -> bool:
    """Whether the words can be read as known ones, each of one or more words."""
    if not words:
        return True
    return any(
        " ".join(words[:count]) in known and _is_made_of(words[count:], known) for count in range(len(words), 0, -1)
    )
