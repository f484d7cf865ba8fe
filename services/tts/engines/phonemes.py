"""From spoken words to the phonemes that Piper voices were trained on (espeak's en-us), without espeak.

gruut's language data (MIT) holds a lexicon of espeak's phonemes, a part-of-speech tagger and a grapheme-to-phoneme
model; its text pipeline is not used, because it costs 60-110 ms a clause where these three cost 2 ms.
"""

import re
import sqlite3
import unicodedata
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import resources
from typing import Any

from services.tts.normalise import Spoken

# Words the lexicon has wrong or not at all. Stress marks precede the syllable's vowel, as in the lexicon.
_OWN: dict[tuple[str, str], str] = {
    ("ok", ""): "oʊkˈeɪ", ("okay", ""): "oʊkˈeɪ", ("a", ""): "ɐ", ("can", ""): "kæn", ("an", ""): "ɐn",
    ("live", "VB"): "lˈɪv", ("live", ""): "lˈaɪv", ("lives", "VB"): "lˈɪvz", ("read", "VBN"): "ɹˈɛd",
    ("hmm", ""): "hˈʌm", ("mm", ""): "ˈʌm", ("hm", ""): "hˈʌm", ("ugh", ""): "ˈʌ", ("miz", ""): "mˈɪz",
    ("et", ""): "ɛt", ("cetera", ""): "sˈɛɾɚɹə", ("i'd", ""): "aɪd", ("halfbeat", ""): "hˈæfbiːt",
    ("use", "VB"): "jˈuːz", ("close", "VB"): "klˈoʊz", ("record", "VB"): "ɹᵻkˈoːɹd", ("address", "VB"): "ɐdɹˈɛs",
    ("refuse", "NN"): "ɹˈɛfjuːs", ("wind", "VB"): "wˈaɪnd", ("object", "VB"): "əbdʒˈɛkt", ("permit", "VB"): "pɚmˈɪt",
    ("present", "VB"): "pɹᵻzˈɛnt", ("estimate", "VB"): "ˈɛstᵻmˌeɪt", ("tear", "VB"): "tˈɛɹ", ("minute", "NN"): "mˈɪnɪt",
}  # fmt: skip
_LETTERS = {
    "A": "ˈeɪ", "B": "bˈiː", "C": "sˈiː", "D": "dˈiː", "E": "ˈiː", "F": "ˈɛf", "G": "dʒˈiː",
    "H": "ˈeɪtʃ", "I": "ˈaɪ", "J": "dʒˈeɪ", "K": "kˈeɪ", "L": "ˈɛl", "M": "ˈɛm", "N": "ˈɛn", "O": "ˈoʊ",
    "P": "pˈiː", "Q": "kjˈuː", "R": "ˈɑːɹ", "S": "ˈɛs", "T": "tˈiː", "U": "jˈuː", "V": "vˈiː",
    "W": "dˈʌbəljˌuː", "X": "ˈɛks", "Y": "wˈaɪ", "Z": "zˈiː",
}  # fmt: skip
_VOWELS = frozenset("aeiouæɐɑɒɔəɚɛɜɪʊʌᵻ")
_MIN_HALF = 4  # letters in each half of a compound ("maple" + "view"); shorter halves find words that are not there


@dataclass(frozen=True)
class Phone:
    """One symbol of the voice's alphabet.

    Attributes:
        symbol: an IPA letter, stress or length mark, punctuation or a space.
        item: index of the `Spoken` it belongs to, or -1 for spaces and punctuation.
    """

    symbol: str
    item: int = -1


