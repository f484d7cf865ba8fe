"""`halfbeat call`: a caller on the command line."""

import asyncio
import json
import os
from pathlib import Path

import click


@click.command()
@click.argument("wavs", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[WAV]...")
@click.option("--text", "texts", multiple=True, help="Speak this line in the caller's voice; repeat for more turns.")
@click.option("--from", "number", default="", help="Caller's number, such as +15550100142.")
@click.option("--url", default="", help="Router; by default that of a running `halfbeat up`.")
@click.option(
    "--edge",
    type=click.Choice(["twilio", "grpc"]),
    default="twilio",
    show_default=True,
    help="twilio: a telephone line, 8 kHz mu-law. grpc: wideband; the url is host:port.",
)
@click.option(
    "--api-key", default="", envvar="HALFBEAT_API_KEY", help="With --edge grpc: for a router that asks for one."
)
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), help="Stereo WAV: caller left, agent right.")
@click.option("--json", "as_json", is_flag=True, help="Print the turns as JSON for a machine.")
def command(
    wavs: tuple[Path, ...],
    texts: tuple[str, ...],
    number: str,
    url: str,
    edge: str,
    api_key: str,
    record: Path | None,
    as_json: bool,
) -> None:
    """Call a running router as a caller would: in real time, listening before speaking.

    Plays WAV files, or speaks --text lines, one a turn; prints the conversation and, measured at the caller's end, how
    long each answer took from the caller's last sound to the agent's first.

    Exit code 1 when the call was refused or failed, or a line was not spoken or not answered.

    \b
    Examples:
      halfbeat call --text "My trash was not picked up." --text "Yes, please." --from +15550100142
      halfbeat call question.wav --edge grpc --record call.wav
    """
    from halfbeat.errors import InvalidRequest
    from halfbeat.service import run_loop
    from halfbeat.supervisor import find_running

    if not wavs and not texts:
        raise InvalidRequest("nothing to say: give WAV files or --text lines (see halfbeat call --help)")
    running = find_running() or {}
    if not url:
        url = running.get("grpc_target" if edge == "grpc" else "http_url", "")
    if not url:
        url = "127.0.0.1:50051" if edge == "grpc" else "http://127.0.0.1:8080"
    nats_url = os.environ.get("HALFBEAT_NATS_URL") or running.get("nats_url", "")
    raise SystemExit(run_loop(_call(wavs, texts, number, url, edge, api_key, record, nats_url, as_json)))


async def _call(
    wavs: tuple[Path, ...],
    texts: tuple[str, ...],
    number: str,
    url: str,
    edge: str,
    api_key: str,
    record: Path | None,
    nats_url: str,
    as_json: bool,
) -> int:
    from halfbeat.caller.conversation import converse, write_stereo
    from halfbeat.caller.phone import Line, Phone
    from halfbeat.caller.tap import tapped
    from halfbeat.caller.transports import dial
    from halfbeat.caller.voice import read_wav, speak

    phone = Phone(8000 if edge == "twilio" else 24000)
    lines = [Line(path.name, await asyncio.to_thread(read_wav, path, phone.sample_rate_hz)) for path in wavs]
    if texts:
        lines += await speak(texts, phone.sample_rate_hz)
    async with tapped(nats_url, None if as_json else _show) as tap:
        async with dial(edge, url, phone, number, api_key=api_key) as call:
            ended_by = await converse(call, lines)
        if call.error is not None and not phone.said:
            raise call.error  # refused, or lost before anything was said: there is nothing to show
        if tap is not None:
            await tap.settle()
    if record is not None:
        write_stereo(phone, record)
    sid = tap.sid if tap is not None else ""
    turns = [{"said": s.text, "v2v_ms": _rounded(phone.v2v_ms(s)), "cut_in": s.cut_in} for s in phone.said]
    not_spoken = [line.text for line in lines[len(turns) :]]
    if as_json:
        told = {"sid": sid, "ended_by": ended_by, "turns": turns, "not_spoken": not_spoken}
        click.echo(json.dumps(told, indent=2))
    else:
        for i, turn in enumerate(turns, 1):
            click.echo(f"line {i}: voice to voice {turn['v2v_ms']} ms" if turn["v2v_ms"] else f"line {i}: no answer")
        for i in range(len(turns), len(lines)):
            click.echo(f"line {i + 1}: not spoken, the call was over")
        click.echo(f"ended by {ended_by}" + (f"; halfbeat trace {sid}" if sid else ""))
    if call.error is not None:
        raise call.error
    return 0 if not not_spoken and all(turn["v2v_ms"] is not None for turn in turns) else 1


def _rounded(ms: float | None) -> int | None:
    return None if ms is None else round(ms)


def _show(who: str, what: str) -> None:
    from halfbeat.cli.replay import COLOURS

    click.secho(f"{who:>8}  {what}", fg=COLOURS.get(who))
