"""`halfbeat up`: everything on this machine."""

import asyncio
import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from halfbeat.supervisor import Plan


@click.command()
@click.option("--http-port", default=8080, show_default=True, help="Router: page, /v1/realtime, /twilio/media.")
@click.option("--grpc-port", default=50051, show_default=True, help="Router: gRPC Voice/Converse.")
@click.option("--nats-url", default="", envvar="HALFBEAT_NATS_URL", help="Use this NATS server; else one is started.")
@click.option("--llm-url", default="", help="Use this OpenAI-compatible server; else llama.cpp is started.")
@click.option("--state", type=click.Path(path_type=Path), help="Folder for logs, log streams and database.")
def command(http_port: int, grpc_port: int, nats_url: str, llm_url: str, state: Path | None) -> None:
    """Start everything on this machine: bus, services, language model. ^C drains.

    The first ^C lets running calls finish, a second one stops at once. Logs and the call log lie in the state folder
    ($HALFBEAT_STATE, by default ~/.local/state/halfbeat).

    \b
    Examples:
      halfbeat up                       then open http://127.0.0.1:8080 and `halfbeat call --text "Hello"`
      halfbeat up --llm-url http://gpu:8000/v1        a vLLM server elsewhere thinks
      HALFBEAT_ASR_ENGINE=faster-whisper halfbeat up  any setting of any service, by environment
    """
    from halfbeat.cli.ready import ensure_models
    from halfbeat.service import run_loop
    from halfbeat.supervisor import Plan, state_dir

    ensure_models()
    plan = Plan(
        state=state or state_dir(), nats_url=nats_url, llm_url=llm_url, http_port=http_port, grpc_port=grpc_port
    )
    raise SystemExit(run_loop(_up(plan)))


async def _up(plan: "Plan") -> int:
    from halfbeat.supervisor import everything, running_file

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    starting = asyncio.current_task()
    assert starting is not None
    async with everything(plan, _tell) as running:
        file = running_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        told = {"nats_url": running.nats_url, "http_url": running.http_url, "grpc_target": running.grpc_target}
        file.write_text(json.dumps({**told, "pid": os.getpid()}))
        try:
            click.echo(
                f"\nReady. Page: {running.http_url}   gRPC: {running.grpc_target}\n"
                f'Place a call: halfbeat call --text "My trash was not picked up."   (^C to stop)'
            )
            dead = asyncio.create_task(running.wait_for_a_death())
            stopped = asyncio.create_task(stop.wait())
            done, _ = await asyncio.wait({dead, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for number in (signal.SIGINT, signal.SIGTERM):  # the second ^C is the ordinary one
                loop.remove_signal_handler(number)
            stopped.cancel()
            if dead in done:
                click.secho(f"\n{dead.result()}", fg="red", err=True)
                return 1
            dead.cancel()
        finally:
            with suppress(FileNotFoundError):
                file.unlink()
    return 0


def _tell(name: str, what: str) -> None:
    click.echo(f"  {name:<10} {what}")
