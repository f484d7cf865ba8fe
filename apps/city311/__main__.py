"""`python -m apps.city311 ledger`: the bookings and texts in the database, as JSON; starts no delivery."""

import argparse
import asyncio
import json

from apps.city311.city import City
from apps.city311.config import City311Settings
from apps.city311.database import Database
from apps.city311.migrate import migrate


async def _ledger() -> str:
    settings = City311Settings()
    database = Database(settings.url)
    try:
        await migrate(database)
        city = City(settings, database)
        bookings = [
            {
                "ref": b.ref,
                "address": b.place.words,
                "kind": b.kind.words,
                "day": b.day.isoformat(),
                "window": b.window,
            }
            for b in await city.bookings()
        ]
        texts = [{"to": t.to, "body": t.body, "status": t.status} for t in await city.texts()]
        return json.dumps({"bookings": bookings, "texts": texts}, indent=2)
    finally:
        await database.aclose()


def main() -> None:
    """Prints the ledger of the database that the settings (HALFBEAT_CITY311_*) name."""
    parser = argparse.ArgumentParser(prog="python -m apps.city311", description="Looks into city311's database.")
    parser.add_argument("what", choices=["ledger"], help="ledger: every booking and every text, as JSON")
    parser.parse_args()
    print(asyncio.run(_ledger()))


if __name__ == "__main__":
    main()
