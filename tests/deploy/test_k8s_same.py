"""Helm and kustomize say the same, and what is written from the chart and the code is up to date."""

import copy
import difflib
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from deploy_tools import ROOT, run, tool
from k8s_objects import HELMS, K8S, SAME, VALUES, Object, containers, overlay, pod, rendered, workloads

pytestmark = pytest.mark.deploy

# Tools sign what they made, and each has its own way to make pods follow their settings.
_SIGNED = ("helm.sh/chart", "app.kubernetes.io/managed-by")
_HASH = re.compile(r"-[a-z0-9]{10}$")
# A namespace is made beside a release: `helm install --create-namespace`.
_KUSTOMIZE_ONLY = {("Namespace", "halfbeat")}


def normal(value: Object) -> Object:
    """The object without what only says which tool made it; lists whose order means nothing are sorted."""
    value = copy.deepcopy(value)
    _unsign(value["metadata"])
    if value["kind"] == "ConfigMap":
        value["metadata"]["name"] = _HASH.sub("", value["metadata"]["name"])
        # A generator's labels are its own affair, but for those that somebody looks for.
        labels = {
            k: v for k, v in value["metadata"].get("labels", {}).items() if not k.startswith("app.kubernetes.io/")
        }
        value["metadata"]["labels"] = labels
    if value["kind"] == "NetworkPolicy":
        for direction in ("ingress", "egress"):
            value["spec"].get(direction, []).sort(key=lambda rule: json.dumps(rule, sort_keys=True))
    if value["kind"] in ("Deployment", "StatefulSet"):
        template = value["spec"]["template"]["metadata"]
        _unsign(template)
        template.get("annotations", {}).pop("checksum/config", None)
        if not template.get("annotations"):
            template.pop("annotations", None)
        for volume in pod(value).get("volumes", []):
            for source in volume.get("projected", {}).get("sources", []):
                if "configMap" in source:
                    source["configMap"]["name"] = _HASH.sub("", source["configMap"]["name"])
        pod(value).get("volumes", []).sort(key=lambda v: v["name"])
        for container in containers(value):
            for source in container.get("envFrom", []):
                source["configMapRef"]["name"] = _HASH.sub("", source["configMapRef"]["name"])
            for unordered in ("env", "volumeMounts"):
                container.get(unordered, []).sort(key=lambda v: v["name"])
    return _without_nothing(value)


def _unsign(metadata: Object) -> None:
    for name in _SIGNED:
        metadata.get("labels", {}).pop(name, None)


def _without_nothing(value: Any) -> Any:
    """`env: []` is no env. An empty selector or an empty rule list says something and stays."""
    if isinstance(value, dict):
        return {
            k: _without_nothing(v)
            for k, v in value.items()
            if not (v in ({}, [], None) and k in ("env", "initContainers", "labels", "annotations"))
        }
    if isinstance(value, list):
        return [_without_nothing(v) for v in value]
    return value


def by_name(objects: tuple[Object, ...]) -> dict[tuple[str, str], Object]:
    found = {}
    for value in map(normal, objects):
        key = (value["kind"], value["metadata"]["name"])
        assert key not in found, f"{key} is there twice"
        found[key] = value
    return found


@pytest.mark.parametrize("name", SAME)
def test_an_overlay_is_what_the_chart_says_with_its_values(name: str) -> None:
    chart, kustomized = by_name(rendered(SAME[name])), by_name(overlay(name))
    assert sorted(chart.keys() | _KUSTOMIZE_ONLY) == sorted(kustomized)
    for key, value in chart.items():
        ours, theirs = (json.dumps(o, indent=1, sort_keys=True).splitlines() for o in (value, kustomized[key]))
        difference = list(difflib.unified_diff(ours, theirs, "chart", "overlay", n=2, lineterm=""))
        assert not difference, "\n".join([str(key), *difference])


@pytest.mark.parametrize("values", VALUES, ids="+".join)
def test_both_versions_of_helm_render_the_same(values: tuple[str, ...]) -> None:
    one, other = (by_name(rendered(values, helm=helm)) for helm in HELMS)
    assert one == other


def test_what_is_written_from_the_chart_is_up_to_date() -> None:
    command = [sys.executable, K8S / "render.py", "--check", "--helm", tool("helm4")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SAME)
def test_pods_follow_their_settings(name: str) -> None:
    """A changed setting must start new pods: by the hash in a ConfigMap's name, or by a checksum."""
    for workload in workloads(overlay(name)):
        for container in containers(workload):
            for source in container.get("envFrom", []):
                assert _HASH.search(source["configMapRef"]["name"])
    changed = rendered(SAME[name], ("settings.LOG_LEVEL=DEBUG",))
    for before, after in zip(workloads(rendered(SAME[name])), workloads(changed), strict=True):
        if before["metadata"]["name"].split("-")[1] in ("router", "asr", "dialogue", "tts"):
            assert before["spec"]["template"] != after["spec"]["template"]


@pytest.mark.parametrize("name", SAME)
def test_an_overlay_builds_without_warnings(name: str) -> None:
    run("kubectl", "kustomize", K8S / "kustomize/overlays" / name)
