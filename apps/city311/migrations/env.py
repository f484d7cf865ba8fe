"""Run by Alembic: on the connection that `apps.city311.migrate` hands over, or on the one of the settings."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection

from apps.city311.config import City311Settings
from apps.city311.database import Database
from apps.city311.models import Base


def run(connection: Connection) -> None:
    """Run the scripts in the transaction that is open on the connection."""
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


async def run_by_settings() -> None:
    """For Alembic's own command line."""
    database = Database(City311Settings().url)
    await database.prepare()
    try:
        async with database.set_up() as connection:
            await connection.run_sync(run)
    finally:
        await database.aclose()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    run(handed_over)
else:
    asyncio.run(run_by_settings())
