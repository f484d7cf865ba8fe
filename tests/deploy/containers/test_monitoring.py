"""The profile `observability`: what of it there are base images for, here and without a registry."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from deploy_tools import free_port
from project import Project, eventually, ports

SERVICES = ("router", "asr", "dialogue", "tts", "nats-metrics", "prometheus", "alertmanager")


@pytest.fixture(scope="module")
def monitored(images: dict[str, str]) -> Iterator[Project]:
    """The project without models, with Prometheus and Alertmanager."""
    environment = {"COMPOSE_PROFILES": "observability"} | ports()
    environment |= {"PROMETHEUS_PORT": str(free_port()), "ALERTMANAGER_PORT": str(free_port())}
    files = ["docker-compose.yml", "compose.scripted.yml"]
    with Project("halfbeat-test-monitored", files, environment, SERVICES) as project:
        yield project


def get(port: str, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return json.load(answer)


def test_prometheus_reads_every_service_and_nats_and_knows_where_alerts_go(monitored: Project) -> None:
    port = monitored.environment["PROMETHEUS_PORT"]

    def up() -> set[str]:
        targets = get(port, "/api/v1/targets?state=active")["data"]["activeTargets"]
        return {target["labels"]["job"] for target in targets if target["health"] == "up"}

    eventually("all are read", lambda: up() >= {"router", "asr", "dialogue", "tts", "nats", "prometheus"}, 60)
    assert len(get(port, "/api/v1/rules")["data"]["groups"]) > 3
    [known] = get(port, "/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
    assert known["url"].startswith("http://alertmanager:9093/")
    assert get(monitored.environment["ALERTMANAGER_PORT"], "/api/v2/status")["config"]["original"]
