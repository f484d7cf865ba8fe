"""The compose files, as `docker compose config` understands them; no engine is needed."""

import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from deploy_tools import ROOT
from project import docker

pytestmark = pytest.mark.usefixtures("compose")
BASE = "docker-compose.yml"
FILES = [(BASE,), (BASE, "compose.scripted.yml"), (BASE, "compose.gpu.yml")]
PROFILES = [(), ("postgres",), ("observability",), ("tools",), ("postgres", "observability", "tools")]
SERVICES = {"router", "asr", "dialogue", "tts", "nats"}


def config(files: tuple[str, ...], profiles: tuple[str, ...] = (), **environment: str) -> dict[str, Any]:
    """The project as Compose reads it, from a clean environment."""
    arguments = [argument for file in files for argument in ("--file", file)]
    arguments += [argument for profile in profiles for argument in ("--profile", profile)]
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG") if name in os.environ}
    told = docker("compose", *arguments, "config", "--format", "json", env={**kept, **environment})
    assert "variable is not set" not in told.stderr, told.stderr
    read: dict[str, Any] = json.loads(told.stdout)
    return read


@pytest.mark.parametrize(("files", "profiles"), list(itertools.product(FILES, PROFILES)))
def test_every_file_and_profile_is_valid_and_bounded(files: tuple[str, ...], profiles: tuple[str, ...]) -> None:
    services = config(files, profiles)["services"]
    assert set(services) >= SERVICES
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        limits = service["deploy"]["resources"]["limits"]
        assert int(limits["memory"]) > 0, name
        assert limits["pids"] > 0, name
        assert service["logging"]["options"]["max-size"], name
        assert "ulimits" not in service, name
        assert ":latest" not in service["image"], name
        assert ":" in service["image"], name
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                assert volume.get("read_only"), (name, volume)
                assert Path(volume["source"]).exists(), (name, volume)


def test_only_the_one_that_prepares_volumes_is_root_and_can_do_nothing_else() -> None:
    services = config((BASE,), ("postgres", "observability", "tools"))["services"]
    root = [name for name, service in services.items() if str(service.get("user", "10001")).startswith("0")]
    assert root == ["prepare"]
    assert services["prepare"]["network_mode"] == "none"
    assert services["prepare"]["cap_add"] == ["CHOWN"]
    assert [name for name, service in services.items() if service.get("cap_add")] == ["prepare"]


def test_a_service_sees_its_own_password_only() -> None:
    services = config((BASE,), ("postgres", "observability", "tools"))["services"]
    for name, service in services.items():
        seen = {v["source"] for v in service.get("volumes", []) if v["source"].startswith("passwords-")}
        if name != "prepare":
            assert seen <= {f"passwords-{name}"}, name
        assert not [key for key in service.get("environment", {}) if key.endswith("PASSWORD")], name


def test_settings_and_secrets_of_a_service_come_from_its_own_file_and_reach_no_other(tmp_path: Path) -> None:
    for name in (BASE, ".env"):
        shutil.copy(ROOT / name, tmp_path)
    for service in ("router", "asr", "dialogue", "tts"):
        (tmp_path / f"{service}.env").write_text(
            f'HALFBEAT_SECRET_OF={service}\nHALFBEAT_ROUTER_API_KEYS=["{service}"]\n'
        )
    services = config((str(tmp_path / BASE),), ("tools", "observability"))["services"]
    for name, service in services.items():
        wanted = name if (tmp_path / f"{name}.env").exists() else None
        assert service.get("environment", {}).get("HALFBEAT_SECRET_OF") == wanted, name
    assert services["router"]["environment"]["HALFBEAT_ROUTER_API_KEYS"] == '["router"]', "nothing overrides the keys"


def test_models_are_mounted_read_only_where_they_are_used_and_nothing_is_published_but_the_router() -> None:
    services = config((BASE,), HALFBEAT_MODELS="/srv/models")["services"]
    for name in ("router", "asr", "tts", "llm"):
        [models] = [v for v in services[name]["volumes"] if v["target"] == "/cache/models"]
        assert models["read_only"]
        assert models["source"] == "/srv/models"
    assert [name for name, service in services.items() if service.get("ports")] == ["router"]
    assert config((BASE,))["networks"]["bus"]["internal"] is True


def test_the_scripted_project_has_no_models() -> None:
    services = config((BASE, "compose.scripted.yml"))["services"]
    assert not {"llm", "models"} & set(services)
    for service in services.values():
        assert "models" not in service.get("depends_on", {})


def test_on_a_gpu_the_language_model_is_vllm_and_recognition_is_on_the_gpu() -> None:
    services = config((BASE, "compose.gpu.yml"))["services"]
    assert services["llm"]["image"].startswith("vllm/vllm-openai:")
    assert "build" not in services["llm"]
    assert services["dialogue"]["environment"]["HALFBEAT_DIALOGUE_LLM_URL"] == "http://llm:8000/v1"
    assert services["asr"]["image"].endswith("-cuda")
    for name in ("asr", "llm"):
        [device] = services[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]


def test_every_image_of_others_has_its_version_in_one_file() -> None:
    text = (ROOT / BASE).read_text() + (ROOT / "compose.gpu.yml").read_text()
    for line in text.splitlines():
        if line.strip().startswith("image:"):
            assert "${" in line, line
