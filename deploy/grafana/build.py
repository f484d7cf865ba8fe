"""Writes dashboards/*.json; `--check` fails if they are not what the modules beside this one say.

python -m deploy.grafana.build [--check]
"""

import argparse
import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana import bus, calls, capacity, engines, latency

FOLDER = Path(__file__).parent / "dashboards"


def dashboards() -> dict[str, Dashboard]:
    """Returns every dashboard by the name of its file."""
    return {f"{module.__name__.rpartition('.')[2]}.json": module.board() for module in _MODULES}


def text(dashboard: Dashboard) -> str:
    """Returns a dashboard as Grafana reads it, in a form whose changes can be reviewed."""
    return json.dumps(dashboard, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> int:
    """Writes or checks; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file is out of date")
    is_check = parser.parse_args().check
    wanted = {name: text(dashboard) for name, dashboard in dashboards().items()}
    found = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    stale = [name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)]
    for name in stale:
        path = FOLDER / name
        if is_check:
            print(f"{path} is out of date: run `make dashboards` and commit the result", file=sys.stderr)
        elif name in wanted:
            path.write_text(wanted[name])
            print(f"wrote {path}")
        else:
            path.unlink()
            print(f"removed {path}, which no module makes")
    return 1 if is_check and stale else 0


_MODULES = (calls, latency, capacity, bus, engines)

if __name__ == "__main__":
    raise SystemExit(main())
