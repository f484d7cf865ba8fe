"""`halfbeat demo`: the 311 call, with real models, on this machine."""

from pathlib import Path

import click


@click.command()
@click.option("--calls", default=1, show_default=True, help="Calls one after another, each with its own wordings.")
@click.option(
    "--script",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file of calls; by default the one of apps/city311.",
)
@click.option("--out", default="build/demo", show_default=True, type=click.Path(path_type=Path), help="Folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the report for a machine instead of the conversation.")
def command(calls: int, script: Path | None, out: Path, as_json: bool) -> None:
    """Hold the 311 call with real models and show where the time went.

    Starts everything on free ports with an empty call log and a fresh database, calls it as the telephone network
    would (Twilio Media Streams, 8 kHz mu-law, real time) in a synthesised voice, and prints the conversation, the
    turns with their latency, and what was booked. Writes report.json and call.wav (stereo) to the folder.

    Exit code 1 when the booking or the confirmation text is missing.

    \b
    Examples:
      halfbeat demo
      halfbeat demo --calls 10 --json > report.json
    """
    from halfbeat.cli.ready import ensure_models
    from halfbeat.demo import run
    from halfbeat.service import run_loop

    ensure_models()
    raise SystemExit(run_loop(run(calls, script, out, as_json=as_json)))
