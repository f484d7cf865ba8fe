import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from edge_server import SETTINGS, HttpRouter, serve_http
from scripted_call import ScriptedCalls

from services.router.edges.door import Door
from services.router.edges.grpc import GrpcEdge


@pytest.fixture
def calls() -> ScriptedCalls:
    return ScriptedCalls()


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
