"""What is likely to be said is made before: clause after clause, only while nothing else wants the engine."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

from halfbeat import subjects
from halfbeat.bus.metrics import count_drop
from halfbeat.drop import DropReason
from halfbeat.errors import HalfbeatError
from services.tts.voice import Voice

log = logging.getLogger(__name__)

MOST_WAITING = 32
#: A longer clause is longer than the cache keeps: 15 characters a second.
LONGEST_CHARS = 90


class Preparation:
    """The clauses that wait to be made for one voice."""

    def __init__(self, voice: Voice, turn: asyncio.Lock) -> None:
        """Takes the voice, and what lets one clause through at a time among all sessions of the process."""
        self._voice, self._turn = voice, turn
        self._waiting: deque[str] = deque()
        self._working: asyncio.Task[None] | None = None

    def add(self, texts: Iterable[str]) -> None:
        """Takes more clauses; those that are too long for the cache, or too many, are dropped and counted."""
        for text in texts:
            if len(text) > LONGEST_CHARS:
                count_drop(subjects.TTS_PREPARE, DropReason.TOO_LARGE)
            elif len(self._waiting) >= MOST_WAITING:
                count_drop(subjects.TTS_PREPARE, DropReason.RING_FULL)
            else:
                self._waiting.append(text)
        if self._waiting and (self._working is None or self._working.done()):
            self._working = asyncio.create_task(self._work(), name="tts-prepare")

    async def aclose(self) -> None:
        """Makes no more of them; the piece in progress ends on the engine's thread."""
        self._waiting.clear()
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    async def _work(self) -> None:
        while self._waiting:
            async with self._turn:
                try:
                    await self._voice.prepare(self._waiting.popleft())
                except HalfbeatError as e:  # it will be told when the clause is really to be spoken
                    log.warning("a clause was not prepared: %s", e)
