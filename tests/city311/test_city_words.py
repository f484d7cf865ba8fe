"""What callers say: addresses, numbers, days, services, issues, phone numbers."""

from datetime import date, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.city311.address import Problem, StreetEntry, find_address, find_street
from apps.city311.collection import next_collection, service_kind
from apps.city311.dates import day_from_words, spoken_day, spoken_time, spoken_window
from apps.city311.issues import issue_kind
from apps.city311.models import IssueKind, ServiceKind
from apps.city311.phone import e164
from apps.city311.seed import STREETS
from apps.city311.spoken import tokens

CITY = [StreetEntry(i, name, lowest, highest) for i, (name, lowest, highest, _) in enumerate(STREETS)]
MORE = [
    StreetEntry(100 + i, name, 1, 99) for i, name in enumerate(("Oakwood Drive", "Park Street", "Twelve Oaks Road"))
]
TUESDAY = date(2030, 5, 14)


@pytest.mark.parametrize(
    ("spoken", "number", "street"),
    [
        ("12 Oak St.", 12, "Oak Street"),
        ("twelve oak street", 12, "Oak Street"),
        ("Uh, it's one twenty three, Oak Street, please.", 123, "Oak Street"),
        ("I live at one oh five Maple Avenue", 105, "Maple Avenue"),
        ("six hundred and four maple", 604, "Maple Avenue"),
        ("twelve hundred main street", 1200, "Main Street"),
        ("forty two oke street", 42, "Oak Street"),
        ("twelve okay street", 12, "Oak Street"),
        ("twelve ok treat", 12, "Oak Street"),
        ("seven may pull avenue", 7, "Maple Avenue"),
        ("8 seeder lane", 8, "Cedar Lane"),
        ("nineteen pain street", 19, "Pine Street"),
        ("12 Fifth Avenue", 12, "Fifth Avenue"),
        ("twelve 5th ave", 12, "Fifth Avenue"),
        ("33 Birch Rd, apartment 4", 33, "Birch Road"),
        ("Oak Street number twelve", 12, "Oak Street"),
        ("oak street 12", 12, "Oak Street"),
        ("12 oak street, I mean oak street", 12, "Oak Street"),
        ("twelve, no, fourteen oak street", 14, "Oak Street"),
        ("on elm street, the number is... 9 elm street", 9, "Elm Street"),
    ],
)
def test_an_address_is_found_in_spoken_words(spoken, number, street):
    heard = find_address(spoken, CITY)
    assert (heard.house_number, heard.street and heard.street.name, heard.problem) == (number, street, None)


@pytest.mark.parametrize(
    ("spoken", "problem"),
    [
        ("", Problem.NO_STREET),
        ("yes", Problem.NO_STREET),
        ("okay, I don't know", Problem.NO_STREET),
        ("the trash wasn't picked up today", Problem.NO_STREET),
        ("fourteen folk street", Problem.NO_STREET),
        ("twelve fifteenth avenue", Problem.NO_STREET),
        ("Oak Street", Problem.NO_NUMBER),
        ("nine hundred oak street", Problem.NUMBER_NOT_ON_STREET),
        ("zero oak street", Problem.NUMBER_NOT_ON_STREET),
    ],
)
def test_words_without_an_address_name_what_is_missing(spoken, problem):
    assert find_address(spoken, CITY).problem is problem


def test_streets_of_the_same_name_are_told_apart_by_their_kind_or_asked_for():
    assert find_street("park street", [*CITY, *MORE]).street.name == "Park Street"
    heard = find_street("on park", [*CITY, *MORE])
    assert heard.problem is Problem.AMBIGUOUS_STREET
    assert heard.candidates == ("Park Avenue", "Park Street")


def test_a_longer_name_is_not_taken_for_the_shorter_one_in_it():
    assert find_address("40 oak wood drive", [*CITY, *MORE]).street.name == "Oakwood Drive"
    assert find_address("twelve oaks road number five", [*CITY, *MORE]).street.name == "Twelve Oaks Road"


def test_a_street_is_found_in_a_city_of_five_thousand():
    big = [StreetEntry(1000 + i, f"{chr(65 + i % 26)}{'aeiou'[i % 5]}{i} Street", 1, 99) for i in range(5000)]
    assert find_address("my address is twelve oak street", [*big, *CITY]).street.name == "Oak Street"


@given(st.integers(1, 9999), st.sampled_from(["Oak Street", "Willow Drive", "River Road"]))
def test_digits_before_a_street_are_its_house_number(number, street):
    heard = find_address(f"{number} {street}", CITY)
    assert (heard.house_number, heard.street.name) == (number, street)


