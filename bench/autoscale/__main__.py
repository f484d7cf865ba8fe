"""Does a policy of autoscaling meet a storm night, and what does it cost: simulated, second by second.

    python -m bench.autoscale                        # every policy in a storm, on a normal day, at a step: < 1 minute
    python -m bench.autoscale --search --seeds 60    # and the cheapest policies that refuse nobody: ten minutes
    python -m bench.autoscale --usual 120            # for a city with 120 calls a minute on a usual evening
    python -m bench.autoscale --docs                 # write the tables and the picture of docs/scaling.md

The storm: ten times the calls within two minutes, a quarter of an hour of it, then an ebb. Callers, lengths of calls,
placement and the phases of all loops are drawn by seed. docs/scaling.md says what the model has and what it leaves out.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.autoscale import ways
from bench.autoscale.arrivals import Curve, normal_day, step, storm_night
from bench.autoscale.night import Outcome
from bench.autoscale.policies import RECOMMENDED, SERVICES, USUAL_PER_S
from bench.autoscale.report import figures, nights, policy_rows, price_rows, result_rows, written
from bench.autoscale.search import cheapest

OUT = Path("build/bench/autoscale.json")
PAGE, PICTURE, PRICES = Path("docs/scaling.md"), Path("docs/scaling.png"), Path("docs/sizing.md")


def main(argv: list[str] | None = None) -> int:
    """Command line; 1 when the recommended policy refused somebody in the storm."""
    parser = argparse.ArgumentParser(
        prog="halfbeat bench autoscale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="storms of each policy, and of a search (default: 5)")
    parser.add_argument(
        "--usual", type=float, default=60 * USUAL_PER_S, metavar="CALLS",
        help="calls a minute on a usual evening (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument("--factor", type=float, default=10.0, help="calls of the storm, of the usual (default: 10)")
    parser.add_argument("--ramp", type=float, default=120.0, help="seconds in which they grow (default: 120)")
    parser.add_argument("--search", action="store_true", help="look for the cheapest policy of each service")
    parser.add_argument("--out", type=Path, default=OUT, help=f"report (default: {OUT}); the picture lies beside it")
    parser.add_argument("--docs", action="store_true", help=f"write the tables of {PAGE} and {PRICES}, and {PICTURE}")
    given = parser.parse_args(argv)
    began = time.monotonic()
    usual_per_s = given.usual / 60
    seeds = range(1, given.seeds + 1)
    storm, day = storm_night(usual_per_s, given.factor, given.ramp), normal_day(usual_per_s)
    report: dict[str, Any] = {"usual_calls_per_min": given.usual, "factor": given.factor, "seeds": list(seeds)}
    if given.search:
        report["search"] = _searched(storm, day, seeds)
    shown: dict[str, Outcome] = {}
    tables = {"policy": policy_rows(SERVICES, RECOMMENDED)}
    report["curves"] = {}
    for curve in (storm, day, step(usual_per_s)):
        told = report["curves"][curve.name] = {}
        for way in ways.WAYS if curve is storm else ways.SHORT:
            outcomes = nights(way, curve, seeds if curve is storm else seeds[:2])
            told[way.name] = figures(way, outcomes)
            if curve is storm:
                shown[way.name] = outcomes[0]
        tables[curve.name] = result_rows(told)
    report["recommended"] = tables["policy"]
    for name, rows in tables.items():
        print(f"\n{name}\n\n" + "\n".join(rows))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=2) + "\n")
    _draw(shown, given.out.with_suffix(".png"))
    if given.docs:
        PAGE.write_text(written(PAGE.read_text(), tables))
        PRICES.write_text(written(PRICES.read_text(), {"prices": price_rows(SERVICES, RECOMMENDED)}))
        _draw(shown, PICTURE)
    print(f"\n{given.out}, {time.monotonic() - began:.0f} s")
    return 0 if not report["curves"][storm.name][ways.RECOMMENDED]["refused_dials"][2] else 1


def _draw(nights: dict[str, Outcome], path: Path) -> None:
    try:
        from bench.autoscale.chart import draw
    except ImportError as e:
        print(f"{path} is not drawn: {e}; pip install 'halfbeat[bench]' brings it", file=sys.stderr)
        return
    draw({name: nights[name] for name in ways.DRAWN}, path)


def _searched(storm: Curve, day: Curve, seeds: Sequence[int]) -> dict[str, Any]:
    """Looks for each service's cheapest policy in the storm's first part, and prints what it finds."""
    first = Curve(storm.name, 3300, storm.calls_per_s)
    told = {}
    print("the cheapest policies that refuse nobody, in pod-hours of a month with one storm\n")
    for name, service in SERVICES.items():
        found = cheapest(name, service, RECOMMENDED[name], first, day, seeds=seeds)
        told[name] = [
            {"pod_hours": round(hours), "warm_slots": p.warm_slots, "lead_s": p.lead_s, "fill": p.fill}
            for hours, p in found
        ]
        for row in told[name][:3]:
            print(f"  {name:<9}", *(f"{key} {value:g}" for key, value in row.items()), flush=True)
    return told


if __name__ == "__main__":
    sys.exit(main())
