"""Do the words read as finished? Closed word classes, numbers that are short of digits, clauses without a verb. No I/O.

Recognisers that put marks put a full stop after everything, "My address is." included: the words decide, marks but
help. Each text gets one `Reading`; what a reading is worth was fitted together with the other sources.
"""

import re
from collections.abc import Mapping
from enum import Enum
from math import log
from types import MappingProxyType

from services.router.language import table

_WORD = re.compile(r"[^\W_]+(?:['.-][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+")
_OPEN_MARKS = (",", "-", "…", "...", ":", ";")
#: Digits of a telephone number, without and with area code, and with the country's 1.
_PHONE_DIGITS = frozenset((7, 10, 11))
#: A case number has at least so many digits and letters, a name that is spelled so many letters.
_MIN_CODE_DIGITS = 4
_MIN_LETTERS = 5
_ZIP_DIGITS = 5
_MAX_PHRASE_WORDS = 6
_MAX_WAIT_WORDS = 8


class Reading(Enum):
    """How a text reads."""

    UNKNOWN = "unknown"  # no words, or a language without word lists
    OPEN = "open"  # its last words need others: "I live at", "my number is", "um"
    NUMBER = "number"  # more digits or letters are to come: "my number is 555", "B, A, R"
    CLAUSE = "clause"  # half a sentence: "If they can't come tomorrow", "The light in front of my house"
    GREETING = "greeting"  # "Hi", "Good morning": a reason to call may follow
    WORD = "word"  # one or two words that are no answer
    PLAIN = "plain"  # nothing missing that can be seen
    QUESTION = "question"
    YES = "yes"  # "yes", "no", "okay" alone: an answer, or the beginning of one
    ANSWER = "answer"  # "yes, please", "no thanks", "that's all"
    GOODBYE = "goodbye"


#: What a reading of final words adds to the log odds of the end. Fitted on the tuning half of the labelled callers
#: (`python -m bench.detector --fit`), together with the weights in `services.router.detector`; rounded, and moved
#: against the bias there so that a text in which nothing is missing speaks for the end, not against it.
ODDS: Mapping[Reading, float] = MappingProxyType(
    {
        Reading.UNKNOWN: 0.0,
        Reading.OPEN: -2.9,
        Reading.NUMBER: -0.8,
        Reading.CLAUSE: -1.0,
        Reading.GREETING: -0.6,
        Reading.WORD: 1.5,
        Reading.PLAIN: 0.7,
        Reading.QUESTION: 2.5,
        Reading.YES: -0.4,
        Reading.ANSWER: 1.1,
        Reading.GOODBYE: 2.5,
    }
)
#: What it adds that the agent has just asked: a few words are the answer then. Not fitted: the labelled set has no
#: agent.
#: Little, because many a "yes" is followed by a sentence after a third of a second (the demo's caller, for one).
ASKED_ODDS: Mapping[Reading, float] = MappingProxyType({Reading.YES: 0.4, Reading.WORD: 0.4})
#: What the logarithm of its number of words adds to a text in which nothing is missing, against one of five words:
#: people pause early in a turn. Half of what the fit gives, as the set has few short turns.
LENGTH_ODDS = 1.2
_LENGTH_WORDS = (1, 5, 10)


