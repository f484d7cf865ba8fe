"""Brings the database to the newest schema when the application starts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from apps.city311.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"


async def migrate(database: Database, revision: str = "head") -> None:
    """Upgrade to a revision, in one transaction; on an up-to-date database this only looks.

    Any number of processes may do this at once: the first one works, the others wait for it and find it done.
    Cancelling leaves the upgrade to finish on its thread.
    """
    await database.prepare()
    await asyncio.to_thread(_migrate, database.url, revision)


def alembic_config() -> Config:
    """Alembic's configuration, without an ini file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _migrate(url: str, revision: str) -> None:
    """On a thread of its own, with its own loop: migration scripts are synchronous and may take long."""
    asyncio.run(_upgrade(url, revision))


async def _upgrade(url: str, revision: str) -> None:
    database = Database(url)
    try:
        async with database.set_up() as connection:
            await connection.run_sync(_run_scripts, revision)
    finally:
        await database.aclose()


def _run_scripts(connection: Connection, revision: str) -> None:
    # Alembic keeps the run in progress in module globals; the lock of `set_up` keeps a second one out.
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
