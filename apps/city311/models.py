"""The city's tables: streets and who lives there, collections and their misses, bookings, reports, texts.

Times are stored in UTC and read back with a time zone on every database. What the program relies on for
idempotency is a constraint here, not a check in code.
"""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Date,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    Time,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class ServiceKind(enum.StrEnum):
    """What is collected."""

    TRASH = "trash"
    RECYCLING = "recycling"
    YARD_WASTE = "yard_waste"

    @property
    def words(self) -> str:
        """The kind as it is spoken."""
        return self.value.replace("_", " ")


class IssueKind(enum.StrEnum):
    """What residents report."""

    POTHOLE = "pothole"
    STREET_LIGHT = "street_light"
    GRAFFITI = "graffiti"
    ILLEGAL_DUMPING = "illegal_dumping"
    FALLEN_TREE = "fallen_tree"
    WATER_LEAK = "water_leak"
    TRAFFIC_SIGNAL = "traffic_signal"
    SIDEWALK = "sidewalk"
    NOISE = "noise"
    ABANDONED_VEHICLE = "abandoned_vehicle"
    OTHER = "other"

    @property
    def words(self) -> str:
        """The kind as it is spoken."""
        return "problem" if self is IssueKind.OTHER else self.value.replace("_", " ")


class TextStatus(enum.StrEnum):
    """Where a text is on its way: pending -> sending -> sent or failed, or back to pending for a retry."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: always with a time zone in Python, UTC in the database (SQLite keeps no zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; a time without a zone is a mistake of the program."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Back in UTC."""
        if value is None:
            return None
        instant: datetime = value
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _choice(kind: type[enum.StrEnum], name: str) -> Enum:
    """A string column with a CHECK of the enum's values: readable in SQL, equal on every database."""
    return Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=24,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    """The root of the tables; constraint names are fixed, so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Street(Base):
    """A street of the city, with the house numbers that exist on it."""

    __tablename__ = "streets"
    __table_args__ = (CheckConstraint("lowest_number > 0 and lowest_number <= highest_number", name="number_range"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    lowest_number: Mapped[int]
    highest_number: Mapped[int]


class Address(Base):
    """A house on a street."""

    __tablename__ = "addresses"
    __table_args__ = (UniqueConstraint("street_id", "house_number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    street_id: Mapped[int] = mapped_column(ForeignKey("streets.id"))
    house_number: Mapped[int]

    street: Mapped[Street] = relationship(lazy="raise")


class Resident(Base):
    """A person who may call, known by the phone number."""

    __tablename__ = "residents"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    phone: Mapped[str] = mapped_column(String(16), unique=True, doc="E.164.")
    address_id: Mapped[int] = mapped_column(ForeignKey("addresses.id"), index=True)

    address: Mapped[Address] = relationship(lazy="raise")


class CollectionSchedule(Base):
    """When a service collects on a street: on `first_on` and every `every_days` days from there."""

    __tablename__ = "collection_schedules"
    __table_args__ = (
        UniqueConstraint("street_id", "kind"),
        CheckConstraint("every_days > 0", name="every_days"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    street_id: Mapped[int] = mapped_column(ForeignKey("streets.id"))
    kind: Mapped[ServiceKind] = mapped_column(_choice(ServiceKind, "kind"))
    first_on: Mapped[date] = mapped_column(Date)
    every_days: Mapped[int]


class CollectionMiss(Base):
    """A collection that was due on a street and did not happen."""

    __tablename__ = "collection_misses"
    __table_args__ = (UniqueConstraint("street_id", "kind", "missed_on"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    street_id: Mapped[int] = mapped_column(ForeignKey("streets.id"))
    kind: Mapped[ServiceKind] = mapped_column(_choice(ServiceKind, "kind"))
    missed_on: Mapped[date] = mapped_column(Date)
    reason: Mapped[str | None] = mapped_column(String(200))


class PickupBooking(Base):
    """A truck that comes for what was missed: one per miss and address, one per address, day and kind."""

    __tablename__ = "bookings"
    __table_args__ = (
        UniqueConstraint("address_id", "pickup_on", "kind"),
        UniqueConstraint("address_id", "miss_id"),
        CheckConstraint("window_start < window_end", name="window"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    ref: Mapped[str] = mapped_column(String(16), unique=True)
    idempotency_key: Mapped[str] = mapped_column(String(200), unique=True)
    address_id: Mapped[int] = mapped_column(ForeignKey("addresses.id"))
    kind: Mapped[ServiceKind] = mapped_column(_choice(ServiceKind, "kind"))
    pickup_on: Mapped[date] = mapped_column(Date)
    window_start: Mapped[time] = mapped_column(Time)
    window_end: Mapped[time] = mapped_column(Time)
    miss_id: Mapped[int] = mapped_column(ForeignKey("collection_misses.id"), index=True)
    phone: Mapped[str | None] = mapped_column(String(16), doc="Who booked, E.164; None when withheld.")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    address: Mapped[Address] = relationship(lazy="raise")


class IssueReport(Base):
    """Something that a resident reported."""

    __tablename__ = "issue_reports"

    id: Mapped[int] = mapped_column(primary_key=True)
    ref: Mapped[str] = mapped_column(String(16), unique=True)
    idempotency_key: Mapped[str] = mapped_column(String(200), unique=True)
    kind: Mapped[IssueKind] = mapped_column(_choice(IssueKind, "kind"))
    description: Mapped[str] = mapped_column(Text)
    location: Mapped[str] = mapped_column(String(200))
    street_id: Mapped[int | None] = mapped_column(ForeignKey("streets.id"), index=True)
    phone: Mapped[str | None] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class OutboxText(Base):
    """A text to deliver: written in the transaction of what it confirms, sent by the outbox worker."""

    __tablename__ = "outbox_texts"
    __table_args__ = (
        Index("ix_outbox_texts_due", "status", "next_attempt_at"),
        CheckConstraint("attempts >= 0", name="attempts"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(String(200), unique=True)
    to_number: Mapped[str] = mapped_column(String(16), doc="E.164.")
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[TextStatus] = mapped_column(_choice(TextStatus, "status"))
    attempts: Mapped[int]
    next_attempt_at: Mapped[datetime] = mapped_column(
        UtcDateTime, doc="When it is due; while sending, when the claim ends."
    )
    claim: Mapped[str | None] = mapped_column(String(40), doc="Token of the claim that is being worked on.")
    is_outcome_unknown: Mapped[bool] = mapped_column(
        server_default=false(), doc="An earlier attempt may have reached the provider."
    )
    provider_id: Mapped[str | None] = mapped_column(String(80), doc="The provider's id of the sent message.")
    last_error: Mapped[str | None] = mapped_column(String(200), doc="A code, never the text or the number.")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
