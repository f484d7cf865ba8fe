"""The city as the tools see it: each method is one transaction and gives a typed answer, never a row."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select

from apps.city311 import bookings, collection, confirmation, directory, issues
from apps.city311.bookings import Booking, PickupRefused, RefusalReason
from apps.city311.collection import MissedPickup, StreetStatus
from apps.city311.config import City311Settings
from apps.city311.confirmation import TextQueued, TextRefused
from apps.city311.database import Database
from apps.city311.dates import city_day, day_from_words, utc_now
from apps.city311.directory import AddressUnclear, KnownCaller, Place
from apps.city311.issues import IssueReceipt
from apps.city311.migrate import migrate
from apps.city311.models import OutboxText, ServiceKind, TextStatus
from apps.city311.outbox import Outbox
from apps.city311.phone import e164
from apps.city311.seed import seed
from apps.city311.texts import TextProvider
from apps.city311.texts.log import LogTexts
from apps.city311.texts.twilio import TwilioTexts

log = logging.getLogger(__name__)

#: Words for a day that leave it to the city.
_ANY_DAY = ("", "any", "asap", "as soon as possible", "soon", "earliest", "next available", "none")
_DAY_CHECK_S = 60.0
_RESTART_S = 5.0
_SHUT_DOWN_S = 15.0


@dataclass(frozen=True)
class PlaceNews:
    """What the city knows of an address that a caller may ask about.

    Attributes:
        missed: The newest missed collections of the street that no truck was booked for, trash first.
        bookings: Trucks that will still come to the address, the nearest first; a truck whose window is over is none.
    """

    place: Place
    missed: tuple[MissedPickup, ...] = ()
    bookings: tuple[Booking, ...] = ()


@dataclass(frozen=True)
class TextRecord:
    """A text as the outbox has it."""

    key: str
    to: str
    body: str
    status: TextStatus
    attempts: int
    last_error: str | None


class City:
    """The city's data behind a handful of calls.

    Args:
        settings: The city's calendar and rules.
        database: Migrated.
        now: The clock, where a call passes none.
        on_text: Called after a text was queued and committed.
    """

    def __init__(
        self,
        settings: City311Settings,
        database: Database,
        *,
        now: Callable[[], datetime] = utc_now,
        on_text: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.database = database
        self._now = now
        self._on_text = on_text

    def today(self, now: datetime | None = None) -> date:
        """The day on the city's calendar."""
        return city_day(now or self._now(), self.settings.zone)

    async def look_up_caller(self, number: str | None) -> KnownCaller | None:
        """The resident with this number, in any spelling; None for an unknown or withheld one."""
        async with self.database.read() as session:
            return await directory.look_up_caller(session, self.phone(number))

    def phone(self, number: str | None) -> str | None:
        """The number in E.164; None where it is withheld or no number."""
        return e164(number, self.settings.phone_region)

    async def resolve_address(self, spoken: str, besides: str = "") -> Place | AddressUnclear:
        """The address in a caller's words, or what to ask for; see `directory.resolve_address`."""
        async with self.database.write() as session:
            return await directory.resolve_address(session, spoken, besides)

    async def place_news(self, address_id: int, now: datetime | None = None) -> PlaceNews | None:
        """What there is to say about an address: open misses of its street, trucks on their way."""
        local = (now or self._now()).astimezone(self.settings.zone)
        today, open_days = local.date(), self.settings.miss_open_days
        async with self.database.read() as session:
            place = await directory.look_up_place(session, address_id)
            if place is None:
                return None
            misses = await collection.open_misses(session, place.street_id, today, open_days)
            booked = await bookings.bookings_of(session, address_id, today - timedelta(days=open_days))
        served = {(booking.kind, booking.missed_on) for booking in booked}
        missed = (misses[kind] for kind in ServiceKind if kind in misses)
        coming = (b for b in booked if (b.day, b.window_end) > (today, local.time()))
        return PlaceNews(
            place, tuple(miss for miss in missed if (miss.kind, miss.missed_on) not in served), tuple(coming)
        )

    async def lookup_service_status(
        self, street: str, kind: str | None = None, now: datetime | None = None
    ) -> StreetStatus | AddressUnclear:
        """How the collections of a street stand.

        Args:
            street: In the caller's words.
            kind: In the caller's words; None, or words for no service, for all services.
            now: The present time.
        """
        async with self.database.read() as session:
            found = await directory.resolve_street(session, street)
            if isinstance(found, AddressUnclear):
                return found
            return await collection.street_status(
                session,
                found.street_id,
                found.street,
                collection.service_kind(kind),
                self.today(now),
                self.settings.miss_open_days,
            )

    async def schedule_pickup(
        self,
        *,
        key: str,
        address_id: int,
        kind: str = "trash",
        day: str | date | None = None,
        phone: str | None = None,
        now: datetime | None = None,
    ) -> Booking | PickupRefused:
        """Book a truck for what was missed at an address; asked again, the first booking comes back.

        Args:
            key: Idempotency key, see `halfbeat.application.Call.key`.
            address_id: `Place.address_id`.
            kind: What is to be picked up, in the caller's words; taken as trash where they name no service.
            day: When, in the caller's words or as a date; without it tomorrow.
            phone: Who asks.
            now: The present time.
        """
        now = now or self._now()
        today = self.today(now)
        if isinstance(day, str):
            words = day.strip().lower()
            day = None if words in _ANY_DAY else day_from_words(words, today)
            if day is None and words not in _ANY_DAY:
                horizon = timedelta(days=self.settings.pickup_horizon_days)
                return PickupRefused(RefusalReason.DAY_NOT_UNDERSTOOD, today + timedelta(days=1), today + horizon)
        async with self.database.write() as session:
            return await bookings.schedule_pickup(
                session,
                key=key,
                address_id=address_id,
                kind=collection.service_kind(kind) or ServiceKind.TRASH,
                day=day,
                now=now,
                settings=self.settings,
                phone=self.phone(phone),
            )

    async def report_issue(
        self,
        *,
        key: str,
        kind: str,
        description: str = "",
        location: str = "",
        phone: str | None = None,
        now: datetime | None = None,
    ) -> IssueReceipt:
        """File a report; the same key returns the first one. All words are the caller's."""
        async with self.database.write() as session:
            return await issues.report_issue(
                session,
                key=key,
                kind=kind,
                description=description,
                location=location,
                phone=self.phone(phone),
                now=now or self._now(),
            )

    async def send_confirmation_text(
        self, *, ref: str, to: str | None, now: datetime | None = None
    ) -> TextQueued | TextRefused:
        """Queue the confirmation of a booking or report to a number; once per reference and number."""
        async with self.database.write() as session:
            answer = await confirmation.send_confirmation_text(
                session, ref=ref, to=self.phone(to), now=now or self._now()
            )
        if isinstance(answer, TextQueued):
            self._on_text()
        return answer

    async def bookings(self) -> list[Booking]:
        """Every booking, the oldest first."""
        async with self.database.read() as session:
            return await bookings.all_bookings(session)

    async def texts(self) -> list[TextRecord]:
        """Every text in the outbox, the oldest first."""
        async with self.database.read() as session:
            rows = (await session.scalars(select(OutboxText).order_by(OutboxText.id))).all()
            return [
                TextRecord(row.idempotency_key, row.to_number, row.body, row.status, row.attempts, row.last_error)
                for row in rows
            ]


