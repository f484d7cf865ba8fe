"""What is written is said as a person would say it, and every spoken word knows where it was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.normalise import normalise, spoken_text

SAID = [
    # times
    ("at 3:30 PM", "at three thirty P M"),
    ("at 6 p.m.", "at six P M."),
    ("at 7:00", "at seven o'clock"),
    ("at 8:05 a.m. sharp", "at eight oh five A M sharp"),
    ("until 15:30", "until fifteen thirty"),
    ("7-11 AM", "seven to eleven A M"),
    ("7:00–9:30 a.m., please", "seven to nine thirty A M, please"),
    ("from 7 AM - 1 PM", "from seven A M to one P M"),
    # dates
    ("on 12/05/2025", "on December fifth, twenty twenty five"),
    ("on 2025-12-06.", "on December sixth, twenty twenty five."),
    ("Dec 5th", "December fifth"),
    ("December 21, 2005", "December twenty first, two thousand five"),
    ("in 1905", "in nineteen oh five"),
    ("on Tue. the 3rd", "on Tuesday the third"),
    ("13/45/2025 is no date", "thirteen forty five twenty twenty five is no date"),
    # numbers
    ("1,342 items", "one thousand three hundred forty two items"),
    ("3.5 miles", "three point five miles"),
    ("-5 now", "minus five now"),
    ("20% off", "twenty percent off"),
    ("72°F", "seventy two degrees Fahrenheit"),
    ("3-5 days", "three to five days"),
    ("the 1st and 22nd", "the first and twenty second"),
    ("24/7", "twenty four seven"),
    # money
    ("$12.50", "twelve dollars and fifty cents"),
    ("$1", "one dollar"),
    ("$0.75", "seventy five cents"),
    ("$1,250 or $3.5 million", "one thousand two hundred fifty dollars or three point five million dollars"),
    # telephones and service numbers
    ("call (312) 555-0134", "call three one two, five five five, zero one three four"),
    ("+13125550134", "one, three one two, five five five, zero one three four"),
    ("dial 555-0134.", "dial five five five, zero one three four."),
    ("dial 311", "dial three one one"),
    # addresses
    ("12 Oak St.", "twelve Oak Street."),
    ("12 Oak St. is yours", "twelve Oak Street is yours"),
    ("1204 N Elm Ave, Apt 4B", "twelve oh four North Elm Avenue, apartment four B"),
    ("305 Maple Dr.", "three oh five Maple Drive."),
    ("1500 W 42nd St", "fifteen hundred West forty second Street"),
    ("10450 Lake Shore Blvd", "one zero four five zero Lake Shore Boulevard"),
    ("Springfield, IL 60614", "Springfield, I L six zero six one four"),
    ("St. Louis and Dr. Jones", "Saint Louis and Doctor Jones"),
    # codes, digit by digit
    ("Your confirmation number is 48213.", "Your confirmation number is four eight two one three."),
    ("reference SR-20251, okay?", "reference S R, two zero two five one, okay?"),
    ("code A1B2C3", "code A one B two C three"),
    ("ticket #4821", "ticket number four eight two one"),
    # letters and the web
    ("The ID, OK?", "The I D, OK?"),
    ("in the U.S.A. today", "in the U S A today"),
    ("city311.gov/trash", "city three one one dot gov slash trash"),
    ("me@city.gov", "me at city dot gov"),
    ("PLEASE SAY IT", "PLEASE SAY IT"),
    ("Oak & Elm", "Oak and Elm"),
    # what already is speech stays
    ("I see you're calling from Oak Street.", "I see you're calling from Oak Street."),
    ("Wait... what?", "Wait, what?"),
    ("fine (see below) -- yes", "fine, see below, yes"),
    ("日本 ☃", ""),
    ("...", ""),
]


@pytest.mark.parametrize(("written", "said"), SAID)
def test_the_written_is_said_as_a_person_says_it(written: str, said: str) -> None:
    assert spoken_text(written) == said


def test_each_spoken_word_covers_the_characters_it_was_written_with() -> None:
    text = "Hi, come to 12 Oak St. at 3:30 PM."
    assert [text[s.char_start : s.char_end] for s in normalise(text)] == [
        "Hi,", "come", "to", "12", "Oak", "St.", "at", "3:30 PM.",
    ]  # fmt: skip


@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.text("0123456789:/-.,$#% APMapmStoak", max_size=40))
def test_any_text_is_said_in_order_and_within_itself(text: str) -> None:
    position = 0
    for item in normalise(text):
        assert position <= item.char_start < item.char_end <= len(text)
        assert item.words
        position = item.char_end
    assert not any(c.isdigit() and c.isascii() for c in spoken_text(text))
