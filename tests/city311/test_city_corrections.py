"""A caller corrects the address that the city knows: no truck goes anywhere before all of the new one was said."""

from datetime import datetime

import pytest
from conftest import Clock

from apps.city311.app import app
from apps.city311.city import City
from halfbeat.application import Call, Caller, ToolClosed

OAK_12, UNKNOWN = "+15550100142", "+15559990000"


@pytest.fixture
async def call(city: City, clock: Clock) -> Call:
    return await opened(city, clock, OAK_12)


async def opened(city: City, clock: Clock, number: str) -> Call:
    def now() -> datetime:
        return clock()

    call = Call("call-1", Caller(number), now=now, resources=city)
    await app.open(call)
    return call


def is_meant(call: Call, said: str) -> bool:
    """Whether the address is the only tool that the model may choose."""
    supposed = call.supposing(said)
    tool = app.tools["note_address"]
    return tool.when(supposed) and tool.is_meant(supposed)


async def said(call: Call, words: str, tool: str = "note_address") -> str:
    call.said = words
    return (await app.run(call, tool, "{}")).say or ""


async def test_a_caller_on_another_street_is_asked_for_the_number_and_told_of_that_house(call: Call) -> None:
    assert await said(call, "No, I live on Elm Street.") == "Okay, what's the house number on Elm Street?"
    assert is_meant(call, "Twelve.")
    assert (await said(call, "Twelve.")).startswith("Okay, I don't see a missed pickup at 12 Elm Street.")
    assert call.data["address"] == "12 Elm Street"


@pytest.mark.parametrize(
    "words",
    [
        "No, I live on Elm Street.",
        "No, twelve Elm Street.",
        "it's elm street",
        "Not Oak Street, Elm Street.",
        "Actually it's Willow Drive.",
        "I live on Elm.",
        "I've just moved.",
        "That's the wrong address.",
        "I don't live there any more.",
        "Please send it to fourteen Oak Street.",
        "I'm not on Oak Street.",
    ],
)
def test_who_corrects_the_address_is_heard_whatever_the_model_thinks(call: Call, words: str) -> None:
    assert is_meant(call, words)


@pytest.mark.parametrize(
    "words",
    [
        "Yes, that's right.",
        "Yes, on Oak Street.",
        "Send it to 12 Oak Street, please.",
        "They skipped our whole street.",
        "No, they did not come to Oak Street.",
        "No way.",
        "They were on their way and did not come to my place.",
        "When is street sweeping?",
        "There is a pothole on Elm Street.",
        "Can they come tomorrow at nine?",
        "No, it's something else.",
    ],
)
def test_who_does_not_correct_the_address_has_the_tools_of_before(call: Call, words: str) -> None:
    assert "note_address" not in {tool.name for tool in app.open_tools(call.supposing(words))}


async def test_no_truck_is_sent_while_only_the_street_of_the_new_address_is_known(call: Call, city: City) -> None:
    await said(call, "No, I live on Oak Street no longer, it's Elm Street.")
    for tool in ("schedule_pickup", "send_confirmation_text"):
        with pytest.raises(ToolClosed):
            await said(call, "Yes, send a truck.", tool)
    assert "house number" in await said(call, "My trash was missed.", "lookup_service_status")
    assert await city.bookings() == []


async def test_the_truck_goes_to_the_house_that_the_caller_has_named(call: Call, city: City) -> None:
    offer = await said(call, "Yes, but send it to fourteen Oak Street.")
    assert "14 Oak Street was missed" in offer
    assert offer.endswith("Shall I book it?")
    assert await city.bookings() == []
    await said(call, "Yes.", "schedule_pickup")
    assert [booking.place.words for booking in await city.bookings()] == ["14 Oak Street"]


async def test_no_truck_goes_to_a_street_without_a_miss(call: Call, city: City) -> None:
    await said(call, "No, twelve Elm Street.")
    with pytest.raises(ToolClosed):
        await said(call, "Send a truck.", "schedule_pickup")
    assert await city.bookings() == []


async def test_of_two_streets_the_one_that_is_known_is_not_meant(call: Call) -> None:
    assert "12 Elm Street" in await said(call, "I'm not on Oak Street, I'm at twelve Elm Street.")


@pytest.mark.parametrize("words", ["That's the wrong address.", "I moved.", "I don't live on Oak Street."])
async def test_who_says_that_it_is_wrong_is_asked_for_the_right_one(call: Call, words: str) -> None:
    assert await said(call, words) == "Okay, What's your house number and street?"
    assert "address_id" not in call.data
    assert "9 Elm Street" in await said(call, "Nine Elm Street.")


async def test_a_street_that_the_city_has_not_is_asked_for_again_and_gets_no_truck(call: Call) -> None:
    assert "didn't catch the street" in await said(call, "Send it to Sesame Street.")
    with pytest.raises(ToolClosed):
        await said(call, "Yes.", "schedule_pickup")


async def test_who_names_the_known_address_in_other_words_keeps_it(call: Call) -> None:
    assert is_meant(call, "Yes, twelve oke street.")
    assert "Oak Street was missed" in await said(call, "Yes, twelve oke street.")
    assert call.data["address"] == "12 Oak Street"


async def test_after_the_booking_the_address_stays(call: Call, city: City) -> None:
    await said(call, "Yes, please.", "schedule_pickup")
    assert "12 Oak Street is booked" in await said(call, "Wait, I live on Elm Street.")
    assert "sent a text" in await said(call, "Text me.", "send_confirmation_text")
    assert [booking.place.words for booking in await city.bookings()] == ["12 Oak Street"]


async def test_a_truck_that_was_booked_before_is_not_that_of_a_caller_who_lives_elsewhere(
    city: City, clock: Clock
) -> None:
    first = await opened(city, clock, OAK_12)
    await said(first, "Yes, please.", "schedule_pickup")
    second = await opened(city, clock, OAK_12)
    assert "9 Elm Street" in await said(second, "No, I live at nine Elm Street.")
    assert "booking_ref" not in second.data


async def test_who_is_asked_for_the_number_and_needs_a_moment_has_not_said_one(city: City, clock: Clock) -> None:
    call = await opened(city, clock, UNKNOWN)
    await said(call, "Oak Street.")
    for words in ("One moment.", "One second, please."):
        assert not is_meant(call, words)
        assert "house number" in await said(call, words)
    assert "1 Oak Street was missed" in await said(call, "Number one.")


@pytest.mark.parametrize("words", ["Twelve Elm Street.", "Oak Street.", "Nine hundred Oak Street.", "Hm."])
async def test_what_is_said_of_an_address_goes_on_from_its_opener(city: City, clock: Clock, words: str) -> None:
    call = await opened(city, clock, UNKNOWN)
    assert (await said(call, words)).startswith(app.tools["note_address"].opener(call) or "-")
