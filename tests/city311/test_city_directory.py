"""Callers, addresses, collections and reports as the database has them."""

import asyncio
from datetime import date

import pytest
from sqlalchemy import func, select

from apps.city311.address import Problem
from apps.city311.collection import ServiceState
from apps.city311.directory import AddressUnclear
from apps.city311.models import Address, IssueKind, IssueReport, ServiceKind


@pytest.mark.parametrize("number", ["+15550100142", "(555) 010-0142", "sip:+15550100142@carrier.example"])
async def test_a_resident_is_known_by_the_number_in_any_spelling(city, number):
    caller = await city.look_up_caller(number)
    assert (caller.name, caller.phone, caller.place.words) == ("Dana Miller", "+15550100142", "12 Oak Street")


@pytest.mark.parametrize("number", ["+15550199999", "anonymous", None, "'; drop table residents; --"])
async def test_an_unknown_or_withheld_number_is_nobody(city, number):
    assert await city.look_up_caller(number) is None


async def test_a_house_is_entered_once_however_many_callers_name_it(city):
    places = await asyncio.gather(*(city.resolve_address("three hundred oak street") for _ in range(10)))
    assert len({place.address_id for place in places}) == 1
    async with city.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Address).filter_by(house_number=300)) == 1


async def test_a_house_that_does_not_exist_is_not_entered(city):
    answer = await city.resolve_address("nine hundred oak street")
    assert answer == AddressUnclear(Problem.NUMBER_NOT_ON_STREET, "Oak Street", ("Oak Street",))


async def test_a_street_with_a_missed_pickup_says_so_and_when_the_next_one_is(city):
    status = await city.lookup_service_status("oke street", "garbage")
    (trash,) = status.services
    assert status.street == "Oak Street"
    assert (trash.kind, trash.state, trash.missed_on) == (ServiceKind.TRASH, ServiceState.MISSED, date(2030, 5, 14))
    assert trash.next_on == date(2030, 5, 21)


async def test_other_streets_are_on_schedule(city):
    status = await city.lookup_service_status("Maple Avenue")
    assert [(service.kind, service.state, service.next_on) for service in status.services] == [
        (ServiceKind.TRASH, ServiceState.ON_SCHEDULE, date(2030, 5, 15)),
        (ServiceKind.RECYCLING, ServiceState.ON_SCHEDULE, date(2030, 5, 17)),
    ]


async def test_on_the_day_of_collection_the_service_is_due(city, clock):
    clock.advance(days=1)
    (trash,) = (await city.lookup_service_status("Maple Avenue", "trash")).services
    assert (trash.state, trash.next_on) == (ServiceState.DUE_TODAY, date(2030, 5, 15))


async def test_a_service_that_a_street_has_not_is_not_invented(city):
    assert (await city.lookup_service_status("Maple Avenue", "yard waste")).services == ()


async def test_an_unknown_street_has_no_status(city):
    assert (await city.lookup_service_status("Baker Street")).problem is Problem.NO_STREET


async def test_a_report_gets_a_reference_and_the_street_it_is_on(city):
    receipt = await city.report_issue(
        key="k", kind="pot hole", description="deep", location="in front of 12 oke street", phone="5550100142"
    )
    assert receipt.ref.startswith("IR-")
    assert (receipt.kind, receipt.street, receipt.is_repeat) == (IssueKind.POTHOLE, "Oak Street", False)


@pytest.mark.parametrize(
    ("description", "street"),
    [
        ("there's a pothole on Main Street", "Main Street"),
        ("okay, street light's out in front of my house", "Elm Street"),
        ("a pothole here", "Elm Street"),
    ],
)
async def test_a_street_in_the_description_is_the_place_only_where_it_is_beyond_doubt(city, description, street):
    receipt = await city.report_issue(key="k", kind="pothole", description=description, location="9 Elm Street")
    assert receipt.street == street


async def test_a_report_is_filed_once_for_twenty_requests_with_its_key(city):
    receipts = await asyncio.gather(
        *(city.report_issue(key="k", kind="graffiti", location="the bridge") for _ in range(20))
    )
    assert len({receipt.ref for receipt in receipts}) == 1
    assert [receipt.is_repeat for receipt in receipts].count(False) == 1
    async with city.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(IssueReport)) == 1


async def test_what_was_described_names_the_kind_where_the_caller_did_not(city):
    receipt = await city.report_issue(key="k", kind="something", description="a traffic light is stuck", location="?")
    assert (receipt.kind, receipt.street) == (IssueKind.TRAFFIC_SIGNAL, None)


async def test_a_very_long_report_is_cut_not_refused(city):
    receipt = await city.report_issue(key="k", kind="noise", description="a" * 10_000, location="b" * 10_000)
    assert len(receipt.location) == 200
