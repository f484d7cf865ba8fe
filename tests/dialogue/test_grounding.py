"""Invented numbers, times and dates are found; known ones pass however they are spelled."""

import pytest

from services.dialogue.grounding import Grounding

FACTS = ["A truck comes tomorrow, Monday, November 23, between 8 AM and noon.", "The caller lives at 12 Oak Street."]


@pytest.mark.parametrize(
    "clause",
    [
        "Tomorrow between eight and noon.",
        "It is at 8:00.",
        "On Monday, November 23.",
        "You live at number twelve.",
        "One moment, please.",
        "Is there anything else?",
    ],
)
def test_what_is_known_may_be_said(clause: str) -> None:
    assert Grounding(FACTS).invented(clause) == set()


@pytest.mark.parametrize(
    ("clause", "invented"),
    [
        ("It comes at 9 AM.", {"@9", "9"}),
        ("It comes on Friday.", {"friday"}),
        ("That costs $25.", {"25"}),
        ("Somebody calls this afternoon.", {"afternoon"}),
        ("In about twenty minutes.", {"20"}),
        ("Call 555-0100.", {"555", "0100"}),
    ],
)
def test_what_nobody_said_is_invented(clause: str, invented: set[str]) -> None:
    assert Grounding(FACTS).invented(clause) == invented


def test_a_time_that_only_the_caller_named_is_not_confirmed() -> None:
    grounding = Grounding(FACTS, caller=["Can they come Friday at 9 AM?"])
    assert grounding.invented("Yes, on Friday.") == {"friday"}
    assert grounding.invented("Yes, at 9 AM.") == {"@9"}


def test_a_number_of_the_caller_may_be_repeated() -> None:
    assert Grounding(FACTS, caller=["I live at 42 Elm Street"]).invented("So that is 42 Elm Street?") == set()
