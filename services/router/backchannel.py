"""Words that say "go on", not "stop": what a listener utters while the other speaks."""

import re

_WORDS = frozenset(
    (
        *("mm", "mmm", "mhm", "mm-hm", "mmhm", "hm", "hmm", "uh-huh", "uhuh", "uh", "um", "ah", "aha", "oh"),
        *("okay", "ok", "yeah", "yep", "yes", "right", "sure", "good", "great"),
    )
)
_WORD = re.compile(r"\w[\w'-]*")


def words_of(text: str) -> list[str]:
    """Returns the words, in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def is_backchannel(text: str) -> bool:
    """Whether the text is nothing but such words; False for no words at all."""
    words = words_of(text)
    return 0 < len(words) <= 3 and all(word in _WORDS for word in words)
