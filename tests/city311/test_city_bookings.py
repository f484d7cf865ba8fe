"""A truck is booked once, only for what was missed, on the city's calendar."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import func, select

from apps.city311 import bookings
from apps.city311.bookings import Booking, PickupRefused, RefusalReason
from apps.city311.city import PlaceNews
from apps.city311.models import CollectionMiss, OutboxText, PickupBooking
from apps.city311.outbox import queue_text
from apps.city311.seed import seed

TOMORROW = date(2030, 5, 15)


async def count(city, model=PickupBooking) -> int:
    async with city.database.read() as session:
        return await session.scalar(select(func.count()).select_from(model))


async def test_a_missed_pickup_is_booked_for_tomorrow_morning(city, address_of):
    booking = await city.schedule_pickup(key="k", address_id=await address_of("12 oak street"), phone="555 010 0142")
    assert isinstance(booking, Booking)
    assert (booking.place.words, booking.day, booking.window) == ("12 Oak Street", TOMORROW, "between 8 AM and noon")
    assert booking.missed_on == date(2030, 5, 14)
    assert booking.ref.startswith("PU-")
    assert not booking.is_repeat
    assert [found.ref for found in await city.bookings()] == [booking.ref]


async def test_the_same_key_returns_the_first_booking_even_for_another_address(city, address_of):
    first = await city.schedule_pickup(key="k", address_id=await address_of("12 oak street"))
    second = await city.schedule_pickup(key="k", address_id=await address_of("14 oak street"))
    assert second.ref == first.ref
    assert second.is_repeat
    assert await count(city) == 1


@pytest.mark.parametrize("day", ["friday", "today"])
async def test_asking_again_for_the_same_miss_on_another_day_returns_the_first_booking(city, address_of, day):
    oak = await address_of("12 oak street")
    first = await city.schedule_pickup(key="k1", address_id=oak)
    second = await city.schedule_pickup(key="k2", address_id=oak, day=day)
    assert (second.ref, second.day, second.is_repeat) == (first.ref, TOMORROW, True)


async def test_one_truck_comes_when_two_misses_are_booked_for_the_same_day(city, address_of, clock):
    oak = await address_of("12 oak street")
    first = await city.schedule_pickup(key="k1", address_id=oak, day="thursday")
    clock.advance(days=1)
    await seed(city.database, city.today())
    second = await city.schedule_pickup(key="k2", address_id=oak, day="tomorrow")
    assert (second.ref, second.is_repeat) == (first.ref, True)
    assert await count(city) == 1


async def test_neighbours_get_a_truck_each(city, address_of):
    refs = {
        (await city.schedule_pickup(key=f"k{number}", address_id=await address_of(f"{number} oak street"))).ref
        for number in (12, 14)
    }
    assert len(refs) == 2


async def test_a_street_without_a_missed_pickup_gets_no_truck(city, address_of):
    answer = await city.schedule_pickup(key="k", address_id=await address_of("12 maple avenue"))
    assert answer == PickupRefused(RefusalReason.NO_MISSED_PICKUP)
    assert await count(city) == 0


async def test_what_was_not_missed_gets_no_truck(city, address_of):
    answer = await city.schedule_pickup(key="k", address_id=await address_of("12 oak street"), kind="recycling")
    assert answer == PickupRefused(RefusalReason.NO_MISSED_PICKUP)


async def test_an_unknown_address_is_refused(city):
    answer = await city.schedule_pickup(key="k", address_id=10**6)
    assert answer == PickupRefused(RefusalReason.UNKNOWN_ADDRESS)


@pytest.mark.parametrize("day", ["today", date(2030, 5, 22), date(2030, 5, 1)])
async def test_a_day_that_no_truck_comes_is_refused_with_the_days_that_can_be_had(city, address_of, day):
    answer = await city.schedule_pickup(key="k", address_id=await address_of("12 oak street"), day=day)
    assert answer == PickupRefused(RefusalReason.DAY_NOT_AVAILABLE, TOMORROW, date(2030, 5, 21))


async def test_words_that_name_no_day_are_refused_not_guessed(city, address_of):
    answer = await city.schedule_pickup(key="k", address_id=await address_of("12 oak street"), day="whenever it rains")
    assert answer == PickupRefused(RefusalReason.DAY_NOT_UNDERSTOOD, TOMORROW, date(2030, 5, 21))


async def test_a_miss_can_be_booked_for_three_days_and_no_longer(city, address_of, clock):
    oak = await address_of("12 oak street")
    clock.advance(days=4)
    assert await city.schedule_pickup(key="k1", address_id=oak) == PickupRefused(RefusalReason.NO_MISSED_PICKUP)
    clock.advance(days=-1)
    assert isinstance(await city.schedule_pickup(key="k2", address_id=oak), Booking)


async def test_tomorrow_is_the_citys_tomorrow_late_in_the_evening(city, address_of, clock):
    clock.time = datetime(2030, 5, 15, 3, 30, tzinfo=UTC)  # 11:30 PM of the 14th in the city
    booking = await city.schedule_pickup(key="k", address_id=await address_of("12 oak street"), day="tomorrow")
    assert booking.day == TOMORROW


@pytest.mark.parametrize("is_same_key", [True, False])
async def test_twenty_requests_at_once_book_one_truck(city, address_of, is_same_key):
    oak = await address_of("12 oak street")
    answers = await asyncio.gather(
        *(city.schedule_pickup(key="k" if is_same_key else f"k{i}", address_id=oak) for i in range(20))
    )
    assert await count(city) == 1
    assert len({answer.ref for answer in answers}) == 1
    assert sorted(answer.is_repeat for answer in answers) == [False] + [True] * 19


async def test_a_reference_that_is_taken_is_drawn_again(city, address_of, monkeypatch):
    refs = iter(["PU-1", "PU-1", "PU-2"])
    monkeypatch.setattr(bookings, "new_ref", lambda prefix: next(refs))
    await city.schedule_pickup(key="k1", address_id=await address_of("12 oak street"))
    second = await city.schedule_pickup(key="k2", address_id=await address_of("14 oak street"))
    assert (second.ref, second.is_repeat) == ("PU-2", False)


async def test_a_transaction_that_fails_leaves_neither_booking_nor_text(city, address_of, clock):
    oak = await address_of("12 oak street")

    async def book_and_fail() -> None:
        async with city.database.write() as session:
            booking = await bookings.schedule_pickup(
                session,
                key="k",
                address_id=oak,
                kind="trash",
                day=None,
                now=clock(),
                settings=city.settings,
            )
            await queue_text(session, key=booking.ref, to="+15550100142", body="booked", now=clock())
            raise ConnectionError("the worker died here")

    with pytest.raises(ConnectionError):
        await book_and_fail()
    assert await count(city) == 0
    assert await count(city, OutboxText) == 0


async def test_the_news_of_an_address_are_its_miss_and_its_truck(city, address_of, clock):
    oak = await address_of("12 oak street")
    news = await city.place_news(oak)
    assert [(miss.kind, miss.missed_on) for miss in news.missed] == [("trash", date(2030, 5, 14))]
    assert news.bookings == ()
    booking = await city.schedule_pickup(key="k", address_id=oak)
    news = await city.place_news(oak)
    assert [known.ref for known in news.bookings] == [booking.ref]
    assert news.missed == ()
    neighbours = await city.place_news(await address_of("14 oak street"))
    assert len(neighbours.missed) == 1
    clock.time = datetime(2030, 5, 15, 15, 59, tzinfo=UTC)  # 11:59 AM in the city, the window ends at noon
    assert (await city.place_news(oak)).bookings
    clock.advance(minutes=1)
    assert (await city.place_news(oak)) == PlaceNews(news.place)


async def test_the_demonstration_moves_the_miss_on_every_day_and_adds_nothing_twice(city, clock):
    await asyncio.gather(*(seed(city.database, city.today()) for _ in range(3)))
    assert await count(city, CollectionMiss) == 1
    clock.advance(days=1)
    await seed(city.database, city.today())
    assert await count(city, CollectionMiss) == 2
    caller = await city.look_up_caller("+15550100142")
    news = await city.place_news(caller.place.address_id)
    assert news.missed[0].missed_on == date(2030, 5, 14) + timedelta(days=1)
