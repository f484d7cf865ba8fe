"""Who calls and where they live: residents by phone number, addresses by what was said."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from apps.city311.address import Problem, StreetEntry, find_address, find_street
from apps.city311.database import insert_once
from apps.city311.models import Address, Resident, Street


@dataclass(frozen=True)
class Place:
    """An address of the city."""

    address_id: int
    house_number: int
    street_id: int
    street: str

    @property
    def words(self) -> str:
        """As it is spoken and written: "12 Oak Street"."""
        return f"{self.house_number} {self.street}"


@dataclass(frozen=True)
class StreetFound:
    """A street of the city."""

    street_id: int
    street: str


@dataclass(frozen=True)
class AddressUnclear:
    """Words in which no single address was found, and what to ask for.

    Attributes:
        problem: What is missing.
        street: The street, where at least that is known.
        candidates: The streets it may be, best first.
    """

    problem: Problem
    street: str | None = None
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True)
class KnownCaller:
    """A resident whose number the city knows."""

    name: str
    phone: str
    place: Place


async def look_up_caller(session: AsyncSession, number: str | None) -> KnownCaller | None:
    """The resident with this number; None for an unknown or withheld one.

    Args:
        session: A transaction.
        number: E.164, see `phone.e164`.
    """
    if number is None:
        return None
    row = (
        await session.execute(
            select(Resident.name, Address.id, Address.house_number, Street.id, Street.name)
            .join(Address, Resident.address_id == Address.id)
            .join(Street, Address.street_id == Street.id)
            .where(Resident.phone == number)
        )
    ).first()
    if row is None:
        return None
    name, address_id, house_number, street_id, street = row
    return KnownCaller(name, number, Place(address_id, house_number, street_id, street))


async def look_up_place(session: AsyncSession, address_id: int) -> Place | None:
    """The address with this id."""
    row = (
        await session.execute(
            select(Address.house_number, Street.id, Street.name)
            .join(Street, Address.street_id == Street.id)
            .where(Address.id == address_id)
        )
    ).first()
    return None if row is None else Place(address_id, *row)


async def resolve_address(session: AsyncSession, spoken: str, besides: str = "") -> Place | AddressUnclear:
    """The address in a caller's words. A house that exists on the street is entered when it is first asked for.

    Args:
        session: A transaction that may write.
        spoken: The words.
        besides: A street that is not meant where another one is named, too.
    """
    heard = find_address(spoken, await _streets(session), besides)
    if heard.problem is not None or heard.street is None or heard.house_number is None:
        street = heard.street.name if heard.street else None
        return AddressUnclear(heard.problem or Problem.NO_STREET, street, heard.candidates)
    where = {"street_id": heard.street.id, "house_number": heard.house_number}
    await insert_once(session, Address, **where)
    address_id = await session.scalar(select(Address.id).filter_by(**where))
    assert address_id is not None
    return Place(address_id, heard.house_number, heard.street.id, heard.street.name)


async def resolve_street(session: AsyncSession, spoken: str, least_score: float = 0.0) -> StreetFound | AddressUnclear:
    """The street in a caller's words.

    Args:
        session: A transaction.
        spoken: The words.
        least_score: How well it must fit, percent, where that is more than is usual.
    """
    heard = find_street(spoken, await _streets(session))
    if heard.street is None or heard.score < least_score:
        return AddressUnclear(heard.problem or Problem.NO_STREET, None, heard.candidates)
    return StreetFound(heard.street.id, heard.street.name)


async def _streets(session: AsyncSession) -> list[StreetEntry]:
    rows = await session.execute(
        select(Street.id, Street.name, Street.lowest_number, Street.highest_number).order_by(Street.id)
    )
    return [StreetEntry(*row) for row in rows]