@given(st.text(max_size=80))
def test_no_words_break_the_search(text):
    find_address(text, CITY)


@pytest.mark.parametrize(
    ("spoken", "digits"),
    [
        ("four twenty", "420"),
        ("twenty one", "21"),
        ("one hundred five", "105"),
        ("two thousand and six", "2006"),
        ("nineteen forty", "1940"),
        ("1 2", "12"),
        ("three fifteen", "315"),
        ("ninety nine oh one", "9901"),
        ("twenty first", "21st"),
        ("forty two twenty first", "42 21st"),
        ("oh twelve", "oh 12"),
    ],
)
def test_spoken_numbers_become_digits(spoken, digits):
    assert " ".join(tokens(spoken)) == digits


@pytest.mark.parametrize(
    ("words", "day"),
    [
        ("tomorrow", date(2030, 5, 15)),
        ("tomorrow morning, please", date(2030, 5, 15)),
        ("the day after tomorrow", date(2030, 5, 16)),
        ("today", TUESDAY),
        ("Friday", date(2030, 5, 17)),
        ("next tuesday", date(2030, 5, 21)),
        ("monday the twentieth", date(2030, 5, 20)),
        ("May 20th", date(2030, 5, 20)),
        ("may the 20th", date(2030, 5, 20)),
        ("January 3", date(2031, 1, 3)),
        ("2030-06-01", date(2030, 6, 1)),
        ("2030-02-31", None),
        ("February 30", None),
        ("whenever", None),
    ],
)
def test_words_for_a_day_are_understood_from_the_citys_today(words, day):
    assert day_from_words(words, TUESDAY) == day


def test_days_and_windows_are_spoken_as_people_do():
    assert spoken_day(date(2030, 5, 15), TUESDAY) == "tomorrow, Wednesday, May 15"
    assert spoken_day(date(2030, 5, 20), TUESDAY) == "Monday, May 20"
    assert spoken_window(time(8), time(12)) == "between 8 AM and noon"
    assert [spoken_time(time(*at)) for at in ((0, 0), (0, 5), (12, 30), (15, 0))] == [
        "midnight",
        "12:05 AM",
        "12:30 PM",
        "3 PM",
    ]


@given(st.dates(), st.integers(1, 60), st.dates())
def test_the_next_collection_is_on_schedule_and_not_past(first_on, every_days, today):
    if today.year > 9990:
        return
    day = next_collection(first_on, every_days, today)
    assert day >= max(first_on, today)
    assert (day - first_on).days % every_days == 0
    assert day == first_on or (day - today).days < every_days


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("trash", ServiceKind.TRASH),
        ("my garbage", ServiceKind.TRASH),
        ("the green bin", ServiceKind.TRASH),
        ("recycling bin", ServiceKind.RECYCLING),
        ("when can you come", None),
        ("yard_waste", ServiceKind.YARD_WASTE),
        ("yard waste", ServiceKind.YARD_WASTE),
        ("snow", None),
        (None, None),
    ],
)
def test_a_callers_word_names_the_service(words, kind):
    assert service_kind(words) is kind


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("a huge pot hole", IssueKind.POTHOLE),
        ("the streetlight is broken", IssueKind.STREET_LIGHT),
        ("street_light", IssueKind.STREET_LIGHT),
        ("traffic light", IssueKind.TRAFFIC_SIGNAL),
        ("graffitti", IssueKind.GRAFFITI),
        ("somebody abandoned a car", IssueKind.ABANDONED_VEHICLE),
        ("an abandoned car", IssueKind.ABANDONED_VEHICLE),
        ("a raccoon", IssueKind.OTHER),
        ("", IssueKind.OTHER),
    ],
)
def test_a_callers_words_name_the_kind_of_issue(words, kind):
    assert issue_kind(words) is kind


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+1 (555) 010-0142", "+15550100142"),
        ("555 010 0142", "+15550100142"),
        ("15550100142", "+15550100142"),
        ("sip:+15550100142@carrier.example;user=phone", "+15550100142"),
        ("tel:+15550100142", "+15550100142"),
        ("+49 30 901820", "+4930901820"),
        ("anonymous", None),
        ("sip:anonymous@anonymous.invalid", None),
        ("+266696687", None),
        ("12", None),
        ("", None),
        (None, None),
    ],
)
def test_a_number_has_one_spelling(number, expected):
    assert e164(number) == expected