@asynccontextmanager
async def open_city(
    settings: City311Settings | None = None,
    *,
    now: Callable[[], datetime] = utc_now,
    provider: TextProvider | None = None,
) -> AsyncIterator[City]:
    """Migrate the database, fill in the demonstration city where the settings say so, and deliver texts meanwhile.

    At the end texts that are being sent are given `_SHUT_DOWN_S` seconds; what is left stays in the outbox.

    Args:
        settings: From the environment where none are given.
        now: The clock.
        provider: Delivers texts; chosen by the settings where none is given. It is closed at the end.
    """
    settings = settings or City311Settings()
    database = Database(settings.url)
    provider = provider or text_provider(settings)
    tasks: list[asyncio.Task[None]] = []
    try:
        await migrate(database)
        outbox = Outbox(
            database,
            provider,
            poll_s=settings.outbox_poll_s,
            batch=settings.outbox_batch,
            claim_s=settings.outbox_claim_s,
            max_attempts=settings.outbox_max_attempts,
            backoff_s=settings.outbox_backoff_s,
            now=now,
        )
        city = City(settings, database, now=now, on_text=outbox.wake)
        if settings.has_demo_data:
            await seed(database, city.today())
            tasks.append(asyncio.create_task(_keep_running("demo data", lambda: _follow_the_day(city))))
        delivery = asyncio.create_task(_keep_running("outbox", outbox.run))
        tasks.append(delivery)
        yield city
        outbox.stop()
        await asyncio.wait([delivery], timeout=_SHUT_DOWN_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(OSError):
            await provider.aclose()
        await database.aclose()


def text_provider(settings: City311Settings) -> TextProvider:
    """The provider that the settings name."""
    if settings.texts == "log":
        return LogTexts(settings.texts_log_path)
    assert settings.twilio_account_sid is not None
    assert settings.twilio_auth_token is not None
    return TwilioTexts(
        account_sid=settings.twilio_account_sid,
        auth_token=settings.twilio_auth_token,
        api_key_sid=settings.twilio_api_key_sid,
        sender=settings.twilio_from,
        messaging_service_sid=settings.twilio_messaging_service_sid,
        base_url=settings.twilio_base_url,
        timeout_s=settings.twilio_timeout_s,
    )


async def _keep_running(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """The root of a background task: a failure is logged and the work begun again."""
    while True:
        try:
            return await work()
        except Exception:
            log.exception("%s failed; it starts again in %s s", name, _RESTART_S)
            await asyncio.sleep(_RESTART_S)


async def _follow_the_day(city: City) -> None:
    """Move the demonstration's missed pickup on when the city's day changes."""
    seeded = city.today()
    while True:
        await asyncio.sleep(_DAY_CHECK_S)
        if city.today() != seeded:
            await seed(city.database, city.today())
            seeded = city.today()
