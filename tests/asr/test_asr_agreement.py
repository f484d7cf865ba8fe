"""Which words are final before the sentence is."""

from hypothesis import given
from hypothesis import strategies as st

from services.asr.agreement import Agreement, splice, words_of

SENTENCE = "I would like to report a missed trash pickup on Oak Street please"


def test_a_word_is_stable_when_three_hypotheses_agree_and_another_follows() -> None:
    agreement = Agreement()
    agreement.update(words_of("I would like"))
    agreement.update(words_of("I would like to report"))
    assert agreement.stable == ()
    agreement.update(words_of("I would like to report a"))
    assert agreement.stable == ("I", "would", "like")


def test_a_hypothesis_that_disagrees_puts_the_word_off() -> None:
    agreement = Agreement()
    for text in ("said you drive", "so you drive here", "so you drive here today"):
        agreement.update(words_of(text))
    assert agreement.stable == ()
    agreement.update(words_of("so you drive here today please"))
    assert agreement.stable == ("so", "you", "drive", "here")


def test_the_last_word_is_never_stable_however_often_it_is_repeated() -> None:
    agreement = Agreement()
    for _ in range(5):
        agreement.update(words_of("I would like to rep"))
    assert agreement.stable == ("I", "would", "like", "to")


def test_case_and_punctuation_do_not_prevent_agreement_and_stay_as_first_written() -> None:
    agreement = Agreement(rounds=2)
    agreement.update(words_of("Yes please."))
    agreement.update(words_of("Yes, please, tomorrow"))
    assert agreement.stable == ("Yes,", "please,")
    assert agreement.update(words_of("yes please tomorrow morning"))[:2] == ("Yes,", "please,")


def test_a_later_hypothesis_that_differs_contributes_only_what_comes_after() -> None:
    stable = words_of("my trash was not")
    assert splice(stable, words_of("My cash was not picked up")) == words_of("my trash was not picked up")
    assert splice(stable, words_of("Well my trash was not picked")) == words_of("my trash was not picked")
    assert splice(stable, words_of("trash was not picked")) == words_of("my trash was not picked")


def test_a_hypothesis_that_lost_everything_takes_nothing_back() -> None:
    assert splice(words_of("my trash"), ()) == words_of("my trash")


def _noisy_hypotheses() -> st.SearchStrategy[list[list[str]]]:
    """Growing prefixes of a sentence in which words are misheard, dropped or doubled."""
    words = SENTENCE.split()
    edit = st.sampled_from(["keep", "keep", "keep", "keep", "wrong", "drop", "double", "comma"])

    def edited(length: int, edits: list[str]) -> list[str]:
        out: list[str] = []
        for word, how in zip(words[:length], edits, strict=False):
            out += {"wrong": ["xx"], "drop": [], "double": [word, word], "comma": [word + ","]}.get(how, [word])
        return out

    one = st.builds(edited, st.integers(0, len(words)), st.lists(edit, min_size=len(words), max_size=len(words)))
    return st.lists(one, min_size=1, max_size=12)


@given(_noisy_hypotheses())
def test_the_stable_words_only_ever_grow_and_the_final_begins_with_them(hypotheses: list[list[str]]) -> None:
    agreement = Agreement()
    before: tuple[str, ...] = ()
    for hypothesis in hypotheses:
        shown = agreement.update(tuple(hypothesis))
        assert agreement.stable[: len(before)] == before
        assert shown[: len(agreement.stable)] == agreement.stable
        assert agreement.finish(tuple(hypothesis))[: len(agreement.stable)] == agreement.stable
        before = agreement.stable


def test_punctuation_that_stands_twice_is_written_once():
    assert words_of("Yes,, please.. send it") == ("Yes,", "please..", "send", "it")
