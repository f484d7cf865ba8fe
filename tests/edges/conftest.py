import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import ClientSession, web
from scripted_call import ScriptedCalls

from services.router.edges.door import Door
from services.router.edges.grpc import GrpcEdge
from services.router.edges.realtime import RealtimeEdge
from services.router.edges.settings import EdgeSettings
from services.router.edges.twilio import TwilioEdge

SETTINGS = EdgeSettings(send_timeout_s=0.3, first_message_s=2.0)


@dataclass
class HttpRouter:
    """A listening HTTP server with the WebSocket edges over scripted calls."""

    calls: ScriptedCalls
    port: int

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@pytest.fixture
def calls() -> ScriptedCalls:
    return ScriptedCalls()


async def serve_http(calls: ScriptedCalls, door: Door, settings: EdgeSettings) -> tuple[web.AppRunner, int]:
    app = web.Application()
    RealtimeEdge(calls, door, settings).add_routes(app)
    TwilioEdge(calls, door, settings).add_routes(app)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0][1]


@pytest.fixture
async def router(calls: ScriptedCalls) -> AsyncIterator[HttpRouter]:
    runner, port = await serve_http(calls, Door(hosts=["127.0.0.1"], max_connections=3), SETTINGS)
    before = asyncio.all_tasks()
    yield HttpRouter(calls, port)
    await runner.cleanup()
    for _ in range(3):
        await asyncio.sleep(0)
    leaked = [t for t in asyncio.all_tasks() - before if t is not asyncio.current_task() and not t.done()]
    assert not leaked, f"tasks left behind: {leaked}"


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest.fixture
async def voice(calls: ScriptedCalls) -> AsyncIterator[GrpcEdge]:
    door = Door(hosts=["127.0.0.1"], max_connections=3)
    async with GrpcEdge(calls, door, SETTINGS, host="127.0.0.1", port=0) as edge:
        yield edge
