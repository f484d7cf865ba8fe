"""The dashboards are what their modules say, can be read, and name nothing that does not exist."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import nats
import promql_parser
import pytest
import pytest_asyncio
import yaml
from dashboard_queries import FOLDER, NAMES, expressions, metrics_in, panels_of, read, substituted
from deploy_tools import ROOT

from halfbeat.nats_metrics import Exporter, render
from halfbeat.nats_server import EmbeddedServer

GRAFANA = ROOT / "deploy" / "grafana"
LANGUAGE_MODELS = Path(__file__).parent / "llm_servers"
#: Of any process with a Prometheus client; named in no document of ours.
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
#: Names of a unit that Grafana knows ("short" is a plain number, "cps" and "Bps" are per second).
UNITS = {"short", "none", "s", "bytes", "Bps", "cps", "percentunit"}


def test_there_is_a_file_for_every_dashboard_and_no_other() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(NAMES)


def test_the_files_are_what_the_modules_say() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "deploy.grafana.build", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_says_what_it_shows_to_whom_and_in_what(name: str) -> None:
    for panel in panels_of(name):
        title = panel["title"]
        assert len(title) >= 10 or title in {"Connections", "Reconnects", "Processes"}, title
        assert len(panel["description"]) >= 20, f"{title}: what is it for, what is normal, what to do?"
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, title
        assert panel["targets"], title


@pytest.mark.parametrize("name", NAMES)
def test_titles_and_ids_tell_panels_apart(name: str) -> None:
    panels = read(name)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels_of(name):
        legends = [target.get("legendFormat", "") for target in panel["targets"]]
        assert len(set(legends)) == len(legends), f"{panel['title']}: two curves are called the same"


@pytest.mark.parametrize("name", NAMES)
def test_panels_lie_side_by_side_and_fill_their_rows(name: str) -> None:
    boxes = [panel["gridPos"] for panel in read(name)["panels"]]
    for a, b in combinations(boxes, 2):
        is_beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        is_above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert is_beside or is_above, f"{a} overlaps {b}"
    lines: dict[int, int] = {}
    for box in boxes:
        lines[box["y"]] = lines.get(box["y"], 0) + box["w"]
    assert set(lines.values()) == {24}, lines


@pytest.mark.parametrize("name", NAMES)
def test_every_expression_can_be_parsed_and_follows_the_variables(name: str) -> None:
    for where, expr in expressions(name):
        try:
            promql_parser.parse(substituted(expr))
        except ValueError as e:
            pytest.fail(f"{where}: {expr}: {e}")
        selectors = re.findall(r"[a-zA-Z_:][\w:]*\{([^}]*)\}", expr)
        assert selectors, where
        for selector in selectors:
            assert 'namespace=~"$namespace",instance=~"$instance"' in selector, f"{where}: {expr}"


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_exists(name: str, known_metrics: set[str]) -> None:
    for where, expr in expressions(name):
        for metric in metrics_in(expr):
            assert metric in known_metrics, f"{where}: nobody has {metric}"


def test_a_metric_that_does_not_exist_is_found(known_metrics: set[str]) -> None:
    assert metrics_in("sum(rate(halfbeat_v2v_secs_count[1m])) / up") == {"halfbeat_v2v_secs_count", "up"}
    assert "halfbeat_v2v_secs_count" not in known_metrics


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_that_a_panel_leads_to_is_that_of_an_alert(name: str) -> None:
    alerts = {
        rule["alert"]: rule["annotations"]["runbook_url"]
        for path in (ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    for panel in panels_of(name):
        for link in panel.get("links", []):
            assert link["title"].removeprefix("Runbook ") in alerts, f"{panel['title']}: no alert {link['title']}"
            assert link["url"] in alerts.values(), link["url"]


@pytest.mark.parametrize("name", NAMES)
def test_dashboards_lead_to_each_other_and_to_the_runbooks(name: str) -> None:
    dashboard = read(name)
    assert dashboard["uid"] == f"halfbeat-{name}"
    by_tag, runbooks = dashboard["links"]
    assert by_tag["type"] == "dashboards"
    assert set(by_tag["tags"]) <= set(dashboard["tags"])
    assert by_tag["keepTime"]
    assert by_tag["includeVars"]
    assert runbooks["url"].endswith("/docs/runbooks")


@pytest.mark.parametrize("name", NAMES)
def test_no_data_source_is_fixed(name: str) -> None:
    variables = {variable["name"]: variable for variable in read(name)["templating"]["list"]}
    assert {"datasource", "namespace", "instance"} <= set(variables)
    for uid in re.findall(r'"uid": "([^"]*)"', json.dumps(read(name)["panels"])):
        assert uid.removeprefix("${").removesuffix("}") in variables, uid


def test_voice_to_voice_is_shown_beside_a_persons_and_the_budget() -> None:
    panel = next(p for p in panels_of("calls") if p["title"].startswith("Median and slowest"))
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [step["value"] for step in steps] == [None, 0.2, 0.3, 0.6, 0.7]
    assert panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "line+area"
    assert [p["type"] for p in panels_of("calls")].count("heatmap") == 1


def test_grafana_finds_data_sources_and_dashboards() -> None:
    sources = _provisioned("datasources")["datasources"]
    prometheus, tempo = (next(s for s in sources if s["type"] == kind) for kind in ("prometheus", "tempo"))
    [exemplar] = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    assert exemplar == {"name": "trace_id", "datasourceUid": tempo["uid"], "urlDisplayLabel": "The turn's trace"}
    [provider] = _provisioned("dashboards")["providers"]
    assert provider["type"] == "file"
    assert not provider["allowUiUpdates"], "what is changed in Grafana would be lost; it is changed here"


def test_grafana_knows_how_often_prometheus_looks() -> None:
    [prometheus] = (s for s in _provisioned("datasources")["datasources"] if s["type"] == "prometheus")
    scraping = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["global"]
    assert prometheus["jsonData"]["timeInterval"] == scraping["scrape_interval"]


def _provisioned(kind: str) -> Mapping[str, Any]:
    [path] = (GRAFANA / "provisioning" / kind).glob("*.yml")
    return yaml.safe_load(path.read_text())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def known_metrics() -> set[str]:
    """Every series name that somebody has: ours, NATS's exporter's, the language model servers', a process's."""
    return {*PROCESS, *_ours(), *_of_language_models(), *await _of_nats()}


def _ours() -> Iterator[str]:
    page = (ROOT / "docs" / "metrics.md").read_text()
    for name, kind in re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.MULTILINE):
        yield from (f"{name}{part}" for part in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",)))


async def _of_nats() -> set[str]:
    """What the exporter tells of a server with a stream."""
    async with EmbeddedServer() as server:
        client = await nats.connect(server.url)
        await client.jetstream().add_stream(name="TURNS", subjects=["turns"])
        exporter = Exporter([server.monitoring_url])
        text = render(await exporter.ask()).decode()
        await client.close()
    return set(re.findall(r"^(\w+)[{ ]", text, re.MULTILINE))


def _of_language_models() -> set[str]:
    """What the servers were seen to tell; the files say of which versions."""
    texts = [path.read_text() for path in LANGUAGE_MODELS.glob("*.prom")]
    return {name for text in texts for name in re.findall(r"^([\w:]+)[{ ]", text, re.MULTILINE)}
