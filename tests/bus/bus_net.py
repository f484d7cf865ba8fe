"""Brokers as the tests use them: in memory, real, and behind a proxy that can be cut."""

import asyncio
import json
import socket
import urllib.request
from contextlib import AsyncExitStack, suppress
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from bus_messages import eventually

from halfbeat.bus import Bus
from halfbeat.bus.memory import MemoryBroker
from halfbeat.bus.nats import NatsBus
from halfbeat.nats_server import EmbeddedServer
from halfbeat.settings import NatsSettings


class Cut(Protocol):
    """The line of one connection."""

    async def cut(self) -> None: ...

    async def heal(self) -> None: ...


class Net(Protocol):
    """A broker with connections to it."""

    is_real: bool

    async def connect(self, name: str = "test") -> Bus: ...

    async def connect_fragile(self) -> tuple[Bus, "Cut"]:
        """Returns a connection that can be cut alone."""

    async def cut(self) -> None:
        """Every connection is lost."""

    async def heal(self) -> None:
        """Every connection is back."""

    async def pass_time(self, seconds: float) -> None:
        """Lets time to live pass."""

    async def interests(self) -> int:
        """The broker's own count of subscriptions."""

    async def publish_raw(self, subject: str, payload: bytes) -> None:
        """Publishes what no bus of ours would."""


class MemoryNet:
    is_real = False

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack, self._now = stack, 0.0
        self.broker = MemoryBroker(clock=lambda: self._now)
        self._buses: list[Any] = []

    async def connect(self, name: str = "test") -> Bus:
        bus = await self._stack.enter_async_context(self.broker.connect(name))
        self._buses.append(bus)
        return bus

    async def connect_fragile(self) -> tuple[Bus, Cut]:
        bus = await self.connect()
        return bus, MemoryCut(bus)

    async def cut(self) -> None:
        for bus in self._buses:
            bus.disconnect()

    async def heal(self) -> None:
        for bus in self._buses:
            bus.reconnect()

    async def pass_time(self, seconds: float) -> None:
        self._now += seconds
        self.broker.tick()

    async def interests(self) -> int:
        return self.broker.interests

    async def publish_raw(self, subject: str, payload: bytes) -> None:
        self.broker.send(subject, payload, {})


class MemoryCut:
    def __init__(self, bus: Any) -> None:
        self._bus = bus

    async def cut(self) -> None:
        self._bus.disconnect()

    async def heal(self) -> None:
        self._bus.reconnect()


class NatsCut:
    def __init__(self, bus: NatsBus, proxy: "Proxy") -> None:
        self._bus, self._proxy = bus, proxy

    async def cut(self) -> None:
        self._proxy.cut()
        await eventually(lambda: not self._bus.is_connected)

    async def heal(self) -> None:
        self._proxy.mend()
        await eventually(lambda: self._bus.is_connected)


class NatsNet:
    is_real = True

    def __init__(self, stack: AsyncExitStack, server: EmbeddedServer) -> None:
        self._stack, self.server = stack, server
        self._buses: list[NatsBus] = []

    async def connect(self, name: str = "test") -> Bus:
        bus = await self._stack.enter_async_context(NatsBus(NatsSettings(url=self.server.url), name=name))
        self._buses.append(bus)
        return bus

    async def connect_fragile(self) -> tuple[Bus, Cut]:
        proxy = await self._stack.enter_async_context(Proxy(self.server))
        bus = await self._stack.enter_async_context(NatsBus(NatsSettings(url=proxy.url), name="fragile"))
        return bus, NatsCut(bus, proxy)

    async def cut(self) -> None:
        await self.server.stop()
        await eventually(lambda: not any(b.is_connected for b in self._buses))

    async def heal(self) -> None:
        await self.server.start()
        await eventually(lambda: all(b.is_connected for b in self._buses))

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)  # a real server's clock cannot be set

    async def interests(self) -> int:
        return int((await monitor(self.server, "varz"))["subscriptions"])

    async def publish_raw(self, subject: str, payload: bytes) -> None:
        import nats

        client = await nats.connect(self.server.url)
        await client.publish(subject, payload)
        await client.flush()
        await client.flush()
        await client.close()


async def monitor(server: EmbeddedServer, page: str) -> dict[str, Any]:
    """Reads one of the server's monitoring pages."""

    def read() -> dict[str, Any]:
        with urllib.request.urlopen(f"{server.monitoring_url}/{page}", timeout=5) as response:
            return dict(json.load(response))

    return await asyncio.to_thread(read)


class Proxy:
    """A TCP proxy in front of a server: records what the client says, can hold it back, can cut."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self.said = bytearray()
        self._is_cut = False
        self._may_pass = asyncio.Event()
        self._may_pass.set()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        listening = socket.create_server(("127.0.0.1", 0))
        # Inherited by what is accepted, so that little hides in the kernel while we hold.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        self._listener = await asyncio.start_server(self._accept, sock=listening)
        port = listening.getsockname()[1]
        self.url = f"nats://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._listener.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.wait_closed()

    def hold(self) -> None:
        """Passes nothing on in either direction, like a partition."""
        self._may_pass.clear()

    def release(self) -> None:
        """Passes on what was held back, and the rest."""
        self._may_pass.set()

    def mend(self) -> None:
        """Lets connections through again."""
        self._is_cut = False

    def cut(self) -> None:
        """Closes the connections that pass through and lets no other through."""
        self._is_cut = True
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = urlsplit(self._server.url)
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(address.hostname, address.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers += [writer, up_writer]
        for source, sink, record in ((reader, up_writer, True), (up_reader, writer, False)):
            task = asyncio.create_task(self._pump(source, sink, record))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, record: bool) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if record:
                    self.said += data
                await self._may_pass.wait()
                sink.write(data)
                await sink.drain()
        sink.transport.abort()
