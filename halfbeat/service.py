"""Runs one service as a process: settings, logs, health, metrics, clean start and clean stop.

A service is an async context manager with `drain`: entering it loads and warms its models and subscribes; only then
is the process ready. SIGTERM or SIGINT drains: not ready any more, no new calls, running ones finish.
"""

import argparse
import asyncio
import gc
import logging
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from aiohttp import web
from prometheus_client import REGISTRY, disable_created_metrics
from prometheus_client.exposition import choose_encoder

import halfbeat
from halfbeat import logs, presence, telemetry
from halfbeat.bus import Bus
from halfbeat.errors import HalfbeatError
from halfbeat.settings import ServiceSettings
from halfbeat.subjects import STORAGE_MAKER

log = logging.getLogger(__name__)
S = TypeVar("S", bound=ServiceSettings)
T = TypeVar("T")


class Service(Protocol):
    """What `main` runs."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    async def drain(self) -> None:
        """Takes no new calls and returns when the running ones have ended; cancelled at the deadline."""

    def add_routes(self, app: web.Application) -> None:
        """Adds HTTP routes beside the health ones; called once before entering."""

    def describe(self) -> dict[str, Any]:
        """What it runs (engine, slots, further ports), for the "ready" log line; called once entered."""


class Health:
    """/healthz, /readyz and /metrics."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.is_ready = False
        self.reason = "starting: loading models"
        telemetry.READY.set_function(lambda: float(self.is_ready and bus.is_connected))
        # They are a second series for every counter, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if not self.is_ready:
            return web.Response(status=503, text=self.reason + "\n")
        if not self._bus.is_connected:
            return web.Response(status=503, text="not connected to NATS\n")
        return web.Response(text="ready\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        """In OpenMetrics, the only format that has exemplars, for who accepts it; else in Prometheus's plain text."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(REGISTRY), headers={"Content-Type": content_type})


class Version(argparse.Action):
    """`--version`: prints it and exits; reads the package's metadata only then."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Prints `halfbeat` and the version, as `halfbeat --version` does."""
        print(f"halfbeat {halfbeat.__version__}")
        parser.exit()


def main(settings_class: type[S], make: Callable[[S, Bus], Service], argv: list[str] | None = None) -> int:
    """Command line of a service; returns the exit code."""
    name = settings_class.service
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{name}",
        description=f"halfbeat's {name} service. Settings come from the environment, then from --config.",
        epilog="settings:\n" + settings_class.describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=Version)
    parser.add_argument("--config", type=Path, help=f"TOML file; its table [{name}] holds the settings below")
    parser.add_argument("--print-config", action="store_true", help="print the settings in force as JSON and exit")
    arguments = parser.parse_args(argv)
    try:
        settings = settings_class.load(arguments.config)
    except HalfbeatError as e:
        print(f"halfbeat {name}: {e}", file=sys.stderr)
        return 2
    if arguments.print_config:
        print(settings.to_json())
        return 0
    logs.setup(name, settings.name, settings.log_level)
    try:
        return run_loop(_serve(settings, make))
    except HalfbeatError as e:
        log.error("stopped: %s", e)
        print(f"halfbeat {name}: {e}", file=sys.stderr)
        return 1


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on uvloop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def _serve(settings: S, make: Callable[[S, Bus], Service]) -> int:
    from halfbeat.bus.nats import NatsBus

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    bus = NatsBus(
        settings.nats,
        name=f"{settings.service}-{settings.name}",
        on_fatal=stop.set,
        makes_storage=settings.service == STORAGE_MAKER,
    )
    health = Health(bus)
    app = web.Application(client_max_size=1 << 20)
    health.add_routes(app)
    service = make(settings, bus)
    service.add_routes(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    async with bus:
        provider = telemetry.setup(settings.service, settings.name, bus)
        telemetry.errors_from_zero(settings.service)
        lag = asyncio.create_task(telemetry.watch_loop_lag())
        try:
            await runner.setup()
            site = web.TCPSite(runner, settings.http_host, settings.http_port)
            try:
                await site.start()
            except OSError as e:
                raise HalfbeatError(
                    f"cannot listen on {settings.http_host}:{settings.http_port}: {e.strerror}; "
                    f"set HALFBEAT_{settings.service.upper()}_HTTP_PORT to another port"
                ) from e
            port = runner.addresses[0][1]
            log.info("listening", extra={"http_port": port})
            entering = asyncio.create_task(_enter_until(service, stop))
            if not await entering:
                return 0
            present: asyncio.Task[None] | None = None
            try:
                spare_the_collector()
                health.is_ready = True
                facts = {"http_port": port, **service.describe()}
                log.info("ready", extra=facts)
                present = asyncio.create_task(presence.announce(bus, settings.service, settings.name, facts))
                await stop.wait()
                health.is_ready, health.reason = False, "draining"
                telemetry.DRAIN_DEADLINE.set(time.time() + settings.drain_s)
                log.info("draining")
                with suppress(TimeoutError):
                    async with asyncio.timeout(settings.drain_s):
                        await service.drain()
            finally:
                if present is not None:
                    present.cancel()
                    await asyncio.gather(present, return_exceptions=True)
                await service.__aexit__(None, None, None)
        finally:
            lag.cancel()
            await runner.cleanup()
            await asyncio.to_thread(provider.shutdown)
    if bus.fatal_error is not None:
        raise bus.fatal_error
    log.info("stopped")
    return 0


def spare_the_collector() -> None:
    """Takes all that is there (modules, models) out of the garbage collector's sight.

    A full collection walks every object: 80,000 of them, 40 to 160 ms on two busy cores in which no frame moves.
    """
    gc.collect()
    gc.freeze()


async def _enter_until(service: Service, stop: asyncio.Event) -> bool:
    """Enters the service; False when asked to stop before it was ready."""
    entering = asyncio.create_task(service.__aenter__())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({entering, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if entering.done():
            entering.result()
            return True
        entering.cancel()
        with suppress(asyncio.CancelledError):
            await entering
        return False
    finally:
        stopping.cancel()
