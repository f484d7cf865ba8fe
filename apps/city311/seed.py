"""The demonstration city: small, fictional, and always with a missed trash pickup on Oak Street today."""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from apps.city311.collection import next_collection
from apps.city311.database import Database, insert_once
from apps.city311.models import (
    Address,
    CollectionMiss,
    CollectionSchedule,
    Resident,
    ServiceKind,
    Street,
)

#: The street whose trash is missed every day, so that the demonstration call has something to say.
MISSED_STREET = "Oak Street"
MISS_REASON = "a truck broke down"

#: Streets with their house numbers and the days from today to the next trash collection.
STREETS: tuple[tuple[str, int, int, int], ...] = (
    ("Oak Street", 1, 400, 0),
    ("Maple Avenue", 1, 999, 1),
    ("Elm Street", 1, 350, 2),
    ("Pine Street", 1, 280, 3),
    ("Cedar Lane", 1, 120, 4),
    ("Birch Road", 1, 600, 5),
    ("Willow Drive", 1, 210, 6),
    ("Main Street", 1, 1500, 1),
    ("Park Avenue", 1, 800, 2),
    ("Lake Street", 1, 450, 3),
    ("Fifth Avenue", 1, 1200, 4),
    ("River Road", 1, 700, 5),
)

#: Residents with numbers of the 555-0100 kind, which are kept free for fiction. Those of Oak Street come first.
RESIDENTS: tuple[tuple[str, str, int, str], ...] = (
    ("Dana Miller", "+15550100142", 12, "Oak Street"),
    ("Sam Ortiz", "+15550100143", 18, "Oak Street"),
    ("Priya Shah", "+15550100144", 25, "Oak Street"),
    ("Marcus Lee", "+15550100145", 31, "Oak Street"),
    ("Elena Petrova", "+15550100146", 44, "Oak Street"),
    ("Tom Becker", "+15550100147", 52, "Oak Street"),
    ("Aisha Khan", "+15550100148", 67, "Oak Street"),
    ("Grace Liu", "+15550100149", 73, "Oak Street"),
    ("Omar Haddad", "+15550100150", 88, "Oak Street"),
    ("Ruth Cohen", "+15550100151", 95, "Oak Street"),
    ("Luis Garcia", "+15550100152", 104, "Oak Street"),
    ("Nina Novak", "+15550100153", 117, "Oak Street"),
    ("Peter Jansen", "+15550100160", 105, "Maple Avenue"),
    ("Fatima Diallo", "+15550100161", 9, "Elm Street"),
    ("Kenji Sato", "+15550100162", 230, "Pine Street"),
    ("Anna Rossi", "+15550100163", 14, "Cedar Lane"),
    ("Joe Walsh", "+15550100164", 301, "Birch Road"),
)

_TRASH_EVERY_DAYS = 7
_RECYCLING_EVERY_DAYS = 14
_RECYCLING_AFTER_TRASH_DAYS = 2


async def seed(database: Database, today: date) -> None:
    """Fill in the city as it stands today; what is there already is kept, bookings and texts above all.

    Safe in several processes at once and on every start. Run again after midnight it moves the missed pickup on.

    Args:
        database: Migrated.
        today: The city's day.
    """
    async with database.set_up() as connection, AsyncSession(connection) as session:
        for name, lowest, highest, trash_in_days in STREETS:
            street_id = await _street(session, name, lowest, highest)
            await _schedules(session, street_id, today + timedelta(days=trash_in_days))
        for name, phone, house_number, street in RESIDENTS:
            await _resident(session, name, phone, house_number, street)
        await _miss(session, today)


async def _street(session: AsyncSession, name: str, lowest: int, highest: int) -> int:
    await insert_once(session, Street, name=name, lowest_number=lowest, highest_number=highest)
    street_id = await session.scalar(select(Street.id).where(Street.name == name))
    assert street_id is not None
    return street_id


async def _schedules(session: AsyncSession, street_id: int, trash_on: date) -> None:
    recycling_on = trash_on + timedelta(days=_RECYCLING_AFTER_TRASH_DAYS)
    for kind, first_on, every_days in (
        (ServiceKind.TRASH, trash_on, _TRASH_EVERY_DAYS),
        (ServiceKind.RECYCLING, recycling_on, _RECYCLING_EVERY_DAYS),
    ):
        await insert_once(
            session,
            CollectionSchedule,
            street_id=street_id,
            kind=kind,
            first_on=first_on,
            every_days=every_days,
        )


async def _resident(session: AsyncSession, name: str, phone: str, house_number: int, street: str) -> None:
    street_id = await session.scalar(select(Street.id).where(Street.name == street))
    assert street_id is not None
    await insert_once(session, Address, street_id=street_id, house_number=house_number)
    address_id = await session.scalar(
        select(Address.id).where(Address.street_id == street_id, Address.house_number == house_number)
    )
    await insert_once(session, Resident, name=name, phone=phone, address_id=address_id)


async def _miss(session: AsyncSession, today: date) -> None:
    """Today's miss, and a schedule on which today is a collection day."""
    street_id = await session.scalar(select(Street.id).where(Street.name == MISSED_STREET))
    schedule = await session.scalar(
        select(CollectionSchedule).where(
            CollectionSchedule.street_id == street_id, CollectionSchedule.kind == ServiceKind.TRASH
        )
    )
    assert schedule is not None
    if next_collection(schedule.first_on, schedule.every_days, today) != today:
        await session.execute(
            update(CollectionSchedule).where(CollectionSchedule.id == schedule.id).values(first_on=today)
        )
    await insert_once(
        session,
        CollectionMiss,
        street_id=street_id,
        kind=ServiceKind.TRASH,
        missed_on=today,
        reason=MISS_REASON,
    )
