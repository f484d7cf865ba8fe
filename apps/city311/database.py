"""The connection to the city's database: SQLite or PostgreSQL behind the same two kinds of transaction."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, Table, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from apps.city311.models import Base

#: How long a writer waits for another one, in seconds (SQLite's busy timeout, PostgreSQL's lock timeout).
LOCK_TIMEOUT_S = 5.0
#: PostgreSQL advisory lock under which migrations and seeds run ("city311" in ASCII).
SETUP_LOCK = int.from_bytes(b"city311", "big")
_BEGIN = "city311_begin"


class Database:
    """Sessions on one database.

    `read()` and `write()` are transactions that commit at the end of the block and roll back when it raises or is
    cancelled. On SQLite a write takes the write lock at its start: a transaction that reads first and writes
    later would fail at once, without waiting, when another writer came in between.

    Args:
        url: SQLAlchemy URL with an async driver. Never logged: it may hold a password.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.url = url
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.file = Path(parsed.database).expanduser() if self.is_sqlite and parsed.database else None
        if self.is_sqlite and (self.file is None or parsed.database == ":memory:"):
            raise ValueError("a SQLite database needs a file: sqlite+aiosqlite:///PATH")
        options: dict[str, Any] = {}
        if not self.is_sqlite:
            options["pool_pre_ping"] = True
            options["connect_args"] = {
                "timeout": LOCK_TIMEOUT_S,
                "server_settings": {"lock_timeout": str(int(LOCK_TIMEOUT_S * 1000))},
            }
        # hide_parameters: an error's text ends in logs, and parameters are phone numbers.
        self._engine: AsyncEngine = create_async_engine(parsed, hide_parameters=True, **options)
        self._writer = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        if self.is_sqlite:
            # At DEBUG the driver logs each statement with its parameters.
            logging.getLogger("aiosqlite").setLevel(logging.INFO)
            event.listen(self._engine.sync_engine, "connect", _set_up_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A transaction that only reads."""
        async with AsyncSession(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction that may write."""
        async with AsyncSession(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def set_up(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that excludes every other `set_up` on this database, in any process."""
        async with self._writer.connect() as connection, connection.begin():
            if not self.is_sqlite:
                await connection.execute(text("SET LOCAL lock_timeout = '60s'"))
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SETUP_LOCK})
            yield connection

    async def prepare(self) -> None:
        """Create the SQLite file, readable by its owner only, in WAL mode. Nothing to do on PostgreSQL."""
        if self.file is None:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.file.touch(mode=0o600)
        await asyncio.to_thread(_use_wal, self.file)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


async def insert_once(session: AsyncSession, model: type[Base], **values: Any) -> bool:
    """Insert a row unless a unique constraint says that it is there; whether it was inserted.

    Waits for a transaction in progress that inserts the same row. Afterwards the row is there, whoever wrote it.
    """
    table = model.__table__
    assert isinstance(table, Table)
    statement = insert_ignore(session.get_bind().dialect.name, table, values)
    result = await session.execute(statement.returning(table.c.id))
    return result.first() is not None


def insert_ignore(dialect: str, table: Table, values: Mapping[str, Any]) -> sqlite.Insert | postgresql.Insert:
    """`INSERT ... ON CONFLICT DO NOTHING` in the words of either database."""
    if dialect == "sqlite":
        return sqlite.insert(table).values(values).on_conflict_do_nothing()
    return postgresql.insert(table).values(values).on_conflict_do_nothing()


def _set_up_sqlite(connection: Any, record: Any) -> None:
    """Pragmas of each connection; the driver's own BEGIN is off, `_begin_sqlite` does it."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(LOCK_TIMEOUT_S * 1000)}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))


def _use_wal(file: Path) -> None:
    """Switch the file to WAL mode; it stays so. The switch does not honour the busy timeout, hence the retries."""
    deadline = monotonic() + LOCK_TIMEOUT_S
    with closing(sqlite3.connect(file, timeout=LOCK_TIMEOUT_S)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
                return
            except sqlite3.OperationalError:
                if monotonic() > deadline:
                    raise
                sleep(0.05)
