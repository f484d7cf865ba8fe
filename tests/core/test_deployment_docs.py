"""What the pages about deploying name is there: settings, metrics, values of the chart, files, commands."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("deploy", "operations", "scaling", "sizing")
VALUES = ROOT / "deploy" / "k8s" / "helm" / "halfbeat" / "values.yaml"
COMPOSE = ROOT / "docker-compose.yml"


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_every_setting_is_one_of_a_service_or_of_the_compose_files(name: str) -> None:
    there = "".join(
        path.read_text()
        for path in (ROOT / "docs" / "settings.md", ROOT / "docs" / "models.md", COMPOSE, ROOT / ".env")
        if path.is_file()
    )
    for setting in set(re.findall(r"HALFBEAT_[A-Z0-9_]*[A-Z0-9]", page(name))):
        if COMPOSE.is_file() or setting.startswith(("HALFBEAT_ROUTER_", "HALFBEAT_NATS_", "HALFBEAT_CITY311_")):
            assert re.search(rf"\b{setting}\b", there), setting


@pytest.mark.parametrize("name", PAGES)
def test_every_metric_is_on_the_page_of_metrics(name: str) -> None:
    there = (ROOT / "docs" / "metrics.md").read_text()
    for metric in set(re.findall(r"`(halfbeat_[a-z0-9_]+)", page(name))):
        assert f"`{metric}`" in there, metric


@pytest.mark.skipif(not VALUES.is_file(), reason="no Helm chart in this checkout")
@pytest.mark.parametrize("name", PAGES)
def test_every_value_of_the_chart_exists(name: str) -> None:
    yaml = pytest.importorskip("yaml")
    values = yaml.safe_load(VALUES.read_text())
    for dotted in set(re.findall(r"`([a-z][A-Za-z0-9]*(?:\.[a-z][A-Za-z0-9]*)+)(?:: [a-z]+)?`", page(name))):
        keys = dotted.split(".")
        if keys[0] not in values or keys[-1] in ("yaml", "py", "md", "toml", "conf", "env"):
            continue
        found: Any = values
        for key in keys:
            assert isinstance(found, dict), dotted
            assert key in found, dotted
            found = found[key]


@pytest.mark.skipif(not COMPOSE.is_file(), reason="no compose file in this checkout")
@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_is_named_exists(name: str) -> None:
    for named in set(re.findall(r"`((?:deploy|services|apps|tests|scripts)/[\w./-]*[\w/])`", page(name))):
        assert (ROOT / named).exists(), named


@pytest.mark.skipif(not COMPOSE.is_file(), reason="no compose file in this checkout")
def test_every_container_and_volume_that_a_command_names_exists() -> None:
    yaml = pytest.importorskip("yaml")
    yaml.SafeLoader.add_constructor("!reset", lambda *_: None)
    project = yaml.safe_load(COMPOSE.read_text())
    text = page("deploy") + page("operations")
    for service in re.findall(r"docker compose (?:exec|run --rm|stop|logs|ps|restart)(?: -T)? ([a-z]+)", text):
        assert service in project["services"], service
    for volume in re.findall(r"\bhalfbeat_(passwords-[a-z0-9]+)", text):
        assert volume in project["volumes"], volume
    users = {name for name in project["volumes"] if name.startswith("passwords-")}
    assert set(re.findall(r"\bhalfbeat_(passwords-[a-z0-9]+)", text)) == users
