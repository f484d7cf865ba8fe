"""`halfbeat trace`: the waterfall of every turn of a call."""

import json

import click

from halfbeat.cli.ready import nats_url_option


@click.command()
@click.argument("sid")
@nats_url_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")
def command(sid: str, nats_url: str, as_json: bool) -> None:
    """Draw where the milliseconds of a call's turns went.

    SID is the session's id, as `halfbeat call` and the router's page show it. Reads the spans that every service
    sends to the bus, and from the log of the call which answers were cut; nothing else need be installed.

    \b
    Example:
      halfbeat trace 4f1c2a9b
    """
    from rich.console import Console

    from halfbeat import waterfall
    from halfbeat.errors import NotFound
    from halfbeat.record import SessionRecord
    from halfbeat.service import run_loop

    spans: list[waterfall.Span] = []
    record = SessionRecord(sid)

    async def read() -> int:
        from halfbeat.cli.ready import reading_bus

        async with reading_bus(nats_url) as bus:
            async for payload in bus.spans(sid):
                spans.extend(waterfall.decode(payload))
            async for delivery in bus.log(sid):
                record.take(delivery)
        return 0

    run_loop(read())
    if not spans:
        raise NotFound(f"no spans of session {sid} in the log; they are kept for 24 hours")
    if as_json:
        click.echo(json.dumps(waterfall.to_json(spans, record.turns.values()), indent=2))
    else:
        console = Console()
        console.print(waterfall.draw(spans, console.width, record.turns.values()))
