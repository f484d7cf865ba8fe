"""`halfbeat replay`: a past call from its log."""

import asyncio
import json

import click

from halfbeat.cli.ready import nats_url_option

COLOURS = {"caller": "cyan", "agent": "yellow", "tool": "magenta", "floor": "white"}


@click.command()
@click.argument("sid")
@nats_url_option
@click.option("--messages", is_flag=True, help="Show every message of the log, not the conversation.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per message, for a machine.")
def command(sid: str, nats_url: str, messages: bool, as_json: bool) -> None:
    """Show a past call again from its log: what was said and heard, which tools ran, how fast each answer came.

    \b
    Examples:
      halfbeat replay 4f1c2a9b
      halfbeat replay 4f1c2a9b --json | jq -c 'select(.kind == "tool.call")'
    """
    from google.protobuf.json_format import MessageToDict

    from halfbeat.errors import NotFound
    from halfbeat.record import SessionRecord
    from halfbeat.service import run_loop

    record = SessionRecord(sid)
    count = 0

    async def read() -> int:
        nonlocal count
        from halfbeat.cli.ready import reading_bus

        async with reading_bus(nats_url) as bus:
            async with asyncio.timeout(60):
                async for delivery in bus.log(sid):
                    count += 1
                    lines = record.take(delivery)
                    kind = f"{delivery.kind.kind}.{delivery.kind.verb}"
                    if as_json:
                        body = MessageToDict(delivery.message, preserving_proto_field_name=True)
                        click.echo(json.dumps({"sequence": delivery.sequence, "kind": kind, "message": body}))
                    elif messages:
                        click.echo(f"{delivery.sequence:>8}  {kind:<18} {_brief(delivery.message)}")
                    else:
                        for who, what in lines:
                            click.secho(f"{who:>8}  {what}", fg=COLOURS[who])
        return 0

    run_loop(read())
    if not count:
        raise NotFound(f"no session {sid} in the log; it is kept for 7 days")
    if not as_json:
        for turn in record.turns.values():
            v2v = f"voice to voice {turn.v2v_ms} ms" if turn.v2v_ms is not None else ""
            if v2v or turn.cut:
                click.echo(f"turn {turn.number}: " + ", ".join(part for part in (v2v, turn.cut) if part))


def _brief(message: object) -> str:
    text = " ".join(str(message).split())
    return text if len(text) <= 100 else text[:99] + "…"
