"""What every pod of every rendering keeps to."""

import asyncio
import os
import re
import sys
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from deploy_tools import ROOT
from k8s_objects import (
    K8S,
    SAME,
    SERVICES,
    VALUES,
    Object,
    component,
    containers,
    everything,
    only,
    overlay,
    pod,
    rendered,
    services,
    workloads,
)

from apps.city311.config import City311Settings
from halfbeat import models
from halfbeat.settings import PREFIX, ServiceSettings
from scripts.docs import settings_of

pytestmark = pytest.mark.deploy

# Between the last call's end and the process's: the router tells its callers (5 s), HTTP closes (5 s), spans are sent.
AFTERWARDS_S = 20
# The router's edges give a call so long after its own limit (services/router/service.py).
EDGE_GRACE_S = 5
_SAMPLE = {"HALFBEAT_ROUTER_API_KEYS": '["sample"]', "HALFBEAT_CITY311_DATABASE_URL": "postgresql://u:p@db/n"}


def all_workloads() -> list[tuple[str, Object]]:
    return [(name, w) for name, objects in everything() for w in workloads(objects)]


def environment(objects: tuple[Object, ...], container: Object) -> dict[str, str]:
    """A container's variables; those of Secrets have a sample."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        [config] = [o for o in only(objects, "ConfigMap") if o["metadata"]["name"] == source["configMapRef"]["name"]]
        found |= config["data"]
    for variable in container.get("env", []):
        found[variable["name"]] = variable.get("value", _SAMPLE.get(variable["name"], "sample"))
    return found


def test_every_pod_fits_the_restricted_profile() -> None:
    for name, workload in all_workloads():
        where = (name, workload["metadata"]["name"])
        spec = pod(workload)
        assert spec["securityContext"]["runAsNonRoot"] is True, where
        assert spec["securityContext"]["runAsUser"] == 10001, where
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), where
        assert all("hostPath" not in volume for volume in spec["volumes"]), where
        for container in containers(workload):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, where
            assert context["readOnlyRootFilesystem"] is True, where
            assert context["capabilities"] == {"drop": ["ALL"]}, where


def test_the_images_are_those_that_compose_builds_or_the_readme_says_how() -> None:
    version = re.search(r"^HALFBEAT_VERSION=(\S+)$", (ROOT / ".env").read_text(), re.MULTILINE)
    assert version
    compose = (ROOT / "docker-compose.yml").read_text()
    built = re.findall(r"^    image: \$\{HALFBEAT_REGISTRY:-\}(\S+)$\n    build:", compose, re.MULTILINE)
    images = {f"ghcr.io/{name.replace('${HALFBEAT_VERSION}', version[1])}" for name in built}
    assert len(images) == 5
    named = set(re.findall(r"docker build .* -t (\S+) ", (K8S / "README.md").read_text()))
    used = {c["image"] for _, w in all_workloads() for c in containers(w)}
    assert {image for image in used if "halfbeat/" in image} == images | named


@pytest.mark.parametrize("file", ["other-charts/nats.yaml", "examples/second-site-nats.yaml"])
def test_the_official_nats_fits_the_restricted_profile_and_counts_by_our_names(file: str) -> None:
    """Its chart sets no security context, and gives its exporter a prefix that our rules do not ask for."""
    told = yaml.safe_load((K8S / file).read_text())
    context = told["podTemplate"]["merge"]["spec"]["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["fsGroup"] == 1000
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for name in ("container", "reloader", "promExporter"):
        assert told[name]["merge"]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }, name
    assert told["natsBox"] == {"enabled": False}
    flags = set(told["promExporter"]["merge"]["args"])
    assert {"-varz", "-connz", "-healthz", "http://localhost:8222/"} <= flags
    assert ("-jsz=all" in flags) is told["config"]["jetstream"]["enabled"]
    assert not any(flag.startswith("-prefix") for flag in flags)


def test_no_pod_can_talk_to_kubernetes_or_is_told_of_services() -> None:
    """HALFBEAT_ASR_SERVICE_HOST, which Kubernetes makes of a Service, is an unknown setting: asr would not start."""
    for name, workload in all_workloads():
        assert pod(workload)["automountServiceAccountToken"] is False, name
        assert pod(workload)["enableServiceLinks"] is False, name
    for name, objects in everything():
        accounts = {o["metadata"]["name"] for o in only(objects, "ServiceAccount")}
        assert {pod(w)["serviceAccountName"] for w in workloads(objects)} == accounts, name


def test_writable_places_are_bounded_and_models_are_read_only_for_services() -> None:
    for name, workload in all_workloads():
        for volume in pod(workload)["volumes"]:
            if "emptyDir" in volume:
                assert volume["emptyDir"].get("sizeLimit"), (name, volume)
        for container in containers(workload):
            for mount in container.get("volumeMounts", []):
                if mount["name"] == "models" and container["name"] in SERVICES:
                    assert mount["readOnly"] is True, (name, container["name"])


@pytest.mark.parametrize("values", VALUES, ids="+".join)
def test_settings_are_settings_the_services_know(values: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each service's own class reads the environment of its container: names, types and bounds."""
    for variable in list(os.environ):
        if variable.startswith(PREFIX):
            monkeypatch.delenv(variable)
    objects = rendered(values)
    for service in services(objects):
        [deployment] = only(objects, "Deployment", service)
        told = environment(objects, pod(deployment)["containers"][0])
        with monkeypatch.context() as patch:
            for variable, value in told.items():
                patch.setenv(variable, value)
            settings = settings_of(service).load()
            if service == "dialogue":
                City311Settings()
        known = {f"{PREFIX}{n.upper()}" for n in ServiceSettings.model_fields if n != "nats"}
        for variable in told:
            if variable.startswith(PREFIX) and variable not in known:
                assert variable.startswith((f"{PREFIX}NATS_", f"{PREFIX}{service.upper()}_", f"{PREFIX}CITY311_"))
        if service == "router":
            assert settings.api_keys or settings.allow_open  # type: ignore[attr-defined]


