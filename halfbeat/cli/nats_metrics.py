"""`halfbeat nats-metrics`: an exporter of NATS servers' metrics."""

import click

from halfbeat.cli.examples import examples


@click.command(
    epilog=examples(
        "halfbeat nats-metrics --url http://127.0.0.1:8222",
        "halfbeat nats-metrics --url http://nats-0:8222 --url http://nats-1:8222 --host 0.0.0.0",
        "curl -s http://127.0.0.1:7777/metrics | grep slow_consumers",
    )
)
@click.option(
    "--url",
    "urls",
    multiple=True,
    default=["http://127.0.0.1:8222"],
    show_default=True,
    help="Monitoring port of a server; repeat for more.",
)
@click.option("--port", default=7777, show_default=True, help="Where /metrics and /healthz are served; 0: a free one.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, envvar="HALFBEAT_HTTP_HOST", help="Address it listens on."
)
def command(urls: tuple[str, ...], port: int, host: str) -> None:
    """Tell Prometheus what NATS servers tell about themselves.

    The metrics are named as those of prometheus-nats-exporter (gnatsd_varz_..., gnatsd_connz_..., gnatsd_healthz_...,
    jetstream_...), which may be used in its place. A server that does not answer has nats_up 0. Servers are asked when
    /metrics is; /healthz says that this process lives.
    """
    import socket

    from halfbeat import logs
    from halfbeat.service import run_loop

    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise click.BadParameter(f"{url!r} is no http:// or https:// URL", param_hint="--url")
    logs.setup("nats-metrics", socket.gethostname(), "INFO")
    raise SystemExit(run_loop(_serve(urls, host, port)))


async def _serve(urls: tuple[str, ...], host: str, port: int) -> int:
    import asyncio
    import logging
    import signal

    from aiohttp import web

    from halfbeat.errors import HalfbeatError
    from halfbeat.nats_metrics import Exporter

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(Exporter(urls).app(), access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as e:
            raise HalfbeatError(f"cannot listen on {host}:{port}: {e.strerror}; choose another --port") from e
        facts = {"http_port": runner.addresses[0][1], "servers": list(urls)}
        logging.getLogger(__name__).info("ready", extra=facts)
        await stop.wait()
    finally:
        await runner.cleanup()
    return 0
