"""Books a truck for what was missed: once, however often and in whatever words it is asked for."""

from __future__ import annotations

import enum
import secrets
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from apps.city311.collection import open_misses
from apps.city311.config import City311Settings
from apps.city311.database import insert_once
from apps.city311.dates import city_day, spoken_window
from apps.city311.directory import Place, look_up_place
from apps.city311.models import Address, CollectionMiss, PickupBooking, ServiceKind, Street

_REF_DIGITS = 6
_REF_TRIES = 5


class RefusalReason(enum.StrEnum):
    """Why no truck is sent."""

    NO_MISSED_PICKUP = "no_missed_pickup"
    UNKNOWN_ADDRESS = "unknown_address"
    DAY_NOT_UNDERSTOOD = "day_not_understood"
    DAY_NOT_AVAILABLE = "day_not_available"


@dataclass(frozen=True)
class PickupRefused:
    """No truck is sent.

    Attributes:
        reason: Why.
        earliest: First day that can be booked, where the day was the reason.
        latest: Last day that can be booked, where the day was the reason.
    """

    reason: RefusalReason
    earliest: date | None = None
    latest: date | None = None


@dataclass(frozen=True)
class Booking:
    """A truck that will come.

    Attributes:
        ref: What the caller is told, such as PU-482135.
        missed_on: The day of the collection that it makes up for.
        is_repeat: True where it had been booked before; nothing was written now.
    """

    ref: str
    place: Place
    kind: ServiceKind
    day: date
    window_start: time
    window_end: time
    missed_on: date
    is_repeat: bool = False

    @property
    def street(self) -> str:
        """The street's name."""
        return self.place.street

    @property
    def window(self) -> str:
        """The truck's window as it is spoken: "between 8 AM and noon"."""
        return spoken_window(self.window_start, self.window_end)


async def schedule_pickup(
    session: AsyncSession,
    *,
    key: str,
    address_id: int,
    kind: ServiceKind,
    day: date | None,
    now: datetime,
    settings: City311Settings,
    phone: str | None = None,
) -> Booking | PickupRefused:
    """Book a truck for the newest open miss of a service at an address.

    The same key, the same miss at the same address, and the same address, day and kind each return the first
    booking, also when they are asked for at once in several processes. The booking is
    there when the transaction commits.

    Args:
        session: A transaction that may write.
        key: Idempotency key of the request.
        address_id: `Place.address_id`.
        kind: What is to be picked up.
        day: When; None for tomorrow on the city's calendar.
        now: The present time.
        settings: Window, horizon and how long a miss is open.
        phone: Who asks, E.164.
    """
    booked = await find_booking(session, PickupBooking.idempotency_key == key)
    if booked is not None:
        return replace(booked, is_repeat=True)
    place = await look_up_place(session, address_id)
    if place is None:
        return PickupRefused(RefusalReason.UNKNOWN_ADDRESS)
    today = city_day(now, settings.zone)
    miss = (await open_misses(session, place.street_id, today, settings.miss_open_days)).get(kind)
    if miss is None:
        return PickupRefused(RefusalReason.NO_MISSED_PICKUP)
    same_miss = and_(PickupBooking.address_id == address_id, PickupBooking.miss_id == miss.miss_id)
    booked = await find_booking(session, same_miss)
    if booked is not None:
        return replace(booked, is_repeat=True)
    earliest, latest = today + timedelta(days=1), today + timedelta(days=settings.pickup_horizon_days)
    pickup_on = earliest if day is None else day
    if not earliest <= pickup_on <= latest:
        return PickupRefused(RefusalReason.DAY_NOT_AVAILABLE, earliest, latest)
    same_visit = and_(
        PickupBooking.address_id == address_id,
        PickupBooking.pickup_on == pickup_on,
        PickupBooking.kind == kind,
    )
    for _ in range(_REF_TRIES):
        ref = new_ref("PU")
        is_new = await insert_once(
            session,
            PickupBooking,
            ref=ref,
            idempotency_key=key,
            address_id=address_id,
            kind=kind,
            pickup_on=pickup_on,
            window_start=settings.pickup_window_start,
            window_end=settings.pickup_window_end,
            miss_id=miss.miss_id,
            phone=phone,
            created_at=now,
        )
        for condition in (PickupBooking.idempotency_key == key, same_miss, same_visit):
            booked = await find_booking(session, condition)
            if booked is not None:
                return replace(booked, is_repeat=not is_new)
        # Neither written nor found: the reference was taken. Draw another one.
    raise RuntimeError("no free booking reference")


async def find_booking(session: AsyncSession, condition: ColumnElement[bool]) -> Booking | None:
    """The booking that fulfils a condition on `PickupBooking`."""
    row = (await session.execute(_bookings().where(condition))).first()
    return None if row is None else _booking(*row)


async def bookings_of(session: AsyncSession, address_id: int, since: date) -> list[Booking]:
    """The trucks of an address for misses from a day on, and those that come from that day on, in order of coming."""
    rows = await session.execute(
        _bookings()
        .where(
            PickupBooking.address_id == address_id,
            or_(PickupBooking.pickup_on >= since, CollectionMiss.missed_on >= since),
        )
        .order_by(PickupBooking.pickup_on)
    )
    return [_booking(*row) for row in rows]


async def all_bookings(session: AsyncSession) -> list[Booking]:
    """Every booking, the oldest first."""
    return [_booking(*row) for row in await session.execute(_bookings().order_by(PickupBooking.id))]


def new_ref(prefix: str) -> str:
    """A reference to read out: a prefix and digits, drawn at random."""
    return f"{prefix}-{secrets.randbelow(9 * 10 ** (_REF_DIGITS - 1)) + 10 ** (_REF_DIGITS - 1)}"


def _bookings() -> Select[PickupBooking, Address, str, date]:
    return (
        select(PickupBooking, Address, Street.name, CollectionMiss.missed_on)
        .join(Address, PickupBooking.address_id == Address.id)
        .join(Street, Address.street_id == Street.id)
        .join(CollectionMiss, PickupBooking.miss_id == CollectionMiss.id)
    )


def _booking(row: PickupBooking, address: Address, street: str, missed_on: date) -> Booking:
    return Booking(
        ref=row.ref,
        place=Place(address.id, address.house_number, address.street_id, street),
        kind=row.kind,
        day=row.pickup_on,
        window_start=row.window_start,
        window_end=row.window_end,
        missed_on=missed_on,
    )