@pytest.mark.parametrize("values", VALUES, ids="+".join)
def test_the_settings_of_the_bundled_language_model_are_known(values: tuple[str, ...]) -> None:
    objects = rendered(values)
    for deployment in only(objects, "Deployment", "llm"):
        if "vllm" not in pod(deployment)["containers"][0]["image"]:
            known = {f"{PREFIX}DIALOGUE_{n.upper()}" for n in settings_of("dialogue").model_fields}
            assert environment(objects, pod(deployment)["containers"][0]).keys() <= known


def test_a_pod_is_given_longer_than_its_drain_and_a_call_longer_than_it_can_last() -> None:
    for name, objects in everything():
        for service in services(objects):
            [deployment] = only(objects, "Deployment", service)
            container = pod(deployment)["containers"][0]
            told = environment(objects, container)
            drain_s = float(told["HALFBEAT_DRAIN_S"])
            waits_s = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            grace_s = pod(deployment)["terminationGracePeriodSeconds"]
            assert grace_s >= waits_s + drain_s + AFTERWARDS_S, (name, service)
            if name not in ("laptop", "overlay dev") and "router" in services(objects):
                [router] = only(objects, "Deployment", "router")
                longest_s = float(environment(objects, pod(router)["containers"][0])["HALFBEAT_ROUTER_MAX_CALL_S"])
                assert drain_s >= longest_s + EDGE_GRACE_S, (name, service)


