"""The detector alone as its threshold sweeps: cut-offs against dead air, for the plot. A process of its own.

python -m bench.turns.curve build/bench/turns-curve.json
"""

import json
import random
import sys
from pathlib import Path

from bench.turns.evidence import Models, observe
from bench.turns.lines import caller_lines
from bench.turns.speech import default_cache, make_speech
from bench.turns.sweep import replay, tradeoff
from services.router.config import RouterSettings
from services.router.detector import TurnEnd

#: Lines of the labelled set that are looked at; what is made for them stays in the cache.
LINES = 120


def main(out: Path) -> int:
    """Writes [[threshold, cut-off rate, median dead air in ms], ...]."""
    lines = [line for line in caller_lines() if line.kind != "wait"]
    chosen = random.Random(1).sample(lines, min(LINES, len(lines)))
    pauses = observe(make_speech(chosen), Models, default_cache().with_name("evidence"))
    settings = RouterSettings().endpoint()
    points = tradeoff(replay(pauses, lambda: TurnEnd(settings)), settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(points))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
