"""The tables are what the migrations make, on both databases, also when several workers start at once."""

import asyncio
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from apps.city311.city import City
from apps.city311.database import Database
from apps.city311.migrate import alembic_config, migrate
from apps.city311.models import Base

ROOT = Path(__file__).parents[2]
START = """
import asyncio, sys
from apps.city311.city import open_city
from apps.city311.config import City311Settings
async def main():
    async with open_city(City311Settings(database_url=sys.argv[1], demo_data=True)) as city:
        print(len(await city.bookings()), await city.look_up_caller("+15550100142") is not None)
asyncio.run(main())
"""


def shape(connection) -> dict:
    """Everything that a database says about its tables."""
    look = inspect(connection)
    return {
        table: {
            "columns": {c["name"]: (str(c["type"]), c["nullable"], c["default"]) for c in look.get_columns(table)},
            "key": look.get_pk_constraint(table),
            "unique": sorted((u["name"], u["column_names"]) for u in look.get_unique_constraints(table)),
            "checks": sorted((c["name"], c["sqltext"]) for c in look.get_check_constraints(table)),
            "indexes": sorted((i["name"], i["column_names"]) for i in look.get_indexes(table)),
            "foreign": sorted(
                (f["name"], f["constrained_columns"], f["referred_table"]) for f in look.get_foreign_keys(table)
            ),
        }
        for table in look.get_table_names()
        if table != "alembic_version"
    }


async def test_the_migrations_make_the_models_tables(database):
    async with database.set_up() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(
                MigrationContext.configure(sync, opts={"compare_server_default": True}), Base.metadata
            )
        )
        assert differences == []
        migrated = await connection.run_sync(shape)
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
        assert await connection.run_sync(shape) == migrated


async def test_a_database_can_go_down_to_nothing_and_up_again(database):
    def down(connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    async with database.set_up() as connection:
        await connection.run_sync(down)
        assert await connection.run_sync(shape) == {}
    await migrate(database)
    async with database.set_up() as connection:
        assert set(await connection.run_sync(shape)) == set(Base.metadata.tables)


async def test_migrating_several_times_at_once_in_one_process_is_migrating_once(new_url):
    databases = [Database(new_url) for _ in range(4)]
    await asyncio.gather(*(migrate(database) for database in databases))
    async with databases[0].set_up() as connection:
        assert set(await connection.run_sync(shape)) == set(Base.metadata.tables)
    await asyncio.gather(*(database.aclose() for database in databases))


async def test_three_workers_that_start_at_once_migrate_and_seed_one_database(new_url):
    async def start() -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            START,
            new_url,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode().strip()

    assert await asyncio.gather(start(), start(), start()) == ["0 True"] * 3


async def test_a_migration_that_fails_changes_nothing(new_url, monkeypatch):
    database = Database(new_url)
    monkeypatch.setattr("apps.city311.migrate.command.upgrade", _fail_half_way)
    with pytest.raises(RuntimeError, match="half way"):
        await migrate(database)
    async with database.set_up() as connection:
        assert await connection.run_sync(shape) == {}
    await database.aclose()


def _fail_half_way(config, revision) -> None:
    config.attributes["connection"].execute(text("CREATE TABLE half (id INTEGER PRIMARY KEY)"))
    raise RuntimeError("half way")


async def test_foreign_keys_are_enforced(city: City):
    with pytest.raises(IntegrityError):
        async with city.database.write() as session:
            await session.execute(
                text("INSERT INTO addresses (street_id, house_number) VALUES (:street, 1)"), {"street": 10**6}
            )


async def test_an_error_of_the_database_does_not_show_what_was_written(city: City):
    with pytest.raises(IntegrityError) as error:
        async with city.database.write() as session:
            await session.execute(
                text("INSERT INTO residents (name, phone, address_id) VALUES (:name, :phone, 1000000)"),
                {"name": "Jo", "phone": "+15550109999"},
            )
    assert "+15550109999" not in str(error.value)


async def test_the_sqlite_file_is_readable_by_its_owner_only_and_in_wal_mode(tmp_path):
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'state' / 'city.db'}")
    await migrate(database)
    async with database.read() as session:
        assert await session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await session.scalar(text("PRAGMA foreign_keys")) == 1
        assert await session.scalar(text("PRAGMA busy_timeout")) == 5000
    await database.aclose()
    assert (tmp_path / "state" / "city.db").stat().st_mode & 0o777 == 0o600


def test_a_database_in_memory_is_refused():
    with pytest.raises(ValueError, match="needs a file"):
        Database("sqlite+aiosqlite://")
