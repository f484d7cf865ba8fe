"""Every object against the strict schemas of Kubernetes and of the operators, and against checkov's rules.

Kubernetes' own schemas know no ScaledObject, PodMonitor or PrometheusRule. Those three kinds, and no other, are checked
by schemas made from the operators' types (npm's @kubernetes-models), which let unknown fields pass, and by the models
below, which refuse them.
"""

import json
import subprocess
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from deploy_tools import BIN, ROOT, tool
from k8s_objects import K8S, SAME, Object, everything, rendered
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

pytestmark = pytest.mark.deploy

VERSIONS = ("1.33", "1.34", "1.35", "1.36", "1.37")
Duration = Annotated[str, StringConstraints(pattern=r"^\d+(ms|s|m|h|d)$")]
Text = Annotated[str, StringConstraints(min_length=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Step(Strict):
    type: Literal["Pods", "Percent"]
    value: int = Field(ge=1)
    periodSeconds: int = Field(ge=1, le=1800)


class Direction(Strict):
    stabilizationWindowSeconds: int = Field(ge=0, le=3600)
    policies: list[Step] = Field(min_length=1)


class Behavior(Strict):
    scaleUp: Direction
    scaleDown: Direction


class HpaConfig(Strict):
    behavior: Behavior


class Advanced(Strict):
    horizontalPodAutoscalerConfig: HpaConfig


class Target(Strict):
    name: Text


class PrometheusTrigger(Strict):
    """The scaler's own metadata is text, numbers and booleans included."""

    serverAddress: Annotated[str, StringConstraints(pattern=r"^https?://")]
    query: Text
    threshold: Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?$")]
    ignoreNullValues: Literal["true", "false"]


class Trigger(Strict):
    type: Literal["prometheus"]
    name: Annotated[str, StringConstraints(pattern=r"^[a-z]+$")]
    metricType: Literal["AverageValue", "Value"]
    metadata: PrometheusTrigger


class ScaledObjectSpec(Strict):
    scaleTargetRef: Target
    pollingInterval: int = Field(ge=1)
    minReplicaCount: int = Field(ge=1)
    maxReplicaCount: int = Field(ge=1)
    advanced: Advanced
    triggers: list[Trigger] = Field(min_length=1)


class Endpoint(Strict):
    port: Text
    path: Literal["/metrics"]
    interval: Duration


class Selector(Strict):
    matchLabels: dict[str, str]


class PodMonitorSpec(Strict):
    jobLabel: Text
    selector: Selector
    podMetricsEndpoints: list[Endpoint] = Field(min_length=1)


class Rule(Strict):
    alert: Text | None = None
    record: Text | None = None
    expr: Text
    for_: Duration | None = Field(None, alias="for")
    keep_firing_for: Duration | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Group(Strict):
    name: Text
    interval: Duration | None = None
    rules: list[Rule] = Field(min_length=1)


class PrometheusRuleSpec(Strict):
    groups: list[Group] = Field(min_length=1)


OPERATORS: dict[tuple[str, str], type[Strict]] = {
    ("keda.sh/v1alpha1", "ScaledObject"): ScaledObjectSpec,
    ("monitoring.coreos.com/v1", "PodMonitor"): PodMonitorSpec,
    ("monitoring.coreos.com/v1", "PrometheusRule"): PrometheusRuleSpec,
}


def _of_operators(value: dict[str, Any]) -> bool:
    return (value["apiVersion"], value["kind"]) in OPERATORS


@pytest.fixture(scope="module")
def everything_of_kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with every object of every rendering once, without the operators' objects."""
    different = {
        json.dumps(o, sort_keys=True): o for _, objects in everything() for o in objects if not _of_operators(o)
    }
    file = tmp_path_factory.mktemp("rendered") / "all.yaml"
    file.write_text(yaml.safe_dump_all(different.values()))
    return file


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(everything_of_kubernetes: Path, version: str) -> None:
    command = [tool("kubernetes-validate"), "--kubernetes-version", version, "--strict", "--quiet"]
    command.append(everything_of_kubernetes)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # It says nothing when all is well; an unknown kind is only a warning, with exit code 0.
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_check_would_notice(tmp_path: Path) -> None:
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"port": []}}
    unknown = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}}
    for index, value in enumerate((wrong, unknown)):
        file = tmp_path / f"{index}.yaml"
        file.write_text(yaml.safe_dump(value))
        command = [tool("kubernetes-validate"), "--kubernetes-version", "1.37", "--strict", "--quiet", file]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode or done.stdout or done.stderr


def test_the_operators_types_take_every_object(tmp_path: Path) -> None:
    theirs = [value for _, objects in everything() for value in objects if _of_operators(value)]
    assert not said_by_the_operators_types(theirs, tmp_path)
    wrong = {
        **theirs[0],
        "spec": {**theirs[0]["spec"], "podMetricsEndpoints": "none", "triggers": "none", "groups": "none"},
    }
    assert said_by_the_operators_types([wrong], tmp_path)


def said_by_the_operators_types(objects: list[Object], folder: Path) -> str:
    file = folder / "objects.json"
    file.write_text(json.dumps(objects))
    # From standard input, names of packages are looked up where node runs.
    script = (ROOT / "tests/deploy/k8s_crds.mjs").read_text()
    command = [tool("node"), "--input-type=module", "-", file]
    done = subprocess.run(command, input=script, capture_output=True, text=True, cwd=BIN.parent / "crds", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_operators_take_theirs() -> None:
    seen = set()
    for name, objects in everything():
        for value in filter(_of_operators, objects):
            kind = (value["apiVersion"], value["kind"])
            seen.add(kind)
            try:
                OPERATORS[kind].model_validate(value["spec"])
            except ValidationError as error:
                pytest.fail(f"{name}: {value['kind']} {value['metadata']['name']}: {error}")
    assert seen == set(OPERATORS)


def test_checkov_finds_nothing(tmp_path: Path) -> None:
    for name, values in SAME.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump_all(rendered(values)))
    command = [tool("checkov"), "--config-file", K8S / "checkov.yaml", "--directory", tmp_path, "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    report = yaml.safe_load(done.stdout)
    failed = [(c["check_id"], c["check_name"], c["resource"]) for c in report["results"]["failed_checks"]]
    assert not failed
    assert report["summary"]["passed"] > 1000


def test_every_exception_of_checkov_is_needed(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(rendered(("cpu",))))
    skipped = yaml.safe_load((K8S / "checkov.yaml").read_text())["skip-check"]
    command = [tool("checkov"), "--skip-download", "--framework", "kubernetes", "--directory", tmp_path]
    command += ["--check", ",".join(skipped), "--output", "json", "--quiet", "--compact"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    report = yaml.safe_load(done.stdout)
    assert {c["check_id"] for c in report["results"]["failed_checks"]} == set(skipped)
