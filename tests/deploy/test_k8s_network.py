"""The NetworkPolicies, applied: who reaches whom, and nothing else."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import yaml
from deploy_tools import ROOT
from k8s_objects import SERVICES, Object, component, matches, only, overlay, pod, rendered, workloads

pytestmark = pytest.mark.deploy

VALUES = yaml.safe_load((ROOT / "deploy/k8s/helm/halfbeat/values.yaml").read_text())
Reach = tuple[str, str, int]


@dataclass(frozen=True)
class End:
    """Somebody who may send or be sent something."""

    name: str
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict, hash=False)
    ports: dict[str, int] = field(default_factory=dict, hash=False)
    ip: str = ""


# What is around a release. An end without a namespace is an address.
AROUND = (
    End("prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"}),
    End("collector", "monitoring", {"app.kubernetes.io/name": "otel-collector"}, {"otlp-http": 4318, "otlp": 4317}),
    End("dns", "kube-system", {"k8s-app": "kube-dns"}, {"dns": 53}),
    End("other kube-system", "kube-system", {"k8s-app": "metrics-server"}, {"https": 4443}),
    End("postgres", "halfbeat", {"app.kubernetes.io/name": "postgresql"}, {"postgres": 5432}),
    # As the official chart labels its pods.
    End("official nats", "halfbeat", {"app.kubernetes.io/name": "nats", "app.kubernetes.io/component": "nats"},
        {"nats": 4222, "monitor": 8222}),
    End("shared nats", "nats", {"app.kubernetes.io/name": "nats", "app.kubernetes.io/component": "nats"},
        {"nats": 4222}),
    End("ingress", "ingress", {"app.kubernetes.io/name": "ingress-nginx"}),
    End("other tenant's router", "other", {
        "app.kubernetes.io/name": "halfbeat", "app.kubernetes.io/instance": "halfbeat",
        "app.kubernetes.io/component": "router",
    }, {"http": 8080, "grpc": 50051}),
    End("job", "halfbeat", {"app": "job"}),
    End("internet", ports={"https": 443, "http": 80}, ip="203.0.113.7"),
    End("cloud metadata", ports={"http": 80, "https": 443}, ip="169.254.169.254"),
    End("node", ports={"kubelet": 10250, "https": 443}, ip="10.1.2.3"),
)  # fmt: skip

EVERYWHERE = {(s, "dns", 53) for s in SERVICES}
SCRAPED = {("prometheus", s, 8080) for s in SERVICES}
CALLERS = {
    (who, "router", port)
    for who in ("prometheus", "collector", "dns", "other kube-system", "postgres", "official nats", "shared nats",
                "ingress", "other tenant's router", "job", "internet", "cloud metadata", "node")
    for port in (8080, 50051)
}  # fmt: skip


def ends(objects: tuple[Object, ...]) -> tuple[End, ...]:
    ours = tuple(
        End(
            component(w),
            "halfbeat",
            w["spec"]["template"]["metadata"]["labels"],
            {p["name"]: p["containerPort"] for c in pod(w)["containers"] for p in c.get("ports", [])},
        )
        for w in workloads(objects)
    )
    return ours + AROUND


def _is_peer(peer: Object, end: End, own_namespace: str) -> bool:
    if "ipBlock" in peer:
        address = ipaddress.ip_address(end.ip) if end.ip else None
        block = peer["ipBlock"]
        return (
            address is not None
            and address in ipaddress.ip_network(block["cidr"])
            and not any(address in ipaddress.ip_network(n) for n in block.get("except", ()))
        )
    if not end.namespace:
        return False
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": end.namespace}):
            return False
    elif end.namespace != own_namespace:
        return False
    return matches(peer.get("podSelector", {}), end.labels)


def _allows(policies: list[Object], owner: End, other: End, to: End, port: int, direction: str) -> bool:
    """Whether the owner's policies let the other in or out; those that select nobody close nothing."""
    key = {"Ingress": "from", "Egress": "to"}[direction]
    own = [
        p["spec"]
        for p in policies
        if owner.namespace == "halfbeat"
        and matches(p["spec"]["podSelector"], owner.labels)
        and direction in p["spec"]["policyTypes"]
    ]
    if not own:
        return True
    for rule in (r for spec in own for r in spec.get(direction.lower(), [])):
        numbers = {to.ports.get(p["port"], -1) if isinstance(p["port"], str) else p["port"] for p in rule["ports"]}
        if port in numbers and (key not in rule or any(_is_peer(peer, other, "halfbeat") for peer in rule[key])):
            return True
    return False


