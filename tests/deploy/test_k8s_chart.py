"""The chart by itself: it lints, refuses what it does not know, and says what to do."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_tools import ROOT, run, tool
from k8s_objects import CHART, EXTRAS, HELMS, K8S, VALUES, arguments, data_of, everything, only, pod, refused, rendered

from halfbeat.nats_server import find_binary

pytestmark = pytest.mark.deploy

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
# Helm hands the values of a parent chart to its parts under this name.
_HELMS_OWN = {"global"}


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("values", VALUES, ids="+".join)
def test_the_chart_lints_with_every_values_file(values: tuple[str, ...], helm: str) -> None:
    said = run(helm, "lint", "--strict", CHART, *arguments(values))
    assert "0 chart(s) failed" in said


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("name", EXTRAS)
def test_the_chart_renders_what_no_values_file_turns_on(name: str, helm: str) -> None:
    assert rendered((), EXTRAS[name], helm)


@pytest.mark.parametrize(
    "typo",
    [
        "asr.replica=3",
        "image.tagg=1",
        "router.settings.SLOT=3",
        "dialogue.settings.LLM_MODLE=x",
        "city311.settings.TEXT=twilio",
        "llm.settings.SLOTS=3",
        "llm.vllm.maxModelLength=1",
        "settings.LOGLEVEL=DEBUG",
        "nats.auth.secret=x",
        "autoscaling.scaleUp.percents=1",
        "networkPolicy.enable=false",
        "asr.resources.request=1",
        "modelCache.kind=pvc",
        "autoscaling.kind=vpa",
    ],
)
def test_a_typo_is_refused_and_named(typo: str) -> None:
    wrong = typo.partition("=")[0].rpartition(".")[2]
    assert wrong in refused(typo) or typo.rpartition("=")[2] in refused(typo)


@pytest.mark.parametrize(
    "secret", ["router.settings.API_KEYS=x", "settings.NATS_PASSWORD=x", "nats.url=nats://router:x@nats:4222"]
)
def test_a_secret_is_no_value(secret: str) -> None:
    assert refused(secret)


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        (("router.existingSecret=",), "set router.existingSecret"),
        (("city311.databaseSecret=",), "set city311.databaseSecret"),
        (("nats.bundled=true", "nats.auth.kind=credentials"), "set nats.auth.kind"),
        (("nats.bundled=true", "nats.replicas=3"), "set nats.replicas=1"),
        (("nats.bundled=true", "nats.auth.account=acme"), "leave nats.auth.account empty"),
        (("nats.url=",), "set nats.url"),
        (("llm.engine=external",), "set llm.url"),
        (("modelCache.kind=perPod", "modelCache.pull=false"), "set modelCache.pull=true"),
        (("router.ingress.enabled=true",), "set router.ingress.host"),
    ],
)
def test_a_mistake_is_refused_with_a_remedy(settings: tuple[str, ...], remedy: str) -> None:
    assert remedy in refused(*settings)


def _nodes(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from _nodes(value, f"{path}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _nodes(value, f"{path}/{index}")


def test_the_schema_leaves_no_object_open() -> None:
    for path, node in _nodes(SCHEMA):
        if node.get("type") == "object" and path.rpartition("/")[2] not in _HELMS_OWN:
            assert node.get("additionalProperties") is False or "properties" not in node, path
            assert node.get("additionalProperties") is not None, path


def test_every_value_that_the_schema_allows_is_explained_in_values_yaml() -> None:
    def walk(schema: dict[str, Any], values: Any, path: str) -> None:
        for name, inner in schema.get("properties", {}).items():
            if name in _HELMS_OWN:
                continue
            assert name in values, f"{path}{name} is not in values.yaml"
            if "properties" in inner:
                walk(inner, values[name], f"{path}{name}.")

    walk(SCHEMA, yaml.safe_load((CHART / "values.yaml").read_text()), "")


def test_the_bundled_nats_runs_the_configuration_of_deploy_nats() -> None:
    source = ROOT / "deploy" / "nats"
    plain = data_of(rendered((), ("nats.bundled=true",)), "nats")
    assert plain == {name: (source / name).read_text() for name in ("nats.conf", "auth.conf")}
    secure = data_of(rendered((), EXTRAS["tls"]), "nats")
    assert secure["tls.conf"] == (source / "tls.conf").read_text()
    assert "users" not in data_of(rendered(("laptop",)), "nats")["auth.conf"]


@pytest.mark.parametrize(
    ("kind", "folder"), [("PrometheusRule", "prometheus/rules"), ("ConfigMap", "grafana/dashboards")]
)
def test_every_rule_file_and_every_dashboard_is_in(kind: str, folder: str) -> None:
    files = {p.stem.replace("_", "-") for p in (ROOT / "deploy" / folder).iterdir() if p.suffix in (".yml", ".json")}
    assert files
    names = {o["metadata"]["name"].removeprefix("halfbeat-") for o in only(rendered(("cpu",)), kind)}
    prefix = "dashboard-" if kind == "ConfigMap" else ""
    assert {prefix + name for name in files} <= names


def test_the_packaged_chart_holds_the_files_behind_its_links(tmp_path: Path) -> None:
    run("helm4", "package", CHART, "--destination", tmp_path)
    [package] = tmp_path.glob("*.tgz")
    command = [tool("helm4"), "template", "halfbeat", package, "--set=monitoring.rules=true,nats.bundled=true"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "kind: PrometheusRule" in text
    assert "jetstream" in text


@pytest.mark.parametrize("settings", [("nats.bundled=true",), ("nats.bundled=true", "nats.auth.kind=none")])
def test_a_nats_server_takes_the_bundled_configuration(settings: tuple[str, ...], tmp_path: Path) -> None:
    for file, text in data_of(rendered((), settings), "nats").items():
        (tmp_path / file).write_text(text)
    [server] = only(rendered((), settings), "StatefulSet", "nats")
    passwords = {v["name"]: "secret1" for v in pod(server)["containers"][0].get("env", [])}
    command = [find_binary(), "-t", "-c", tmp_path / "nats.conf"]
    done = subprocess.run(command, capture_output=True, text=True, env=passwords, check=False)
    assert done.returncode == 0, done.stderr


def test_the_examples_are_yaml_and_name_files_that_are_there() -> None:
    for file in [*(K8S / "examples").glob("*.yaml"), *(K8S / "other-charts").glob("*.yaml")]:
        assert list(yaml.safe_load_all(file.read_text())), file
    for document in [K8S / "README.md", *K8S.rglob("*.yaml")]:
        for path in re.findall(r"deploy/(?:k8s|nats|prometheus|grafana)/[\w./-]+\w", document.read_text()):
            assert (ROOT / path).exists(), (document.name, path)


def test_no_object_is_rendered_twice_and_all_are_in_the_namespace() -> None:
    for name, objects in everything():
        keys = [(o["kind"], o["metadata"]["name"]) for o in objects]
        assert len(keys) == len(set(keys)), name
        for value in objects:
            if value["kind"] not in ("Namespace", "PriorityClass"):
                assert value["metadata"]["namespace"] == "halfbeat", (name, value["metadata"]["name"])
