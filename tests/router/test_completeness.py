"""Whether words read as finished."""

import pytest

from services.router.completeness import ODDS, Reader, Reading, words_of

READER = Reader("en-US")
FINISHED = {Reading.WORD, Reading.PLAIN, Reading.QUESTION, Reading.YES, Reading.ANSWER}


@pytest.mark.parametrize(
    "text",
    [
        "My address is.",  # recognisers put a full stop after everything
        "I live at",
        "There's a hole on the corner of.",
        "Um.",
        "It was, um",
        "I put it out last night and",
        "Could you please?",
        "I'd like to.",
        "The truck came,",
        "They said that",
        "I think.",
        "You can reach me at.",
    ],
)
def test_a_text_that_needs_other_words_is_open(text: str) -> None:
    assert READER.read(text) is Reading.OPEN
    assert READER.log_odds(text) < -1


@pytest.mark.parametrize(
    "text",
    [
        "My number is 555.",
        "My phone number is five five five, zero one four.",
        "You can reach me at 555-01.",
        "It's six one seven.",
        "My zip code is 146.",
        "The case number is A 7.",
        "It's spelled B, A, R.",
        "It's spelled B-A-R.",
        "My address is 12.",
    ],
)
def test_a_number_that_is_short_of_digits_is_open(text: str) -> None:
    assert READER.read(text) is Reading.NUMBER


@pytest.mark.parametrize(
    "text",
    [
        "My number is 555-0142.",
        "My phone number is 617 555 0162.",
        "You can call my cell, it's six one seven, five five five, zero one six two.",
        "My zip code is 14620.",
        "My apartment number is 4 B.",
        "The case number is A 7 3 9 2.",
        "It's spelled B, A, R, T, O, N.",
        "My address is 12 Oak Street.",
        "They came at 7.",
    ],
)
def test_a_number_that_has_its_digits_is_finished(text: str) -> None:
    assert READER.read(text) is Reading.PLAIN


@pytest.mark.parametrize(
    "text", ["If they can't come tomorrow.", "Because of the holiday", "The light in front of my house.", "My trash."]
)
def test_half_a_sentence_is_no_end(text: str) -> None:
    assert READER.read(text) is Reading.CLAUSE
    assert READER.log_odds(text) < 0


@pytest.mark.parametrize(
    "text", ["If it rains, I stay home.", "The truck drove past our house.", "My neighbor hit it."]
)
def test_a_whole_sentence_is_not_half_a_one(text: str) -> None:
    assert READER.read(text) is Reading.PLAIN


@pytest.mark.parametrize(
    "text",
    ["Yes, please.", "No thanks.", "That's all", "Okay, thank you.", "Yes, it is.", "Tomorrow.", "Um, no thanks"],
)
def test_an_answer_is_finished_however_short(text: str) -> None:
    assert READER.read(text) is Reading.ANSWER
    assert READER.log_odds(text) > 0


def test_a_bare_yes_may_be_the_beginning_of_more() -> None:
    assert READER.read("Um, yes.") is Reading.YES
    assert ODDS[Reading.OPEN] < READER.log_odds("Yes.") < READER.log_odds("Yes, please.")


def test_a_bare_yes_is_more_likely_all_when_it_answers_a_question() -> None:
    assert READER.log_odds("Yes.", is_asked=True) >= 0 > READER.log_odds("Yes.")
    assert READER.log_odds("Yes, and", is_asked=True) == READER.log_odds("Yes, and"), "words that need others still do"


@pytest.mark.parametrize("text", ["It is number forty two.", "I live at number seventy-five."])
def test_a_spoken_number_with_tens_is_whole(text: str) -> None:
    assert READER.read(text) is Reading.PLAIN


def test_questions_end_in_words_that_are_open_elsewhere() -> None:
    assert READER.read("Could you tell me when the next pickup is?") is Reading.QUESTION
    assert READER.read("Can you text me that?") is Reading.QUESTION
    assert READER.read("My question is") is Reading.OPEN


def test_the_longer_a_finished_text_the_surer() -> None:
    short, long = READER.log_odds("I want a bin."), READER.log_odds("I would like to have a second recycling bin.")
    assert long > short
    assert READER.log_odds("The truck came " + "by and by " * 20) < long + 1, "and no surer from ten words on"


@pytest.mark.parametrize(
    "text",
    [
        "Hold on.",
        "One moment, please.",
        "Okay, let me look.",
        "Hold on, let me look.",
        "Give me a second.",
        "It's on the letter. Just a moment, let me get it.",
        "Let me find the letter.",
        "Wait a second, I have to find it.",
    ],
)
def test_a_wish_for_time_is_heard(text: str) -> None:
    assert READER.is_wait(text)


@pytest.mark.parametrize(
    "text",
    [
        "I had to wait a minute.",
        "Hold on, what time will they come?",
        "Let me know when they come.",
        "Uh, let me think, the blue one.",
        "One moment, please. Okay, it is number forty two.",
        "Yes, please.",
        "",
    ],
)
def test_a_sentence_about_time_is_no_wish_for_it(text: str) -> None:
    assert not READER.is_wait(text)


@pytest.mark.parametrize("text", ["Mein Name ist", "Ja.", "un momento, por favor", "hold on"])
def test_an_unknown_language_is_neutral(text: str) -> None:
    reader = Reader("de-DE")
    assert reader.read(text) is Reading.UNKNOWN
    assert reader.log_odds(text) == 0.0
    assert not reader.is_wait(text)


def test_no_words_say_nothing() -> None:
    assert READER.log_odds("") == READER.log_odds(" . ") == 0.0


def test_what_reads_as_finished_never_counts_less_than_what_does_not() -> None:
    unfinished = {Reading.OPEN, Reading.NUMBER, Reading.CLAUSE}
    assert max(ODDS[r] for r in unfinished) <= min(ODDS[r] for r in FINISHED)
    assert all(ODDS[r] < 0 for r in unfinished)


def test_words_have_straight_apostrophes_and_keep_what_is_inside_them() -> None:
    assert words_of("That’s twenty-one, Mr. O'Neill!") == ["that's", "twenty-one", "mr", "o'neill"]
