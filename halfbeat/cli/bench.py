"""`halfbeat bench`: the benchmarks of a checkout."""

import os
import subprocess
import sys
from pathlib import Path

import click

from halfbeat.cli.examples import examples

#: Benchmark and what it measures.
BENCHES = {
    "turns": "Voice to voice, cut-ins and barge-in, at the caller's end, against known truth.",
    "detector": "The turn detector alone, on labelled speech: dead air at 5 % and 10 % cut-offs.",
    "echo": "Echo cancellation beside nothing and WebRTC's: echo left, caller kept, calls in the loop.",
    "asr": "Recognition: words wrong, time of a flush.",
    "dialogue": "The 311 conversation in text: right facts, time to the first clause.",
    "tts": "Speech: time to the first audio, share of real time.",
    "bus": "One hop over the bus.",
    "idle": "What everything costs while callers are silent, or talk.",
    "startup": "How long each process takes to be ready.",
    "autoscale": "Autoscaling policies in a storm night, simulated: who is refused, what it costs.",
}
_TABLE = "\n".join(f"  {name:<10} {what}" for name, what in BENCHES.items())


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=examples(
        "halfbeat bench turns",
        "halfbeat bench turns --set cpu --runs 3",
        "halfbeat bench turns --compare speculates=true speculates=false",
        "halfbeat bench detector",
        "halfbeat bench turns --help",
    ),
    help=f"""Measure latency, turn-taking and cost on this machine.

NAME is one of these; what follows it is its own, and NAME --help explains it.

\b
{_TABLE}

They are part of a checkout (folder bench/), not of the installed package. Reports go to build/bench/.
docs/benchmarks.md says how each is measured.
""",
)
@click.argument("name", metavar="NAME", type=click.Choice(list(BENCHES)))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
def command(name: str, arguments: tuple[str, ...]) -> None:
    """Runs `python -m bench.NAME`."""
    from halfbeat.errors import NotFound

    root = Path(__file__).parents[2]
    if not (root / "bench" / "__init__.py").is_file():
        raise NotFound(f"no folder bench/ in {root}: benchmarks run from a checkout of halfbeat")
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    argv = [sys.executable, "-m", f"bench.{name}", *arguments]
    raise SystemExit(subprocess.call(argv, env={**os.environ, "PYTHONPATH": path}))
