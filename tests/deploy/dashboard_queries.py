"""What the checked-in dashboards ask Prometheus, with Grafana's variables filled in as Grafana would."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"
NAMES = ("bus", "calls", "capacity", "engines", "latency")
Panel = Mapping[str, Any]


def read(name: str) -> dict[str, Any]:
    """Returns a dashboard."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def panels_of(name: str) -> list[Panel]:
    """Returns its panels without the titles of rows."""
    return [panel for panel in read(name)["panels"] if panel["type"] != "row"]


def expressions(name: str) -> Iterator[tuple[str, str]]:
    """Yields where it stands and what it is, for every PromQL expression of a dashboard."""
    for panel in panels_of(name):
        for target in panel["targets"]:
            if target["datasource"]["type"] == "prometheus":
                yield f"{name}: {panel['title']}: {target['refId']}", target["expr"]


def substituted(
    text: str, *, namespace: str = ".*", instance: str = ".*", window: str = "30s", shown: str = "60s"
) -> str:
    """Fills in the variables; `window` and `shown` are what Grafana makes of the zoom."""
    values = {"namespace": namespace, "instance": instance, "__rate_interval": window, "__range": shown}
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], text)


def metrics_in(expr: str) -> set[str]:
    """Returns the names of the series that an expression reads."""
    names = set()

    def look(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            names.add(node.name)
        elif isinstance(node, promql_parser.MatrixSelector):
            names.add(node.vector_selector.name)

    promql_parser.walk(promql_parser.parse(substituted(expr)), look)
    return names
