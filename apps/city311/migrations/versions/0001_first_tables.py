"""Streets, residents, collections, bookings, reports and the outbox.

Revision: 0001
Follows: nothing
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "streets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("lowest_number", sa.Integer(), nullable=False),
        sa.Column("highest_number", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "lowest_number > 0 and lowest_number <= highest_number", name=op.f("ck_streets_number_range")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_streets")),
        sa.UniqueConstraint("name", name=op.f("uq_streets_name")),
    )
    op.create_table(
        "addresses",
        sa.Column("id", sa.Integer(), nullable=False),
        _reference("street_id"),
        sa.Column("house_number", sa.Integer(), nullable=False),
        _foreign_key("addresses", "street_id", "streets"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_addresses")),
        sa.UniqueConstraint("street_id", "house_number", name=op.f("uq_addresses_street_id_house_number")),
    )
    op.create_table(
        "residents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("phone", sa.String(16), nullable=False),
        _reference("address_id"),
        _foreign_key("residents", "address_id", "addresses"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_residents")),
        sa.UniqueConstraint("phone", name=op.f("uq_residents_phone")),
    )
    op.create_index(op.f("ix_residents_address_id"), "residents", ["address_id"])
    op.create_table(
        "collection_schedules",
        sa.Column("id", sa.Integer(), nullable=False),
        _reference("street_id"),
        _service_kind(),
        sa.Column("first_on", sa.Date(), nullable=False),
        sa.Column("every_days", sa.Integer(), nullable=False),
        sa.CheckConstraint("every_days > 0", name=op.f("ck_collection_schedules_every_days")),
        _foreign_key("collection_schedules", "street_id", "streets"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collection_schedules")),
        sa.UniqueConstraint("street_id", "kind", name=op.f("uq_collection_schedules_street_id_kind")),
    )
    op.create_table(
        "collection_misses",
        sa.Column("id", sa.Integer(), nullable=False),
        _reference("street_id"),
        _service_kind(),
        sa.Column("missed_on", sa.Date(), nullable=False),
        sa.Column("reason", sa.String(200), nullable=True),
        _foreign_key("collection_misses", "street_id", "streets"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collection_misses")),
        sa.UniqueConstraint(
            "street_id", "kind", "missed_on", name=op.f("uq_collection_misses_street_id_kind_missed_on")
        ),
    )
    op.create_table(
        "bookings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ref", sa.String(16), nullable=False),
        sa.Column("idempotency_key", sa.String(200), nullable=False),
        _reference("address_id"),
        _service_kind(),
        sa.Column("pickup_on", sa.Date(), nullable=False),
        sa.Column("window_start", sa.Time(), nullable=False),
        sa.Column("window_end", sa.Time(), nullable=False),
        _reference("miss_id"),
        sa.Column("phone", sa.String(16), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("window_start < window_end", name=op.f("ck_bookings_window")),
        _foreign_key("bookings", "address_id", "addresses"),
        _foreign_key("bookings", "miss_id", "collection_misses"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bookings")),
        sa.UniqueConstraint("address_id", "miss_id", name=op.f("uq_bookings_address_id_miss_id")),
        sa.UniqueConstraint("address_id", "pickup_on", "kind", name=op.f("uq_bookings_address_id_pickup_on_kind")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_bookings_idempotency_key")),
        sa.UniqueConstraint("ref", name=op.f("uq_bookings_ref")),
    )
    op.create_index(op.f("ix_bookings_miss_id"), "bookings", ["miss_id"])
    op.create_table(
        "issue_reports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ref", sa.String(16), nullable=False),
        sa.Column("idempotency_key", sa.String(200), nullable=False),
        _choice(
            "kind",
            "pothole",
            "street_light",
            "graffiti",
            "illegal_dumping",
            "fallen_tree",
            "water_leak",
            "traffic_signal",
            "sidewalk",
            "noise",
            "abandoned_vehicle",
            "other",
        ),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("location", sa.String(200), nullable=False),
        sa.Column("street_id", sa.Integer(), nullable=True),
        sa.Column("phone", sa.String(16), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        _foreign_key("issue_reports", "street_id", "streets"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_issue_reports")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_issue_reports_idempotency_key")),
        sa.UniqueConstraint("ref", name=op.f("uq_issue_reports_ref")),
    )
    op.create_index(op.f("ix_issue_reports_street_id"), "issue_reports", ["street_id"])
    op.create_table(
        "outbox_texts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("idempotency_key", sa.String(200), nullable=False),
        sa.Column("to_number", sa.String(16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        _choice("status", "pending", "sending", "sent", "failed"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claim", sa.String(40), nullable=True),
        sa.Column("is_outcome_unknown", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("provider_id", sa.String(80), nullable=True),
        sa.Column("last_error", sa.String(200), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_outbox_texts_attempts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_texts")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_outbox_texts_idempotency_key")),
    )
    op.create_index("ix_outbox_texts_due", "outbox_texts", ["status", "next_attempt_at"])


def downgrade() -> None:
    """Drop every table, and what is in it."""
    for table in (
        "outbox_texts",
        "issue_reports",
        "bookings",
        "collection_misses",
        "collection_schedules",
        "residents",
        "addresses",
        "streets",
    ):
        op.drop_table(table)


def _reference(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _foreign_key(table: str, column: str, referred: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{referred}.id"], name=op.f(f"fk_{table}_{column}_{referred}"))


def _service_kind() -> sa.Column[str]:
    return _choice("kind", "trash", "recycling", "yard_waste")


def _choice(name: str, *values: str) -> sa.Column[str]:
    choice = sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=24)
    return sa.Column(name, choice, nullable=False)