def test_the_router_waits_until_nobody_is_sent_to_it_before_it_drains() -> None:
    [router] = only(rendered(), "Deployment", "router")
    assert pod(router)["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] >= 5


def test_every_container_that_serves_has_probes_on_a_port_it_has() -> None:
    for name, workload in all_workloads():
        for container in pod(workload)["containers"]:
            if container["name"] == "cli":
                continue
            where = (name, workload["metadata"]["name"], container["name"])
            ports = {port["name"] for port in container["ports"]}
            wanted = {"readinessProbe", "livenessProbe"} | (
                {"startupProbe"} if container["name"] != "metrics" else set()
            )
            assert wanted <= container.keys(), where
            for probe in wanted:
                check = container[probe].get("httpGet") or container[probe]["tcpSocket"]
                assert check["port"] in ports, where
            liveness = container["livenessProbe"]
            # A restart ends all calls of the pod: never for a hiccup.
            assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 60, where
            if container["name"] in SERVICES:
                assert liveness["httpGet"]["path"] == "/healthz", where
                assert container["readinessProbe"]["httpGet"]["path"] == "/readyz", where


@pytest.mark.parametrize("status", [200, 401])
async def test_dialogue_waits_for_a_language_model_that_answers_whatever_it_answers(status: int) -> None:
    [dialogue] = only(rendered(), "Deployment", "dialogue")
    [waiting] = [c for c in containers(dialogue) if c["name"] == "wait-for-llm"]
    asked = []

    async def models_of(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/v1/models", models_of)
    async with TestServer(app) as server, asyncio.timeout(30):
        environment = {"HALFBEAT_DIALOGUE_LLM_URL": str(server.make_url("/v1"))}
        process = await asyncio.create_subprocess_exec(sys.executable, *waiting["command"][1:], env=environment)
        assert await process.wait() == 0
    assert asked == ["/v1/models"]


def test_a_model_has_time_to_load() -> None:
    for name, workload in all_workloads():
        container = pod(workload)["containers"][0]
        if container["name"] == "cli":
            continue
        startup = container["startupProbe"]
        seconds = startup["periodSeconds"] * startup["failureThreshold"]
        assert seconds >= (1800 if "vllm" in container["image"] else 180), (name, container["name"])
        if workload["kind"] == "Deployment":
            assert workload["spec"]["progressDeadlineSeconds"] > seconds, (name, container["name"])


def test_every_component_has_what_an_operator_needs() -> None:
    for name, objects in everything():
        for workload in workloads(objects):
            part = component(workload)
            if part == "cli":  # it serves nobody and holds nothing
                continue
            for kind in ("Service", "ServiceAccount", "PodDisruptionBudget"):
                assert only(objects, kind, part), (name, part, kind)
            if name != "no-policies":
                assert only(objects, "NetworkPolicy", part), (name, part)
            keys = {c["topologyKey"] for c in pod(workload)["topologySpreadConstraints"]}
            assert keys == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}, (name, part)
            assert pod(workload)["priorityClassName"] == "halfbeat-calls", (name, part)
            labels = workload["spec"]["template"]["metadata"]["labels"]
            [budget] = only(objects, "PodDisruptionBudget", part)
            [service] = only(objects, "Service", part)
            for selector in (budget["spec"]["selector"]["matchLabels"], service["spec"]["selector"]):
                assert selector.items() <= labels.items(), (name, part)


def test_every_container_is_bounded_in_memory_and_asks_for_a_share_of_the_cores() -> None:
    for name, workload in all_workloads():
        for container in containers(workload):
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, (name, container["name"])
            assert "memory" in container["resources"]["limits"], (name, container["name"])
            assert "cpu" not in container["resources"]["limits"], (name, container["name"])


def test_images_are_ours_of_this_version_or_pinned() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version
    pinned = {"nats": "library/nats:2.15-alpine", "llm": "vllm/vllm-openai:v"}
    for name, workload in all_workloads():
        for container in containers(workload):
            registry, _, rest = container["image"].partition("/")
            if rest.startswith("halfbeat/"):
                image, _, tag = rest.removeprefix("halfbeat/").partition(":")
                assert registry == "ghcr.io", name
                assert image in (*SERVICES, "llm"), name
                assert tag.removesuffix("-cuda") == version[1], (name, container["image"])
                assert tag.endswith("-cuda") <= (image in ("asr", "tts")), (name, container["image"])
            else:
                assert registry == "docker.io", name
                assert rest.startswith(pinned[container["name"]]), (name, container["image"])


def test_images_of_others_are_those_of_compose() -> None:
    file = ROOT / ".env"
    if not file.exists():
        pytest.skip("no .env here")
    compose = dict(re.findall(r"^([A-Z_]+)=(.*)$", file.read_text(), re.M))
    values = yaml.safe_load((ROOT / "deploy/k8s/helm/halfbeat/values.yaml").read_text())
    nats, vllm = values["nats"]["image"], values["llm"]["vllm"]["image"]
    assert f"{nats['repository'].removeprefix('library/')}:{nats['tag']}" == compose["NATS_IMAGE"]
    assert f"{vllm['repository']}:{vllm['tag']}" == compose["VLLM_IMAGE"]


def test_the_models_that_are_pulled_are_those_the_engines_want() -> None:
    known = models.catalogue().models
    for name, objects in everything():
        for workload in workloads(objects):
            for container in pod(workload).get("initContainers", []):
                if container["name"] == "models":
                    pulled = container["command"][container["command"].index("pull") + 1 :]
                    assert pulled, (name, component(workload))
                    assert set(pulled) <= known.keys(), (name, pulled)
                    told = environment(objects, pod(workload)["containers"][0])
                    wanted = told.get(f"{PREFIX}{component(workload).upper()}_MODEL")
                    assert wanted in (None, *pulled), (name, wanted)


def test_no_secret_value_is_rendered() -> None:
    for name, objects in everything():
        assert not only(objects, "Secret"), name
        text = yaml.safe_dump_all(objects)
        assert not re.search(r"://[^/\s\"']*:[^/\s\"'$]*@", text), name
        for workload in workloads(objects):
            for container in containers(workload):
                for variable in container.get("env", []):
                    if re.search(r"PASSWORD|TOKEN|API_KEY|DATABASE_URL", variable["name"]):
                        assert set(variable) == {"name", "valueFrom"}, (name, variable)


def test_a_service_is_given_its_own_password_only() -> None:
    for values in ((), ("cpu", "multi-tenant")):
        for service in SERVICES:
            [deployment] = only(rendered(values), "Deployment", service)
            for container in containers(deployment):
                for variable in container.get("env", []):
                    reference: dict[str, Any] = variable.get("valueFrom", {}).get("secretKeyRef", {})
                    if reference.get("name") == "halfbeat-nats":
                        assert reference["key"] == service
    [nats] = only(rendered((), ("nats.bundled=true",)), "StatefulSet", "nats")
    for variable in containers(nats)[0]["env"]:
        key = variable["valueFrom"]["secretKeyRef"]["key"]
        assert variable["name"] == f"HALFBEAT_NATS_{key.upper()}_PASSWORD"


def test_a_release_beside_another_collides_with_nothing() -> None:
    """Two tenants in one cluster: only objects of a namespace, but for the priority class that one makes."""
    for values in (("cpu", "multi-tenant"), ("gpu", "multi-tenant")):
        assert not {"Namespace", "PriorityClass", "PersistentVolume", "ClusterRole"} & {
            o["kind"] for o in rendered(values)
        }
    [quota] = only(rendered(("gpu", "multi-tenant")), "ResourceQuota")
    assert quota["spec"]["hard"]


@pytest.mark.parametrize("name", SAME)
def test_an_overlay_runs_under_the_restricted_profile(name: str) -> None:
    [namespace] = only(overlay(name), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
