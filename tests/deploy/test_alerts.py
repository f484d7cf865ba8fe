"""Rules, alerts, runbooks and routes: they hold together, and each alert fires when it should and only then."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_tools import ROOT, run

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
RULE_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
ALERTMANAGER = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
RUNBOOKS = ROOT / "docs" / "runbooks"
JOBS = {"router", "asr", "dialogue", "tts", "llm", "nats"}
#: Made by Prometheus itself, by its client library, and by NATS (names of the official exporter, which ours has too).
FOREIGN = {
    *("up", "process_start_time_seconds", "process_cpu_seconds_total"),
    "nats_up",  # ours alone
    *("gnatsd_healthz_status", "gnatsd_varz_slow_consumers"),
    *("gnatsd_varz_jetstream_stats_storage", "gnatsd_varz_jetstream_config_max_storage"),
}
KEYWORDS = {"and", "or", "unless", "bool", "on", "ignoring", "by", "without", "group_left", "group_right", "offset"}


def rules(key: str) -> Iterator[dict[str, Any]]:
    """All rules that have this key, "alert" or "record"."""
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from (rule for rule in group["rules"] if key in rule)


def metrics_of(expression: str) -> set[str]:
    """The names of metrics in an expression: what is left without strings, labels, ranges, functions and keywords."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', " ", re.sub(r'"[^"]*"', "", expression))
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    names = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])", bare)
    return set(names) - KEYWORDS


def made() -> set[str]:
    """What the code makes, as Prometheus names it, after docs/metrics.md, which is kept current from the code."""
    found = set()
    for name, kind in re.findall(r"^\| `(\w+)` \| (\w+) \|", (ROOT / "docs" / "metrics.md").read_text(), re.M):
        found |= {f"{name}_{part}" for part in ("bucket", "count", "sum")} if kind == "histogram" else {name}
    return found


ALERTS = list(rules("alert"))
NAMES = sorted({alert["alert"] for alert in ALERTS})


def test_the_parser_of_expressions_sees_the_metrics_and_nothing_else() -> None:
    expression = """sum by (job) (rate(up{job=~"a|b", x="y{z"}[5m])) / on () group_left () (a:b:c > bool 0.5e3)
        and histogram_quantile(0.9, sum by (le) (some_bucket)) unless absent(other{a="b"})"""
    assert metrics_of(expression) == {"up", "a:b:c", "some_bucket", "other"}


@pytest.mark.parametrize("rule", [*rules("record"), *ALERTS], ids=lambda rule: rule.get("record") or rule["alert"])
def test_every_metric_of_a_rule_is_made_by_somebody(rule: dict[str, Any]) -> None:
    known = made() | FOREIGN | {record["record"] for record in rules("record")}
    names = metrics_of(rule["expr"])
    assert names
    assert names <= known, names - known


def test_every_recorded_name_tells_level_metric_and_operation() -> None:
    for record in rules("record"):
        assert re.fullmatch(r"halfbeat:[a-z0-9_]+:[a-z0-9_]+", record["record"])


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert['alert']}-{alert['labels']['severity']}")
def test_an_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    labels, notes = alert["labels"], alert["annotations"]
    assert labels["severity"] in {"page", "ticket"}
    assert labels["kind"] in {"symptom", "cause"}
    assert set(notes) == {"summary", "description", "runbook_url", "dashboard"}
    assert "First:" in notes["description"], "what to do first"
    assert notes["runbook_url"].endswith(f"/blob/main/docs/runbooks/{alert['alert']}.md")
    uids = {
        re.search(r'^  "uid": "(.+?)"', path.read_text(), re.M) for path in (ROOT / "deploy/grafana").rglob("*.json")
    }
    if uids:
        assert notes["dashboard"].removeprefix("/d/") in {uid[1] for uid in uids if uid}


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    pages = {path.stem: path.read_text() for path in RUNBOOKS.glob("*.md")}
    index = pages.pop("README")
    assert sorted(pages) == NAMES
    for name, page in pages.items():
        assert page.startswith(f"# {name}\n")
        assert f"]({name}.md)" in index
        for part in ("What callers notice.", "Confirm", "Fix", "Usual causes."):
            assert f"**{part}" in page, f"{name} lacks {part!r}"


def test_runbooks_lead_to_pages_metrics_and_settings_that_exist() -> None:
    known = made() | FOREIGN | {record["record"] for record in rules("record")}
    settings = (ROOT / "docs" / "settings.md").read_text()
    for path in RUNBOOKS.glob("*.md"):
        text = path.read_text()
        for target in re.findall(r"\]\((\w+\.md)\)", text):
            assert (RUNBOOKS / target).exists(), f"{path.name} links {target}"
        for name in re.findall(r"\bhalfbeat[_:][a-z0-9_:]*[a-z0-9]", text):
            assert name in known or f"{name}_bucket" in known, f"{path.name} names {name}"
        for name in re.findall(r"HALFBEAT_[A-Z0-9_]*[A-Z0-9]", text):
            assert f"`{name}`" in settings, f"{path.name} names {name}"


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_is_tested_to_fire_and_not_to_fire(name: str) -> None:
    cases = [case for path in RULE_TESTS for case in yaml.safe_load(path.read_text())["tests"]]
    for severity in {alert["labels"]["severity"] for alert in ALERTS if alert["alert"] == name}:
        fires = f'severity="{severity}"'
        wanted = [q for case in cases for q in case["promql_expr_test"] if f'alertname="{name}"' in q["expr"]]
        assert any(fires in sample["labels"] for q in wanted for sample in q["exp_samples"]), f"{name}, {severity}"
    # Either a query that finds nothing, or one that finds one of the series offered and not the others.
    mine = [case for case in cases if case["name"].startswith(name + " ")]
    assert any(
        not query["exp_samples"] or len({s["series"].partition("{")[2] for s in case["input_series"]}) > 1
        for case in mine
        for query in case["promql_expr_test"]
    ), f"no test that {name} does not fire"


def test_the_jobs_are_those_that_rules_and_dashboards_know() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert {job["job_name"] for job in config["scrape_configs"]} >= JOBS


def test_no_secret_and_no_address_of_a_receiver_is_checked_in() -> None:
    config = yaml.safe_load(ALERTMANAGER.read_text())
    for receiver in config["receivers"]:
        for webhook in receiver["webhook_configs"]:
            assert "url" not in webhook
            assert webhook["url_file"].startswith("/etc/alertmanager/secrets/")


# --- with Prometheus's and Alertmanager's own tools -----------------------------------------------------------------


@pytest.mark.deploy
def test_promtool_accepts_configuration_and_rules() -> None:
    run("promtool", "check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml")
    told = run("promtool", "check", "rules", *RULES)
    assert told.count("SUCCESS") == len(RULES)


@pytest.mark.deploy
@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path: Path) -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", path)


@pytest.mark.deploy
def test_amtool_accepts_the_configuration() -> None:
    assert "SUCCESS" in run("amtool", "check-config", ALERTMANAGER)


@pytest.mark.deploy
@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert['alert']}-{alert['labels']['severity']}")
def test_an_alert_goes_where_its_severity_says(alert: dict[str, Any]) -> None:
    labels = [f"{name}={value}" for name, value in {"alertname": alert["alert"], **alert["labels"]}.items()]
    expected = alert["labels"]["severity"]
    run(
        "amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"--verify.receivers={expected}", *labels
    )


@pytest.mark.deploy
def test_an_alert_without_a_severity_is_a_ticket() -> None:
    route = "--verify.receivers=ticket"
    run("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", route, "alertname=Unheard")
