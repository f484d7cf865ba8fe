"""What a command needs before it can start: the models, a bus to read from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from halfbeat.bus.nats import NatsBus


def ensure_models() -> None:
    """Pulls the default models unless they are here; shows progress."""
    from rich.console import Console

    from halfbeat import models
    from halfbeat.cli.pull_progress import shown

    missing = []
    for name in models.catalogue().sets["default"]:
        try:
            models.path(name)
        except models.ModelMissing:
            missing.append(name)
    if missing:
        with shown(Console(stderr=True)) as progress:
            models.pull(missing, progress)


@asynccontextmanager
async def reading_bus(nats_url: str) -> "AsyncIterator[NatsBus]":
    """Connects to the bus that holds the log: the one named, the one of a running `halfbeat up`, or its stored log."""
    from contextlib import AsyncExitStack

    from halfbeat.bus.nats import NatsBus
    from halfbeat.errors import Unavailable
    from halfbeat.nats_server import EmbeddedServer
    from halfbeat.settings import NatsSettings
    from halfbeat.supervisor import find_running, state_dir

    async with AsyncExitStack() as stack:
        if not nats_url:
            running = find_running()
            if running is not None:
                nats_url = running["nats_url"]
            elif (state_dir() / "nats").is_dir():
                nats_url = (await stack.enter_async_context(EmbeddedServer(state_dir() / "nats"))).url
            else:
                raise Unavailable("no call log here: name a server with --nats-url, or start one with `halfbeat up`")
        settings = NatsSettings.from_environment(url=nats_url)
        yield await stack.enter_async_context(NatsBus(settings, name="halfbeat-cli", makes_storage=False))


nats_url_option = click.option(
    "--nats-url",
    default="",
    envvar="HALFBEAT_NATS_URL",
    help="Server that holds the log; by default the one of a running `halfbeat up`, or its stored log.",
)
