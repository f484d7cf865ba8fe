"""Writes what follows from the chart and from the code; `--check` fails if something is out of date.

    python deploy/k8s/render.py [--check] [--helm build/tools/bin/helm4]

- `helm/halfbeat/values.schema.json`: the names of settings, from the services' own settings
- `kustomize/base` and the resources of `kustomize/components`: the chart's objects, by component
- `other-charts/prometheus-adapter.yaml`: the queries of the autoscalers, for the HPA

What is written by hand: the kustomization.yaml files, overlays and patches. tests/deploy/test_k8s_same.py compares
every overlay with the chart.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
CHART = HERE / "helm" / "halfbeat"
KUSTOMIZE = HERE / "kustomize"
SERVICES = ("router", "asr", "dialogue", "tts")
WRITTEN = "# Written by deploy/k8s/render.py from the Helm chart; do not edit.\n"
NAMESPACE = RELEASE = "halfbeat"


def template(helm: str, *settings: str, files: Iterable[Path] = (), chart: Path = CHART) -> str:
    """Renders the chart.

    Args:
        helm: the program.
        settings: of `--set`, which reads true and numbers as such.
        files: of `--values`.
        chart: its folder.

    Raises:
        SystemExit: helm failed; the text is helm's.
    """
    command = [helm, "template", RELEASE, str(chart), "--namespace", NAMESPACE]
    command += [f"--values={file}" for file in files] + [f"--set={s}" for s in settings]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def documents(text: str) -> list[tuple[dict[str, Any], str]]:
    """Splits YAML into objects, each with its text, comments included."""
    parts = [part.strip("\n") + "\n" for part in re.split(r"^---\s*$", text, flags=re.M)]
    return [(value, part) for part in parts if (value := yaml.safe_load(part))]


def component_of(value: Mapping[str, Any]) -> str:
    """The component an object belongs to; empty for those of all."""
    return str(value["metadata"].get("labels", {}).get("app.kubernetes.io/component", ""))


def as_kustomize(text: str) -> str:
    """An object's text as a kustomize user should see it: nothing of Helm."""
    text = re.sub(r"^# Source: .*\n", "", text, flags=re.M)
    text = re.sub(r"^ *(helm\.sh/chart|checksum/config): .*\n", "", text, flags=re.M)
    text = re.sub(r"^ *namespace: halfbeat\n", "", text, flags=re.M)
    text = text.replace("managed-by: Helm", "managed-by: kustomize")
    # What held nothing but a checksum.
    text = re.sub(r"^( *)annotations:\n(?!\1 )", "", text, flags=re.M)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def manifests(found: Iterable[tuple[dict[str, Any], str]]) -> str:
    """One file of several objects; ConfigMaps are not among them (kustomize generates those, with a hash)."""
    return WRITTEN + "---\n".join(as_kustomize(text) for value, text in found if value["kind"] != "ConfigMap")


def env_file(found: Iterable[tuple[dict[str, Any], str]], name: str) -> str:
    """The data of a ConfigMap as lines."""
    [data] = [v["data"] for v, _ in found if v["kind"] == "ConfigMap" and v["metadata"]["name"] == f"{RELEASE}-{name}"]
    return WRITTEN + "".join(f"{key}={value}\n" for key, value in sorted(data.items()))


def kustomize_files(helm: str) -> dict[Path, str]:
    """Base and resources of components."""
    default = documents(template(helm))
    files = {}
    for service in SERVICES:
        own = [d for d in default if component_of(d[0]) == service]
        files[KUSTOMIZE / f"base/{service}.yaml"] = manifests(own)
        files[KUSTOMIZE / f"base/{service}.env"] = env_file(default, service)
    files[KUSTOMIZE / "base/common.env"] = env_file(default, "common")
    shared = [d for d in default if component_of(d[0]) not in (*SERVICES, "llm", "common")]
    files[KUSTOMIZE / "base/shared.yaml"] = manifests(shared)
    components = KUSTOMIZE / "components"
    llama = [d for d in default if component_of(d[0]) == "llm"]
    files[components / "llama/llm.yaml"] = manifests(llama)
    files[components / "llama/llm.env"] = env_file(default, "llm")
    vllm = documents(template(helm, "llm.engine=vllm"))
    files[components / "vllm/llm.yaml"] = manifests(d for d in vllm if component_of(d[0]) == "llm")
    nats = documents(template(helm, "nats.bundled=true"))
    files[components / "nats/nats.yaml"] = manifests(d for d in nats if component_of(d[0]) == "nats")
    cli = documents(template(helm, "cli.enabled=true"))
    files[components / "cli/cli.yaml"] = manifests(d for d in cli if component_of(d[0]) == "cli")
    for kind, name in (("HorizontalPodAutoscaler", "hpa"), ("ScaledObject", "keda")):
        scaled = documents(template(helm, f"autoscaling.kind={name}"))
        files[components / f"{name}/{name}.yaml"] = manifests(d for d in scaled if d[0]["kind"] == kind)
    for kind, name, value in (("PodMonitor", "scraping", "podMonitor"), ("PrometheusRule", "alerts", "rules")):
        watched = documents(template(helm, f"monitoring.{value}=true"))
        files[components / f"{name}/{name}.yaml"] = manifests(d for d in watched if d[0]["kind"] == kind)
    return files


