"""The same tests on SQLite and on PostgreSQL: `database` is migrated and empty, `city` is the demonstration city."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from city_postgres import postgres_server

from apps.city311.city import City
from apps.city311.config import City311Settings
from apps.city311.database import Database
from apps.city311.migrate import migrate
from apps.city311.seed import seed

#: Tuesday, May 14 2030, 11 AM in the city.
NOON_ISH = datetime(2030, 5, 14, 15, 0, tzinfo=UTC)


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = NOON_ISH

    def __call__(self) -> datetime:
        return self.time

    def advance(self, **duration: float) -> None:
        self.time += timedelta(**duration)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


async def _empty(url: str) -> None:
    """Drop every table; a test that left a transaction open fails the next one here."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""), server_settings={"lock_timeout": "5s"})
    try:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    finally:
        await connection.close()


@pytest.fixture(params=["sqlite", "postgres"])
async def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'city.db'}"
    url: str = request.getfixturevalue("postgres")
    await _empty(url)
    return url


@pytest.fixture
async def database(new_url: str) -> AsyncIterator[Database]:
    """Migrated and empty."""
    database = Database(new_url)
    try:
        await migrate(database)
        yield database
    finally:
        await database.aclose()


@pytest.fixture
def settings(new_url: str, tmp_path: Path) -> City311Settings:
    return City311Settings(database_url=new_url, demo_data=True, texts_log=tmp_path / "texts.jsonl")


@pytest.fixture
async def city(database: Database, settings: City311Settings, clock: Clock) -> City:
    """The demonstration city at 11 AM of a Tuesday, without an outbox worker."""
    city = City(settings, database, now=clock)
    await seed(database, city.today())
    return city


@pytest.fixture
def address_of(city: City) -> Callable[..., object]:
    """The id of the address in some words."""

    async def find(words: str) -> int:
        place = await city.resolve_address(words)
        return place.address_id  # type: ignore[union-attr]

    return find
