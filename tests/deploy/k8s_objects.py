"""What the chart and the overlays render, as objects; rendered once for all tests."""

import functools
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from deploy_tools import ROOT, run, tool

K8S = ROOT / "deploy" / "k8s"
CHART = K8S / "helm" / "halfbeat"
NAMESPACE = RELEASE = "halfbeat"
SERVICES = ("router", "asr", "dialogue", "tts")
HELMS = ("helm3", "helm4")
#: What each overlay says is what the chart says with these values.
SAME = {
    "dev": ("laptop",),
    "cpu": ("cpu",),
    "gpu": ("gpu",),
    "prod": ("gpu", "multi-tenant"),
}
#: Values files as they are meant to be used.
VALUES = (
    (),
    ("laptop",),
    ("cpu",),
    ("gpu",),
    ("cpu", "multi-tenant"),
    ("gpu", "multi-tenant"),
    ("gpu", "examples/second-site-halfbeat.yaml"),
)
#: What no values file turns on.
EXTRAS = {
    "tls": ("nats.bundled=true", "nats.tls.enabled=true"),
    "creds": ("nats.auth.kind=credentials", "nats.auth.existingSecret=halfbeat-creds"),
    "external-llm": ("llm.engine=external", "llm.url=https://llm.example.com/v1", "llm.existingSecret=llm"),
    "twilio": ("city311.settings.TEXTS=twilio", "city311.twilioSecret=twilio", "router.twilioSecret=twilio"),
    "ingress": ("router.ingress.enabled=true", "router.ingress.host=calls.example.com", "router.ingress.tlsSecret=tls"),
    "per-pod-models": ("modelCache.kind=perPod",),
    "hpa-bundled": ("nats.bundled=true", "autoscaling.kind=hpa", "monitoring.podMonitor=true"),
    "cli": ("cli.enabled=true", "nats.tls.enabled=true"),
    "cli-bundled": ("cli.enabled=true", "nats.bundled=true"),
    "no-policies": ("networkPolicy.enabled=false",),
}

Object = dict[str, Any]


def arguments(values: tuple[str, ...] = (), settings: tuple[str, ...] = ()) -> list[str]:
    """The options of helm for values files (by the middle of their names) and single settings."""
    files = [K8S / name if name.endswith(".yaml") else CHART / f"values-{name}.yaml" for name in values]
    return [f"--values={file}" for file in files] + [f"--set={s}" for s in settings]


@functools.cache
def rendered(values: tuple[str, ...] = (), settings: tuple[str, ...] = (), helm: str = "helm4") -> tuple[Object, ...]:
    """The chart's objects."""
    text = run(helm, "template", RELEASE, CHART, "--namespace", NAMESPACE, *arguments(values, settings))
    return tuple(value for value in yaml.safe_load_all(text) if value)


@functools.cache
def overlay(name: str) -> tuple[Object, ...]:
    """An overlay's objects."""
    text = run("kubectl", "kustomize", K8S / "kustomize/overlays" / name)
    return tuple(value for value in yaml.safe_load_all(text) if value)


def refused(*settings: str, values: tuple[str, ...] = ()) -> str:
    """What helm says when it refuses; empty if it does not."""
    command = [tool("helm4"), "template", RELEASE, CHART, *arguments(values, settings)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return done.stderr if done.returncode else ""


def everything() -> Iterator[tuple[str, tuple[Object, ...]]]:
    """Every rendering that is meant to be used, with a name for it."""
    for values in VALUES:
        yield "+".join(values).replace("/", "-") or "default", rendered(values)
    for name, settings in EXTRAS.items():
        yield name, rendered((), settings)
    for name in SAME:
        yield f"overlay {name}", overlay(name)


def only(objects: tuple[Object, ...], kind: str, name: str = "") -> list[Object]:
    """Objects of a kind, and of a component's name if one is given."""
    wanted = f"{RELEASE}-{name}" if name else None
    return [o for o in objects if o["kind"] == kind and (wanted is None or o["metadata"]["name"] == wanted)]


def workloads(objects: tuple[Object, ...]) -> list[Object]:
    """Deployments and StatefulSets."""
    return [o for o in objects if o["kind"] in ("Deployment", "StatefulSet")]


def pod(workload: Mapping[str, Any]) -> Object:
    """The spec of a workload's pods."""
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def containers(workload: Mapping[str, Any]) -> list[Object]:
    """All containers of a workload, init containers first."""
    return [*pod(workload).get("initContainers", []), *pod(workload)["containers"]]


def services(objects: tuple[Object, ...]) -> list[str]:
    """The services that are there: a second site has no router."""
    return [s for s in SERVICES if only(objects, "Deployment", s)]


def component(value: Mapping[str, Any]) -> str:
    """The component an object belongs to."""
    return str(value["metadata"].get("labels", {}).get("app.kubernetes.io/component", ""))


def data_of(objects: tuple[Object, ...], name: str) -> dict[str, str]:
    """The data of a ConfigMap of the chart."""
    [found] = only(objects, "ConfigMap", name)
    data: dict[str, str] = found["data"]
    return data


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector (matchLabels only) picks these labels."""
    assert set(selector) <= {"matchLabels"}, "matchExpressions are not understood here"
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def paths_of(folder: Path, pattern: str) -> list[Path]:
    """Files in a stable order."""
    return sorted(folder.rglob(pattern))