def adapter_values(helm: str) -> str:
    """Values of the Prometheus adapter's chart: every query of the autoscalers as an external metric."""
    keda = [v for v, _ in documents(template(helm, "autoscaling.kind=keda")) if v["kind"] == "ScaledObject"]
    rules = []
    for scaled in keda:
        for trigger in scaled["spec"]["triggers"]:
            query = trigger["metadata"]["query"].replace(f'namespace="{NAMESPACE}"', "<<.LabelMatchers>>")
            rules.append(
                {
                    # Always there, so that the metric is, too.
                    "seriesQuery": 'halfbeat_capacity_sessions{namespace!=""}',
                    "resources": {"overrides": {"namespace": {"resource": "namespace"}}},
                    "name": {"as": f"halfbeat_{component_of(scaled)}_{trigger['name']}"},
                    "metricsQuery": query,
                }
            )
    head = (
        "# Values of the chart prometheus-community/prometheus-adapter: what our HorizontalPodAutoscalers ask. The\n"
        "# same queries as KEDA's, for all namespaces. With other numbers in `autoscaling` of your values, write it\n"
        "# anew, or change them here too.\n"
    )
    values = {
        "prometheus": {"url": "http://prometheus-operated.monitoring", "port": 9090},
        # Its default of a minute is as long as a storm takes to double.
        "metricsRelistInterval": "15s",
        "rules": {"default": False, "external": rules},
    }
    return WRITTEN + head + yaml.safe_dump(values, sort_keys=False, width=1000)


def schema() -> str:
    """The chart's schema, with the names of all settings as they are today."""
    sys.path.insert(0, str(ROOT))
    from apps.city311.config import City311Settings
    from halfbeat.settings import NatsSettings, ServiceSettings
    from scripts.docs import settings_of

    told = json.loads((CHART / "values.schema.json").read_text())
    common = {n for n in ServiceSettings.model_fields if n != "nats"} | {f"nats_{n}" for n in NatsSettings.model_fields}
    names = {s: set(settings_of(s).model_fields) - set(ServiceSettings.model_fields) for s in SERVICES}
    llama = {n for n in names["dialogue"] if n.startswith("llama_")}
    of = {"common": common, **names, "llm": llama, "city311": set(City311Settings.model_fields)}
    of["dialogue"] -= llama
    for kind, known in of.items():
        # Secrets come from Secrets.
        known = {n for n in known if not n.endswith(("password", "auth_token", "api_key", "api_keys", "database_url"))}
        told["$defs"][f"{kind}Settings"] = {
            "type": "object",
            "additionalProperties": {"$ref": "#/$defs/settingValue"},
            "propertyNames": {"enum": sorted(n.upper() for n in known)},
        }
    return compact(told) + "\n"


def compact(value: Any, indent: int = 0) -> str:
    """JSON in which what fits on a line stands on a line."""
    line = json.dumps(value)
    if len(line) + indent <= 116 or not isinstance(value, dict | list) or not value:
        return line
    pad = " " * (indent + 2)
    if isinstance(value, list):
        parts = _filled([json.dumps(v) for v in value], 116 - indent) if all(isinstance(v, str) for v in value) else [
            compact(v, indent + 2) for v in value
        ]  # fmt: skip
        return "[\n" + ",\n".join(pad + p for p in parts) + f"\n{' ' * indent}]"
    parts = [f"{json.dumps(k)}: {compact(v, indent + 2)}" for k, v in value.items()]
    return "{\n" + ",\n".join(pad + p for p in parts) + f"\n{' ' * indent}}}"


def _filled(words: list[str], width: int) -> list[str]:
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 2 <= width:
            lines[-1] += f", {word}"
        else:
            lines.append(word)
    return lines


def main() -> int:
    """Writes or checks; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if something is out of date")
    parser.add_argument(
        "--helm", default=str(ROOT / "build/tools/bin/helm4"), help="the program (default: %(default)s)"
    )
    given = parser.parse_args()
    files = {CHART / "values.schema.json": schema()}
    if not given.check:  # helm reads it
        (CHART / "values.schema.json").write_text(files[CHART / "values.schema.json"])
    files |= kustomize_files(given.helm)
    files[HERE / "other-charts/prometheus-adapter.yaml"] = adapter_values(given.helm)
    stale = [file for file, text in files.items() if not file.exists() or file.read_text() != text]
    for file in stale:
        name = file.relative_to(ROOT)
        if given.check:
            print(f"{name} is out of date: run `make manifests` and commit the result", file=sys.stderr)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(files[file])
            print(f"wrote {name}")
    return 1 if given.check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