class Phonemizer:
    """Holds the lexicon and the two models. Not thread-safe; every engine thread has its own."""

    def __init__(self) -> None:
        # Imported here: 0.6 s that only this engine should pay.
        from gruut.g2p import GraphemesToPhonemes
        from gruut.pos import PartOfSpeechTagger

        data = resources.files("gruut_lang_en")
        self._tag: Any = PartOfSpeechTagger(str(data / "pos" / "model.crf"))
        self._guess: Any = GraphemesToPhonemes(str(data / "espeak" / "g2p" / "model.crf"))
        # Read whole, once: the shipped file has no index on the word, and a look-up in it takes 8 ms.
        with closing(sqlite3.connect(str(data / "espeak" / "lexicon.db"))) as lexicon:
            rows = lexicon.execute("SELECT word, role, phonemes FROM word_phonemes ORDER BY pron_order DESC").fetchall()
        self._words: dict[str, dict[str, str]] = {}
        for word, role, phonemes in rows:
            self._words.setdefault(word, {})[role.removeprefix("gruut:")] = phonemes.replace(" ", "")

    def phonemise(self, items: Sequence[Spoken]) -> tuple[Phone, ...]:
        """Returns the phones of a clause, words separated by spaces, pauses as punctuation."""
        words = [(w, i) for i, item in enumerate(items) for w in item.words]
        tags = self._tag([w for w, _ in words]) if words else []
        said = [_LETTERS[w] if w in _LETTERS else self.word(w, t) for (w, _), t in zip(words, tags, strict=True)]
        for k, (word, _) in enumerate(words):
            if word == "A" and not _is_letter(k, words, items):
                said[k] = "ɐ"
        phones: list[Phone] = []
        for k, ((word, item), phonemes) in enumerate(zip(words, said, strict=True)):
            if word == ",":
                phones.append(Phone(","))
                continue
            is_last_of_item = k + 1 == len(words) or words[k + 1][1] != item
            pause = items[item].pause if is_last_of_item else ""
            follows = "" if pause or k + 1 == len(words) else said[k + 1]
            if phones:
                phones.append(Phone(" "))
            phones.extend(Phone(c, item) for c in _joined(word, phonemes, follows))
            if pause:
                phones.append(Phone(pause))
        return tuple(phones)

    def word(self, word: str, tag: str = "") -> str:
        """Returns one word's phonemes; `tag` is its Penn Treebank part of speech, for "record" and its like."""
        plain = "".join(c for c in unicodedata.normalize("NFKD", word.lower()) if not unicodedata.combining(c))
        found = self._known(plain, tag)
        if found is None and plain.endswith(("'s", "s'")):
            base = self._known(plain[:-2] if plain.endswith("'s") else plain[:-1], tag)
            found = base and (base + _plural(base) if plain.endswith("'s") else base)
        if found is None:
            found = self._compound(plain)
        if found is None:
            letters = re.sub(r"[^a-z']", "", plain)
            found = "".join(self._guess(letters)) if letters else ""
        return _without_sandhi(plain, found)

    def _known(self, word: str, tag: str) -> str | None:
        for role in (tag, tag[:2], ""):
            own = _OWN.get((word, role))
            if own:
                return own
        roles = self._words.get(word)
        if not roles:
            return None
        return roles.get(tag) or roles.get("") or next(iter(roles.values()))

    def _compound(self, word: str) -> str | None:
        """Mapleview -> maple + view: both halves known, the second without its main stress."""
        for cut in range(len(word) - _MIN_HALF, _MIN_HALF - 1, -1):
            first, second = self._known(word[:cut], ""), self._known(word[cut:], "")
            if first and second:
                return _without_sandhi(word[:cut], first) + second.replace("ˈ", "ˌ")
        return None


def _is_letter(k: int, words: Sequence[tuple[str, int]], items: Sequence[Spoken]) -> bool:
    """Whether the A at k is a letter's name ("apartment A", "A one B"), not an article that opens a sentence."""
    item = words[k][1]
    is_spelled = sum(i == item for _, i in words) > 1
    opens_sentence = k == 0 or items[words[k - 1][1]].pause in (".", "?", "!")
    return is_spelled or not opens_sentence


def _without_sandhi(word: str, phonemes: str) -> str:
    """Undoes what the lexicon took from the word that followed when it was recorded (at-, confirmation k-)."""
    if phonemes.endswith("ŋ") and word.endswith(("n", "ne")):
        return phonemes[:-1] + "n"
    if phonemes.endswith("ɾ"):
        return phonemes[:-1] + "t"
    if phonemes.endswith("ɚɹ"):
        return phonemes[:-1]
    return phonemes


def _joined(word: str, phonemes: str, follows: str) -> str:
    """Adjusts a word's end to the next word's beginning, as espeak does; `follows` is empty before a pause."""
    is_before_vowel = bool(follows) and follows.lstrip("ˈˌ")[:1] in _VOWELS
    if not is_before_vowel:
        return phonemes
    if word in ("the", "The"):
        return "ðɪ"
    if word in ("to", "To"):
        return "tʊ"
    if phonemes.endswith("ɚ"):
        return phonemes + "ɹ"
    if word.lower() in ("at", "it", "that", "what", "but"):
        return phonemes[:-1] + "ɾ"
    return phonemes


def _plural(base: str) -> str:
    if base.endswith(("s", "z", "ʃ", "ʒ")):
        return "ᵻz"
    return "s" if base.endswith(("p", "t", "k", "f", "θ")) else "z"
