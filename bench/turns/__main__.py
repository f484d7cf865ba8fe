"""How fast, and how politely, the agent takes its turn: measured at the caller's end against known truth.

    python -m bench.turns [--set scripted|cpu|all] [--runs 3] [--turns N]
    python -m bench.turns --compare speculates=true speculates=false
    python -m bench.turns --compare a.toml b.toml --set cpu

Two sets of calls. `scripted`: the real router with the timing of a GPU behind it (asr 40 ms after the flush, first
token after 100 ms, 60 tokens a second, first audio after 80 ms), several calls at a time, also without speculation.
`cpu`: 311 calls to everything that `halfbeat up` starts, one at a time. docs/benchmarks.md says how it is measured.
"""

import argparse
import json
import sys
from pathlib import Path

from bench.turns.running import OUT, Options, run
from halfbeat.errors import HalfbeatError
from halfbeat.service import run_loop


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="halfbeat bench turns", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", choices=("scripted", "cpu", "all"), default="all", dest="which")
    parser.add_argument("--runs", type=int, default=0, help="how often; default 3 for scripted, 1 for cpu")
    parser.add_argument("--turns", type=int, default=0, help="turns of a run at least; default 150 scripted, 60 cpu")
    parser.add_argument("--calls", type=int, default=10, help="scripted calls at a time (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="of wordings, voices, pauses and moments (default: 1)")
    parser.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), default=None,
        help="two settings, alternately in one run: NAME=VALUE[,...] of the router, SERVICE.NAME=VALUE, or a TOML file",
    )  # fmt: skip
    parser.add_argument(
        "--audio-dir", type=Path, help="your own recordings with labels in place of the scripted set's turns"
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, help=f"report (default: {OUT}); plots and every turn lie beside it"
    )
    parser.add_argument("--record", type=Path, help="keep every call as a stereo WAV file in this folder")
    parser.add_argument("--no-plots", action="store_true", help="do not draw (matplotlib is not needed then)")
    parser.add_argument("--json", action="store_true", help="print the report for a machine")
    given = parser.parse_args(argv)
    options = Options(
        which=given.which,
        runs=given.runs,
        turns=given.turns,
        calls=given.calls,
        seed=given.seed,
        compare=tuple(given.compare or ()),
        audio_dir=given.audio_dir,
        out=given.out,
        record=given.record,
        has_plots=not given.no_plots,
        is_json=given.json,
    )
    try:
        report = run_loop_for(options)
    except HalfbeatError as e:
        print(f"bench turns: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if given.json:
        print(json.dumps(report, indent=2))
    return 0


def run_loop_for(options: Options) -> dict[str, object]:
    """Runs it on the loop that the services use."""
    report: dict[str, object] = {}

    async def held() -> int:
        report.update(await run(options))
        return 0

    run_loop(held())
    return report


if __name__ == "__main__":
    sys.exit(main())
