"""Clauses: the first one short, none cut inside a name, a number or a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dialogue.clauses import ClauseCutter, without_beginning, without_opener


def cut(text: str, size: int = 3) -> list[str]:
    cutter = ClauseCutter()
    clauses = [c for i in range(0, len(text), size) for c in cutter.feed(text[i : i + size])]
    return clauses + cutter.flush()


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Okay, I'll send one. Is that fine?", ["Okay,", "I'll send one.", "Is that fine?"]),
        ("We go to Oak St. tomorrow at 7 a.m. sharp. Good!", ["We go to Oak St. tomorrow at 7 a.m. sharp.", "Good!"]),
        ("It comes at 9 a.m. The driver rings.", ["It comes at 9 a.m.", "The driver rings."]),
        ("Mr. Hill pays $3.50 for it.", ["Mr. Hill pays $3.50 for it."]),
        ("That is 1,200 bins.", ["That is 1,200 bins."]),
        ("Sure! Bye.", ["Sure!", "Bye."]),
        ("...", []),
        ("", []),
    ],
)
def test_text_is_cut_where_a_speaker_would_breathe(text: str, clauses: list[str]) -> None:
    assert cut(text) == clauses


def test_the_first_clause_is_ready_as_soon_as_its_comma_is_there() -> None:
    cutter = ClauseCutter()
    assert cutter.feed("Sure,") == ["Sure,"]


def test_a_full_stop_waits_for_what_follows_because_it_may_be_a_decimal_point() -> None:
    cutter = ClauseCutter()
    assert cutter.feed("That costs 3.") == []
    assert cutter.feed("5 dollars. ") == ["That costs 3.5 dollars."]


def test_a_later_clause_is_not_cut_at_a_comma_below_its_floor() -> None:
    assert cut("Yes. On Monday, we come.") == ["Yes.", "On Monday, we come."]


def test_a_clause_without_any_mark_is_cut_at_its_ceiling_between_words() -> None:
    clauses = cut("word " * 100)
    assert all(len(clause) <= 180 and not clause.startswith("ord") for clause in clauses)
    assert " ".join(clauses).split() == ["word"] * 100


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("It is free for everybody here because", ["It is free for everybody here"]),
        ("I see it on the list here and I ", ["I see it on the list here"]),
        ("We take trash and recycling and paper and glass", []),
        ("It is free because", []),
    ],
)
def test_a_long_first_clause_without_marks_ends_before_what_begins_like_a_sentence(
    text: str, clauses: list[str]
) -> None:
    cutter = ClauseCutter()
    assert cutter.feed(text + " ") == clauses


def test_a_later_clause_waits_for_its_mark() -> None:
    cutter = ClauseCutter()
    assert cutter.feed("Yes. It is free for everybody here because the city ") == ["Yes."]


@pytest.mark.parametrize(
    ("text", "beginning", "rest"),
    [
        ("Okay, a truck comes.", "Okay,", "a truck comes."),
        ("okay. A truck comes.", "Okay,", "A truck comes."),
        ("I'm sorry, it was missed.", "I'm sorry,", "it was missed."),
        ("Okay,", "Okay,", ""),
        ("Well-known.", "Well,", "Well-known."),
        ("Okayed.", "Okay,", "Okayed."),
        ("Sure.", "Okay,", "Sure."),
        ("Sure.", "", "Sure."),
    ],
)
def test_words_that_were_said_are_not_said_again(text: str, beginning: str, rest: str) -> None:
    assert without_beginning(text, beginning) == rest


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Sorry, I can't.", "I can't."),
        ("I\u2019m sorry, I can't.", "I can't."),
        ("sorry,", ""),
        ("Sorry about that, I can't.", "Sorry about that, I can't."),
        ("Sorry. I can't.", "Sorry. I can't."),
        ("Sorrynotsorry, I can't.", "Sorrynotsorry, I can't."),
        ("", ""),
    ],
)
def test_an_opener_is_left_out_up_to_its_comma(text: str, rest: str) -> None:
    assert without_opener(text, ["Sorry,", "I'm sorry,"]) == rest


@given(st.text(alphabet="ab1.,!? —St'", max_size=80), st.integers(1, 9))
def test_no_word_is_lost_or_reordered_however_the_text_arrives(text: str, size: int) -> None:
    letters = "".join(c for c in " ".join(cut(text, size)) if c.isalnum())
    assert letters == "".join(c for c in text if c.isalnum())