def reachable(objects: tuple[Object, ...]) -> set[Reach]:
    """Everything that gets through, as (from, to, port), where one of the two is a pod of ours."""
    policies = only(objects, "NetworkPolicy")
    ours = {component(w) for w in workloads(objects)}

    def through() -> Iterator[Reach]:
        for one in ends(objects):
            for other in ends(objects):
                for port in other.ports.values() if one != other else ():
                    if one.name not in ours and other.name not in ours:
                        continue
                    leaves = _allows(policies, one, other, other, port, "Egress")
                    if leaves and _allows(policies, other, one, other, port, "Ingress"):
                        yield one.name, other.name, port

    return set(through())


def on_bus(server: str) -> set[Reach]:
    return {(s, server, 4222) for s in SERVICES}


def test_a_cpu_cluster_lets_through_what_the_architecture_needs_and_nothing_else() -> None:
    assert reachable(rendered(("cpu",))) == (
        EVERYWHERE | SCRAPED | CALLERS | on_bus("official nats")
        | {(s, "collector", 4318) for s in SERVICES}
        | {("prometheus", "llm", 8081), ("dialogue", "llm", 8081), ("dialogue", "postgres", 5432), ("llm", "dns", 53)}
        # The pods that fetch models reach their source; dialogue has none.
        | {(s, "internet", 443) for s in ("router", "asr", "tts", "llm")}
    )  # fmt: skip


def test_a_laptop_has_its_nats_and_no_database() -> None:
    assert reachable(rendered(("laptop",))) == (
        EVERYWHERE | SCRAPED | CALLERS | on_bus("nats") | on_bus("official nats")
        | {("prometheus", "llm", 8081), ("dialogue", "llm", 8081), ("prometheus", "nats", 7777), ("llm", "dns", 53)}
        | {(s, "internet", 443) for s in ("router", "asr", "tts", "llm")}
    )  # fmt: skip


def test_a_tenant_reaches_the_shared_nats_and_no_internet() -> None:
    assert reachable(rendered(("gpu", "multi-tenant"))) == (
        EVERYWHERE | SCRAPED | CALLERS | on_bus("shared nats")
        | {(s, "collector", 4318) for s in SERVICES}
        | {("prometheus", "llm", 8000), ("dialogue", "llm", 8000), ("dialogue", "postgres", 5432)}
    )  # fmt: skip
    assert reachable(overlay("prod")) == reachable(rendered(("gpu", "multi-tenant")))


def test_texts_by_twilio_and_a_model_elsewhere_open_a_way_for_dialogue_alone() -> None:
    closed = ("modelCache.pull=false",)
    assert not [r for r in reachable(rendered((), closed)) if r[1] == "internet"]
    for settings in (
        ("city311.settings.TEXTS=twilio", "city311.twilioSecret=twilio"),
        ("llm.engine=external", "llm.url=https://llm.example.com/v1"),
    ):
        opened = reachable(rendered((), closed + settings))
        assert {r for r in opened if r[1] in ("internet", "node", "cloud metadata")} == {("dialogue", "internet", 443)}


@pytest.mark.parametrize("settings", [(), ("router.allowFrom[0].podSelector.matchLabels.app=job",)])
def test_operators_reach_the_bus_the_router_and_the_language_model_and_nobody_reaches_them(
    settings: tuple[str, ...],
) -> None:
    seen = reachable(rendered((), ("cli.enabled=true", "nats.bundled=true", *settings)))
    assert {r for r in seen if r[0] == "cli"} == {
        ("cli", "dns", 53), ("cli", "nats", 4222), ("cli", "official nats", 4222),
        ("cli", "router", 8080), ("cli", "router", 50051), ("cli", "llm", 8081),
    }  # fmt: skip
    assert not [r for r in seen if r[1] == "cli"]


def test_callers_can_be_kept_to_an_ingress() -> None:
    allow = "router.allowFrom[0].namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name=ingress"
    seen = reachable(rendered((), (allow,)))
    assert {r for r in seen if r[1] == "router"} == {
        ("ingress", "router", 8080), ("ingress", "router", 50051), ("prometheus", "router", 8080)
    }  # fmt: skip


def test_the_metrics_port_of_the_bundled_nats_is_no_way_to_its_monitoring() -> None:
    """/connz shows the names and addresses of all clients and asks for no password."""
    assert not [r for r in reachable(rendered((), ("nats.bundled=true",))) if r[1] == "nats" and r[2] == 8222]


def test_every_pod_is_closed_both_ways() -> None:
    for values in ((), ("laptop",), ("gpu", "multi-tenant")):
        objects = rendered(values)
        for workload in workloads(objects):
            [policy] = only(objects, "NetworkPolicy", component(workload))
            assert sorted(policy["spec"]["policyTypes"]) == ["Egress", "Ingress"]


def test_the_values_for_the_official_nats_give_its_pods_the_label_that_is_looked_for() -> None:
    text = (ROOT / "deploy/k8s/other-charts/nats.yaml").read_text()
    labels = yaml.safe_load(text)["podTemplate"]["merge"]["metadata"]["labels"]
    assert {"podSelector": {"matchLabels": labels}} in VALUES["networkPolicy"]["nats"]
