"""A server whose users are those of `halfbeat nats-auth`, and clients that notice what it refuses."""

import asyncio
import inspect
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from halfbeat import nats_auth
from halfbeat.bus.nats import NatsBus
from halfbeat.nats_server import EmbeddedServer, find_binary
from halfbeat.settings import NatsSettings, inbox_prefix_of
from halfbeat.subjects import STORAGE_MAKER

ROOT = Path(__file__).parents[2]
NATS = ROOT / "deploy" / "nats"


def password(name: str) -> str:
    return f"secret-of-{name}"


def passwords(names: Sequence[str] = nats_auth.ALL_USERS, account: str = "") -> dict[str, str]:
    """Returns the server's variables."""
    users = [nats_auth.user(name, account) for name in names]
    return {user.password_variable: password(user.name) for user in users}


@asynccontextmanager
async def guarded(folder: Path | None = None, conf: str = "", more: str = "") -> AsyncIterator[EmbeddedServer]:
    """Starts a server with the users, the five of a deployment unless `conf` says otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in passwords().items():
            patch.setitem(os.environ, name, value)
        server = EmbeddedServer(folder, extra_config=(conf or nats_auth.as_conf()) + more)
        await server.__aenter__()
    try:
        yield server
    finally:
        await server.__aexit__(None, None, None)


def ports(folder: Path) -> str:
    """Returns what the server says of its ports; "" until it does."""
    return "".join(path.read_text() for path in folder.glob("*.ports"))


def checked_in(folder: Path) -> Path:
    """Returns the checked-in files, copied; only the folders and the leaf nodes' port are the test's."""
    for file in NATS.glob("*.conf"):
        text = file.read_text().replace('"/data"', f'"{folder}/data"').replace("/etc/nats/certs", str(folder))
        text = text.replace("0.0.0.0:7422", "127.0.0.1:-1")
        (folder / file.name).write_text(text)
    return folder


@asynccontextmanager
async def started(conf: Path, folder: Path, env: Mapping[str, str]) -> AsyncIterator[dict[str, list[str]]]:
    """Runs the server with this file on free ports; yields its URLs by what they are for."""
    process = await asyncio.create_subprocess_exec(
        *(str(find_binary()), "-c", str(conf), "-a", "127.0.0.1", "-p", "-1", "-m", "-1"),
        *("--ports_file_dir", str(folder)),
        env=dict(env),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(15):
            while not (told := await asyncio.to_thread(ports, folder)):
                if process.returncode is not None:
                    assert process.stderr is not None
                    raise AssertionError((await process.stderr.read()).decode())
                await asyncio.sleep(0.01)
        yield json.loads(told)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def settings(url: str, name: str, **more: Any) -> NatsSettings:
    return NatsSettings(url=url, user=name, password=password(name), **more)


def bus_of(url: str, name: str) -> NatsBus:
    """Returns the bus as the process of this user opens it."""
    return NatsBus(settings(url, name), name=name, makes_storage=name == STORAGE_MAKER)


class Raw:
    """A client of one user that knows what it was refused."""

    def __init__(self, client: Client, refused: list[str]) -> None:
        self.client, self._refused = client, refused

    async def refusals(self, verb: str, wanted: Sequence[str]) -> set[str]:
        """Tries to "publish" to or "subscribe" these subjects ("PATTERN GROUP" as a member); returns what failed."""
        self._refused.clear()
        for one in wanted:
            subject, _, group = one.partition(" ")
            if verb == "publish":
                await self.client.publish(subject, b"")
            else:
                await self.client.subscribe(subject, queue=group)
        await self.client.flush()
        await self.client.flush()
        # The client tells them in lower case; a refused member of a group as: subscription to "x" using queue "g".
        told = set()
        for text in self._refused:
            found = re.search(rf'permissions violation for {verb}\w* to "([^"]+)"(?: using queue "([^"]+)")?', text)
            assert found, text
            told.add(" ".join(part for part in found.groups() if part))
        assert told <= {one.lower() for one in wanted}
        return {one for one in wanted if one.lower() in told}


@asynccontextmanager
async def raw(url: str, name: str) -> AsyncIterator[Raw]:
    """Connects as a user, without our bus, which gives up at the first refusal."""
    refused: list[str] = []

    async def on_error(error: Exception) -> None:
        refused.append(str(error).lower().replace("subscription", "subscribe"))

    client = await nats.connect(
        url, user=name, password=password(name), inbox_prefix=inbox_prefix_of(name).encode(), error_cb=on_error
    )
    try:
        yield Raw(client, refused)
    finally:
        await client.close()


async def eventually(condition: Callable[[], Any], *, within_s: float = 10.0) -> None:
    """Returns as soon as the condition, or what it awaits, holds."""
    async with asyncio.timeout(within_s):
        while True:
            holds = condition()
            if await holds if inspect.isawaitable(holds) else holds:
                return
            await asyncio.sleep(0.01)
