"""The text that confirms a booking or a report."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from apps.city311.bookings import Booking, find_booking
from apps.city311.dates import spoken_day
from apps.city311.issues import IssueReceipt, find_report
from apps.city311.models import IssueReport, PickupBooking
from apps.city311.outbox import queue_text


class TextRefusalReason(enum.StrEnum):
    """Why no text is sent."""

    NO_NUMBER = "no_number"
    UNKNOWN_REFERENCE = "unknown_reference"


@dataclass(frozen=True)
class TextRefused:
    """No text is sent."""

    reason: TextRefusalReason


@dataclass(frozen=True)
class TextQueued:
    """A text is in the outbox.

    Attributes:
        last_digits: The last four digits of the number, enough to tell the caller where it goes.
        is_repeat: True where it had been queued before; it is not sent twice.
    """

    ref: str
    last_digits: str
    is_repeat: bool = False


async def send_confirmation_text(
    session: AsyncSession, *, ref: str, to: str | None, now: datetime
) -> TextQueued | TextRefused:
    """Queue the confirmation of a booking or report; once per reference and number.

    In the transaction of the booking, the two are committed together or not at all.

    Args:
        session: A transaction that may write.
        ref: Reference of a booking or report.
        to: Receiver's number, E.164; None where the caller withheld it and gave none.
        now: The present time.
    """
    if to is None:
        return TextRefused(TextRefusalReason.NO_NUMBER)
    wanted = ref.strip().upper()
    booking = await find_booking(session, PickupBooking.ref == wanted)
    report = None if booking else await find_report(session, IssueReport.ref == wanted)
    if booking is not None:
        body = booking_text(booking)
    elif report is not None:
        body = report_text(report)
    else:
        return TextRefused(TextRefusalReason.UNKNOWN_REFERENCE)
    is_new = await queue_text(session, key=f"confirm:{wanted}:{to}", to=to, body=body, now=now)
    return TextQueued(wanted, to[-4:], is_repeat=not is_new)


def booking_text(booking: Booking) -> str:
    """The confirmation of a truck. The day is written out: the text may be read on another one."""
    day = spoken_day(booking.day, date.max)
    return (
        f"City 311: a truck will pick up your {booking.kind.words} at {booking.place.words} on {day},"
        f" {booking.window}. Reference {booking.ref}."
    )


def report_text(report: IssueReceipt) -> str:
    """The confirmation of a report."""
    return f"City 311: we have your report of a {report.kind.words}. Reference {report.ref}."