class Reader:
    """Reads the words of one language."""

    def __init__(self, language: str = "en") -> None:
        """Takes a BCP 47 tag; a language without word lists reads as unknown."""
        self._words: Mapping[str, frozenset[str]] = table(language, "turn")
        self._last: tuple[str, Reading] = ("", Reading.UNKNOWN)

    def read(self, text: str) -> Reading:
        """Returns how a text reads, partial or final; the same text again costs nothing."""
        if text != self._last[0]:
            self._last = (text, self._read(text))
        return self._last[1]

    def log_odds(self, text: str, *, is_asked: bool = False) -> float:
        """Returns how much final words speak for the end of the turn: above 0 for it, below 0 against it.

        Args:
            text: the words.
            is_asked: they may answer a question.
        """
        reading = self.read(text)
        return self._odds(text, reading) + (ASKED_ODDS.get(reading, 0.0) if is_asked else 0.0)

    def _odds(self, text: str, reading: Reading) -> float:
        if reading not in (Reading.WORD, Reading.PLAIN, Reading.QUESTION):
            return ODDS[reading]
        least, middle, most = _LENGTH_WORDS
        return ODDS[reading] + LENGTH_ODDS * log(min(max(len(words_of(text)), least), most) / middle)

    def is_wait(self, text: str) -> bool:
        """Whether the last words ask for time: "hold on", "okay, let me look"; not "let me think, the blue one"."""
        parts = [words_of(part) for part in _last_sentence(text).split(",")]
        while len(parts) > 1 and self._words and self._words["interjections"].issuperset(parts[-1]):
            parts.pop()
        return self._is_wish_for_time(parts[-1])

    def _is_wish_for_time(self, words: list[str]) -> bool:
        known = self._words
        while words and words[0] in known.get("interjections", ()) and not self._is(words, "wait_phrases"):
            words = words[1:]
        for n in range(min(_MAX_PHRASE_WORDS, len(words)), 0, -1):
            if self._is(words[:n], "wait_beginnings") and len(words) <= _MAX_WAIT_WORDS:
                return True
            if self._is(words[:n], "wait_phrases"):
                return n == len(words) or self._is_wish_for_time(words[n:])
        return False

    def _read(self, text: str) -> Reading:
        words = words_of(text)
        if not words or not self._words:
            return Reading.UNKNOWN
        last = _last_sentence(text)
        sentence = self._without_interjections(words_of(last))
        if self._words["acknowledgements"].issuperset(words) and words[-1] not in self._words["open_words"]:
            return Reading.YES
        if self._ends_in(sentence, "goodbyes"):
            return Reading.GOODBYE
        if self._is(words, "short_answers") or self._is(sentence, "short_answers"):
            return Reading.ANSWER
        if self._is(sentence, "greetings") and not last.endswith("?"):
            return Reading.GREETING
        if self._is(self._without_interjections(words), "open_alone") or self._ends_in(sentence, "open_phrases"):
            return Reading.OPEN
        if self._ends_in(sentence, "closings"):
            return Reading.ANSWER
        is_question = last.endswith("?")
        if last.endswith(_OPEN_MARKS) or self._is_open(sentence, is_question):
            return Reading.OPEN
        if self._is_short_of_digits(words):
            return Reading.NUMBER
        if is_question:
            return Reading.QUESTION
        if "," not in last and self._is_half(sentence):
            return Reading.CLAUSE
        return Reading.WORD if len(sentence) < 3 else Reading.PLAIN

    def _is(self, words: list[str], name: str) -> bool:
        return " ".join(words) in self._words.get(name, ())

    def _ends_in(self, words: list[str], name: str) -> bool:
        return any(self._is(words[-n:], name) for n in range(1, min(_MAX_PHRASE_WORDS, len(words)) + 1))

    def _without_interjections(self, words: list[str]) -> list[str]:
        while len(words) > 1 and words[0] in self._words["interjections"]:
            words = words[1:]
        return words

    def _is_open(self, sentence: list[str], is_question: bool) -> bool:
        if self._ends_in(sentence, "closed_phrases"):
            return False
        if is_question and len(sentence) > 3 and sentence[-1] in self._words["question_ends"]:
            return False
        return self._ends_in(sentence, "open_words")

    def _is_half(self, sentence: list[str]) -> bool:
        """Whether a sentence is only the condition of another, or names a thing and says nothing of it."""
        known = self._words
        if sentence[0] in known["subordinators"]:
            return True
        return len(sentence) > 1 and sentence[0] in known["determiners"] and not any(map(self._is_verb, sentence))

    def _is_verb(self, word: str) -> bool:
        return word in self._words["verbs"] or word.endswith(("ed", "n't", "'s", "'re", "'ve", "'ll"))

    def _is_short_of_digits(self, words: list[str]) -> bool:
        known = self._words
        digits = letters = tail = 0
        for word in reversed(words):
            parts = word.rstrip(".").split("-")
            if all(part.isdigit() for part in parts):
                digits += sum(map(len, parts))
            elif digits and not letters and tail < 2 and parts[0] in known["tens"]:
                return False  # "forty-two": a whole number
            elif all(part in known["digits"] for part in parts):
                digits += len(parts)
            elif all(len(part) == 1 for part in parts) and word != "i":
                letters += len(parts)
            else:
                break
            tail += 1
        rest = set(words[: len(words) - tail])
        if letters > digits and (letters > 1 or rest & known["spelling_words"]):
            return letters < _MIN_LETTERS
        if not digits or rest & known["place_words"]:
            return False
        if rest & known["zip_words"]:
            return digits < _ZIP_DIGITS
        if rest & known["code_words"]:
            return digits + letters < _MIN_CODE_DIGITS
        if rest & known["phone_words"]:
            return digits not in _PHONE_DIGITS and digits < max(_PHONE_DIGITS)
        if rest & known["address_words"]:
            return True  # the street is still to come
        # Digits alone, read one by one or in a group: a part of a number.
        return rest <= known["number_beginnings"] and 3 <= digits <= 6 and digits != _ZIP_DIGITS


def words_of(text: str) -> list[str]:
    """Returns the words, in lower case, with straight apostrophes, without marks."""
    return _WORD.findall(text.lower().replace("’", "'"))


def _last_sentence(text: str) -> str:
    return _SENTENCE_END.split(text.strip())[-1]
