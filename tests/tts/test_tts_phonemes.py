"""Words become the phonemes that the voice was trained on."""

import pytest

from services.tts.engines.phonemes import Phonemizer
from services.tts.normalise import normalise


@pytest.fixture(scope="module")
def phonemizer() -> Phonemizer:
    return Phonemizer()


def phonemes(phonemizer: Phonemizer, text: str) -> str:
    return "".join(p.symbol for p in phonemizer.phonemise(normalise(text)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hi, I see you're calling from Oak Street.", "hˈaɪ, ˈaɪ sˈiː jʊɹ kˈɔːlɪŋ fɹʌm ˈoʊk stɹˈiːt."),
        ("Is it?", "ɪz ɪt?"),
        # heteronyms by their part of speech
        ("I live here.", "ˈaɪ lˈɪv hˈɪɹ."),
        ("We use a record to record it.", "wiː jˈuːz ɐ ɹˈɛkɚd tə ɹᵻkˈoːɹd ɪt."),
        # what depends on the next word
        ("the apple, the pear", "ðɪ ˈæpəl, ðə pˈɛɹ"),
        ("either or either", "ˈiːðɚɹ ɔːɹ ˈiːðɚ"),
        # the lexicon's own mistakes
        ("confirmation", "kɑːnfɚmˈeɪʃən"),
        ("can", "kæn"),
        # letters, and the article that looks like one
        ("plan A1B2", "plˈæn ˈeɪ wˈʌn bˈiː tˈuː"),
        ("A truck", "ɐ tɹˈʌk"),
        ("apartment A", "ɐpˈɑːɹtmənt ˈeɪ"),
        ("at 7 AM", "æt sˈɛvən ˈeɪ ˈɛm"),
        # not in the lexicon: two known halves, a genitive, a guess
        ("Mapleview", "mˈeɪpəlvjˌuː"),
        ("the café's", "ðə kˈæfeɪz"),
        ("Brightonski", "bɹˈaɪtənski"),
    ],
)
def test_words_are_said_as_espeak_says_them(phonemizer: Phonemizer, text: str, said: str) -> None:
    assert phonemes(phonemizer, text) == said


def test_each_phone_knows_the_written_word_it_belongs_to(phonemizer: Phonemizer) -> None:
    phones = phonemizer.phonemise(normalise("at 7 AM."))
    by_word = {i: "".join(p.symbol for p in phones if p.item == i) for i in (-1, 0, 1)}
    assert by_word == {0: "æt", 1: "sˈɛvənˈeɪˈɛm", -1: "   ."}
