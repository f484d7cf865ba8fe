"""Autoscaling: both kinds ask the same, what they ask gives the right number of pods, and it goes down gently."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_tools import ROOT, run
from k8s_objects import K8S, SERVICES, Object, component, only, rendered

pytestmark = pytest.mark.deploy

HPA, KEDA = ("autoscaling.kind=hpa",), ("autoscaling.kind=keda",)
VALUES: dict[str, Any] = yaml.safe_load((K8S / "helm/halfbeat/values.yaml").read_text())
SCALING = VALUES["autoscaling"]
#: Metrics of the language model's servers, which are not ours.
OF_OTHERS = {"vllm:num_requests_waiting", "llamacpp:requests_deferred"}


def asked(kind: tuple[str, ...]) -> dict[tuple[str, str], str]:
    """(component, what is asked) and how much of it a pod takes."""
    found = {}
    for hpa in only(rendered((), kind), "HorizontalPodAutoscaler"):
        for metric in hpa["spec"]["metrics"]:
            name = metric["external"]["metric"]["name"].removeprefix(f"halfbeat_{component(hpa)}_")
            found[component(hpa), name] = metric["external"]["target"]["averageValue"]
    for scaled in only(rendered((), kind), "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            found[component(scaled), trigger["name"]] = trigger["metadata"]["threshold"]
    return found


def query(name: str, trigger: str, *settings: str) -> str:
    """A query as Prometheus gets it."""
    [scaled] = only(rendered((), KEDA + settings), "ScaledObject", name)
    [found] = [t["metadata"]["query"] for t in scaled["spec"]["triggers"] if t["name"] == trigger]
    return str(found)


def behavior(value: Object) -> Object:
    spec = value["spec"]
    found: Object = spec.get("behavior") or spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    return found


def test_both_kinds_ask_the_same_of_every_component() -> None:
    assert asked(HPA) == asked(KEDA)
    assert {name for name, _ in asked(KEDA)} == {*SERVICES, "llm"}
    for service in ("asr", "dialogue", "tts"):
        assert {what for name, what in asked(KEDA) if name == service} == {"filled", "warm", "refused", "missed"}
    assert {what for name, what in asked(KEDA) if name == "llm"} == {"calls", "waiting"}


def test_the_adapter_answers_what_the_horizontal_pod_autoscalers_ask() -> None:
    adapter = yaml.safe_load((K8S / "other-charts/prometheus-adapter.yaml").read_text())
    answers = {rule["name"]["as"]: rule["metricsQuery"] for rule in adapter["rules"]["external"]}
    assert answers.keys() == {f"halfbeat_{name}_{what}" for name, what in asked(HPA)}
    for name, what in asked(KEDA):
        assert answers[f"halfbeat_{name}_{what}"].replace("<<.LabelMatchers>>", 'namespace="halfbeat"') == query(
            name, what
        )


def test_both_kinds_go_up_at_once_and_down_slowly() -> None:
    for kind, name in ((HPA, "HorizontalPodAutoscaler"), (KEDA, "ScaledObject")):
        for value in only(rendered((), kind), name):
            up, down = behavior(value)["scaleUp"], behavior(value)["scaleDown"]
            assert up["stabilizationWindowSeconds"] == 0
            assert down["stabilizationWindowSeconds"] >= 300
            assert all(p["value"] <= 10 and p["type"] == "Percent" for p in down["policies"])


@pytest.mark.parametrize("values", [("cpu",), ("gpu",)])
def test_who_is_scaled_has_no_fixed_number_of_pods(values: tuple[str, ...]) -> None:
    objects = rendered(values)
    scaled = only(objects, "HorizontalPodAutoscaler") + only(objects, "ScaledObject")
    assert {v["spec"]["scaleTargetRef"]["name"] for v in scaled} == {
        o["metadata"]["name"] for o in only(objects, "Deployment")
    }
    assert all("replicas" not in o["spec"] for o in only(objects, "Deployment"))
    for value in scaled:
        spec = value["spec"]
        low = spec.get("minReplicas") or spec["minReplicaCount"]
        high = spec.get("maxReplicas") or spec["maxReplicaCount"]
        assert 1 <= low < high
    assert all("replicas" in o["spec"] for o in only(rendered(), "Deployment"))


def test_every_metric_that_is_asked_for_is_one_that_we_show() -> None:
    shown = set(re.findall(r"^\| `(halfbeat_\w+)`", (ROOT / "docs/metrics.md").read_text(), re.M))
    for name, what in asked(KEDA):
        text = query(name, what)
        named = re.findall(r"([a-z]\w+)\{", text)
        named += [metric for some in re.findall(r'__name__=~"(.*?)"', text) for metric in some.split("|")]
        assert named
        for metric in named:
            base = re.sub(r"_(count|sum|bucket)$", "", metric)
            assert base in shown or metric in OF_OTHERS, (name, what, metric)


def test_a_server_without_data_holds_the_pods_there_are() -> None:
    for scaled in only(rendered((), KEDA), "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            assert trigger["metadata"]["ignoreNullValues"] == "false"


class _Storm:
    """Series of a Prometheus, and what a query makes of them."""

    def __init__(self) -> None:
        self.series: list[dict[str, str]] = []

    def add(self, name: str, values: str, **labels: str) -> None:
        told = {"namespace": "halfbeat", **labels}
        text = ",".join(f'{key}="{value}"' for key, value in told.items())
        self.series.append({"series": f"{name}{{{text}}}", "values": values})

    def pods(self, job: str, calls: tuple[str, ...], *, slots: int = 8) -> None:
        for index, values in enumerate(calls):
            pod = {"job": job, "pod": f"{job}-{index}"}
            self.add("halfbeat_active_sessions", values, service=job, **pod)
            self.add("halfbeat_capacity_sessions", f"{slots}x40", service=job, **pod)

    def ask(self, folder: Path, promql: str, value: float) -> None:
        """Asserts what the query gives after ten minutes."""
        test = {
            "evaluation_interval": "15s",
            "tests": [
                {
                    "interval": "15s",
                    "input_series": self.series,
                    "promql_expr_test": [
                        {"expr": promql, "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": value}]}
                    ],
                }
            ],
        }
        file = folder / "test.yml"
        file.write_text(json.dumps(test))
        run("promtool", "test", "rules", file)


def test_a_service_has_pods_for_its_calls_and_for_those_to_come(tmp_path: Path) -> None:
    storm = _Storm()
    storm.pods("asr", ("6x40", "5x40"))
    storm.ask(tmp_path, query("asr", "filled"), 11 / 8)
    storm.ask(tmp_path, query("asr", "warm"), (11 + SCALING["warmSlots"]) / 8)
    assert asked(KEDA)["asr", "filled"] == str(SCALING["fill"])


def test_growth_is_believed_ahead_and_an_ebb_is_not(tmp_path: Path) -> None:
    storm = _Storm()
    storm.pods("tts", ("0+15x40",), slots=4)  # a call more every second: 600 after ten minutes
    storm.ask(tmp_path, query("tts", "filled"), (600 + SCALING["leadSeconds"]) / 4)
    ebb = _Storm()
    ebb.pods("tts", ("600-15x40",), slots=4)
    ebb.ask(tmp_path, query("tts", "filled"), 0)


def test_refused_calls_ask_for_more_pods_and_peace_for_none(tmp_path: Path) -> None:
    more = 1 + SCALING["troublePercent"] / 100
    for job, series, labels in (
        ("asr", "halfbeat_errors_total", {"service": "asr", "code": "ERROR_CODE_AT_CAPACITY"}),
        ("router", "halfbeat_errors_total", {"service": "router", "code": "ERROR_CODE_AT_CAPACITY"}),
        ("router", "halfbeat_edge_refused_total", {"edge": "grpc", "reason": "at_capacity"}),
    ):
        peace = _Storm()
        peace.pods(job, ("6x40", "5x40"))
        peace.ask(tmp_path, query(job, "refused"), 0)
        peace.add(series, "7x40", job=job, pod=f"{job}-0", **labels)
        peace.ask(tmp_path, query(job, "refused"), 0)
        storm = _Storm()
        storm.pods(job, ("6x40", "5x40"))
        storm.add(series, "0+1x40", job=job, pod=f"{job}-0", **labels)
        storm.ask(tmp_path, query(job, "refused"), 2 * more)


HOPS = {"asr": "asr.flush", "dialogue": "llm.clause", "tts": "tts.first_audio"}


@pytest.mark.parametrize(("service", "hop"), HOPS.items())
def test_missed_deadlines_ask_for_more_pods_of_who_missed_them(tmp_path: Path, service: str, hop: str) -> None:
    storm = _Storm()
    for job in ("asr", "dialogue", "tts"):
        storm.pods(job, ("6x40", "5x40"))
    storm.add("halfbeat_v2v_seconds_count", "0+10x40", job="router", pod="router-0")
    storm.add("halfbeat_missed_deadlines_total", "0+1x40", job="router", pod="router-0", hop=hop)
    for job in ("asr", "dialogue", "tts"):
        wanted = 2 * (1 + SCALING["troublePercent"] / 100) if job == service else 0
        storm.ask(tmp_path, query(job, "missed"), wanted)
    # No turn, no trouble.
    quiet = _Storm()
    quiet.pods(service, ("6x40",))
    quiet.ask(tmp_path, query(service, "missed"), 0)


def test_the_language_model_is_scaled_by_calls_and_by_its_queue(tmp_path: Path) -> None:
    storm = _Storm()
    storm.pods("dialogue", ("6x40", "5x40"))
    storm.add("vllm:num_requests_waiting", "3x40", job="llm", pod="llm-0")
    storm.add("vllm:num_requests_waiting", "4x40", job="llm", pod="llm-1")
    storm.ask(tmp_path, query("llm", "waiting"), 7)
    storm.ask(tmp_path, query("llm", "calls"), 11 + SCALING["warmSlots"])
    assert asked(KEDA)["llm", "calls"] == str(VALUES["llm"]["callsPerPod"])


def test_another_namespace_is_another_matter(tmp_path: Path) -> None:
    storm = _Storm()
    storm.pods("asr", ("6x40", "5x40"))
    storm.add("halfbeat_active_sessions", "100x40", job="asr", pod="asr-0", service="asr", **{"namespace": "other"})
    storm.ask(tmp_path, query("asr", "filled"), 11 / 8)
