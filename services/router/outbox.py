"""Control messages on their way to the bus, in order, and events on their way to the edge; both bounded."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from google.protobuf.message import Message

from halfbeat.bus import Bus
from halfbeat.errors import TimedOut, Unavailable
from halfbeat.subjects import Kind
from services.router.edge import CallEvent, Ended

#: Messages that wait for the bus before the call ends.
MAX_MESSAGES = 1000
#: Events that an edge may leave unread: about ten seconds of audio and captions.
MAX_EVENTS = 700


class Outbox:
    """Publishes one session's control messages one after the other."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: deque[tuple[Kind, Message, Mapping[str, str]]] = deque()
        self._wake, self._is_empty = asyncio.Event(), asyncio.Event()
        self._is_empty.set()

    def put(self, kind: Kind, message: Message, headers: Mapping[str, str]) -> None:
        """Adds a message.

        Raises:
            Unavailable: the bus has taken none for long.
        """
        if len(self._waiting) >= MAX_MESSAGES:
            raise Unavailable("the bus takes no messages")
        self._waiting.append((kind, message, headers))
        self._wake.set()
        self._is_empty.clear()

    async def send(self) -> None:
        """Publishes until cancelled. Raises `Unavailable` when the connection stays down."""
        while True:
            while self._waiting:
                kind, message, headers = self._waiting[0]
                await self._bus.publish(kind, message, headers=dict(headers))
                self._waiting.popleft()
            self._is_empty.set()
            self._wake.clear()
            await self._wake.wait()

    async def flush(self) -> None:
        """Waits until everything was published, 2 s at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self._is_empty.wait()


class EventQueue:
    """Events for an edge. One that does not read loses them all, and its call; `Ended` always fits."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[CallEvent] = asyncio.Queue()
        self._is_closed = False

    def put(self, event: CallEvent) -> None:
        """Adds an event; ignored when closed.

        Raises:
            TimedOut: the client has not read for about ten seconds; the queue is closed and empty now.
        """
        if self._is_closed:
            return
        if self._events.qsize() >= MAX_EVENTS:
            self._is_closed = True
            while not self._events.empty():
                self._events.get_nowait()
            raise TimedOut("the client does not read")
        self._events.put_nowait(event)

    def close(self, ended: Ended) -> None:
        """Adds the last event."""
        self._is_closed = True
        self._events.put_nowait(ended)

    async def read(self) -> AsyncIterator[CallEvent]:
        """Yields events up to `Ended`."""
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, Ended):
                return
