"""Collections on a street: when they are due, which were missed, what a caller can be told."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from apps.city311.models import CollectionMiss, CollectionSchedule, ServiceKind

_WORDS_OF_KIND = {
    ServiceKind.RECYCLING: ("recycl", "cardboard", "bottles"),
    ServiceKind.YARD_WASTE: ("yard", "green waste", "brush", "garden waste"),
    ServiceKind.TRASH: ("trash", "garbage", "rubbish", "refuse", "waste", "bin", "dumpster"),
}


class ServiceState(enum.StrEnum):
    """How a service of a street stands."""

    ON_SCHEDULE = "on_schedule"
    DUE_TODAY = "due_today"
    MISSED = "missed"


@dataclass(frozen=True)
class MissedPickup:
    """A collection that was due and did not happen."""

    miss_id: int
    kind: ServiceKind
    missed_on: date
    reason: str | None


@dataclass(frozen=True)
class ServiceStatus:
    """One service of a street.

    Attributes:
        state: How it stands.
        next_on: The next regular collection, today included unless today's was missed.
        missed_on: The day that was missed, where the state says so.
        reason: Why it was missed, if the city knows.
    """

    kind: ServiceKind
    state: ServiceState
    next_on: date
    missed_on: date | None = None
    reason: str | None = None


@dataclass(frozen=True)
class StreetStatus:
    """Every service asked for that a street has; empty where it has none of them."""

    street: str
    services: tuple[ServiceStatus, ...]


def service_kind(words: str | None) -> ServiceKind | None:
    """The service that a caller's word means ("garbage" -> TRASH); None where it is none of them."""
    text = (words or "").lower().replace("_", " ")
    for kind, stems in _WORDS_OF_KIND.items():
        if any(text.startswith(stem) or f" {stem}" in text for stem in stems):
            return kind
    return None


def next_collection(first_on: date, every_days: int, from_day: date) -> date:
    """The first day of a regular schedule that is not before `from_day`."""
    if from_day <= first_on:
        return first_on
    return from_day + timedelta(days=(first_on - from_day).days % every_days)


async def open_misses(
    session: AsyncSession, street_id: int, today: date, open_days: int
) -> dict[ServiceKind, MissedPickup]:
    """The newest miss of each service of a street, no older than `open_days`."""
    rows = await session.execute(
        select(CollectionMiss.id, CollectionMiss.kind, CollectionMiss.missed_on, CollectionMiss.reason)
        .where(
            CollectionMiss.street_id == street_id,
            CollectionMiss.missed_on.between(today - timedelta(days=open_days), today),
        )
        .order_by(CollectionMiss.missed_on)
    )
    return {miss.kind: miss for miss in (MissedPickup(*row) for row in rows)}


async def street_status(
    session: AsyncSession,
    street_id: int,
    street: str,
    kind: ServiceKind | None,
    today: date,
    open_days: int,
) -> StreetStatus:
    """How the services of a street stand.

    Args:
        session: A transaction.
        street_id: The street.
        street: Its name, for the answer.
        kind: Only this one; None for all.
        today: The city's day.
        open_days: For how many days a miss counts.
    """
    misses = await open_misses(session, street_id, today, open_days)
    schedules = select(CollectionSchedule).where(CollectionSchedule.street_id == street_id)
    if kind is not None:
        schedules = schedules.where(CollectionSchedule.kind == kind)
    services = []
    for schedule in await session.scalars(schedules.order_by(CollectionSchedule.id)):
        miss = misses.get(schedule.kind)
        is_missed_today = miss is not None and miss.missed_on == today
        from_day = today + timedelta(days=1) if is_missed_today else today
        next_on = next_collection(schedule.first_on, schedule.every_days, from_day)
        if miss is not None:
            state = ServiceState.MISSED
        else:
            state = ServiceState.DUE_TODAY if next_on == today else ServiceState.ON_SCHEDULE
        services.append(
            ServiceStatus(
                schedule.kind,
                state,
                next_on,
                miss.missed_on if miss else None,
                miss.reason if miss else None,
            )
        )
    return StreetStatus(street, tuple(services))
