"""The default provider: texts go to a local file, one JSON object a line, instead of to a phone."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from apps.city311.dates import utc_now
from apps.city311.texts import Rejected, Retry, Sent, TextMessage


class LogTexts:
    """Appends `{"at", "key", "to", "body"}` to a file that only its owner can read.

    A text that an earlier attempt has written is found by its key and not written twice, so delivery is exactly
    once.

    Args:
        path: The file; it and its folder are made when needed.
        now: The clock.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = utc_now) -> None:
        self._path = path
        self._now = now

    async def send(self, message: TextMessage) -> Sent | Rejected | Retry:
        """Append one line."""
        line = {"at": self._now().isoformat(), "key": message.key, "to": message.to, "body": message.body}
        try:
            await asyncio.to_thread(self._append, message, json.dumps(line, ensure_ascii=False))
        except OSError as error:
            return Retry(f"os {error.errno}")
        return Sent(f"log:{message.key}")

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _append(self, message: TextMessage, line: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with open(descriptor, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if message.is_outcome_unknown and any(_key(written) == message.key for written in file):
                return
            file.write(line + "\n")
            file.flush()
            os.fsync(descriptor)


def _key(line: str) -> str | None:
    try:
        value = json.loads(line)["key"]
    except (ValueError, KeyError, TypeError):
        return None  # a line cut short by a crash
    return value if isinstance(value, str) else None
