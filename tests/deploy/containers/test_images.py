"""What the images are and are not."""

import json
from typing import Any

import pytest
from deploy_tools import ROOT
from project import IMAGES, VERSION, docker

import halfbeat

SHARED = "# --- The same lines"
OWN = "# --- "
COMPILERS = ("cc", "gcc", "g++", "c++", "clang", "make", "ld", "as", "strip", "git")


def parts(name: str) -> list[str]:
    """The pieces of a Dockerfile that say that they are the same everywhere."""
    text = (ROOT / IMAGES[name]).read_text()
    return [piece.split("\n" + OWN)[0].partition("\n")[2].strip() for piece in text.split(SHARED)[1:]]


@pytest.mark.parametrize("name", IMAGES)
def test_the_first_lines_of_both_stages_are_the_same_everywhere_so_that_layers_are_shared(name: str) -> None:
    assert len(parts(name)) == 2
    assert parts(name) == parts("router")


def test_the_version_is_one() -> None:
    assert halfbeat.__version__ == VERSION
    assert f"HALFBEAT_VERSION={VERSION}\n" in (ROOT / ".env").read_text()
    for file in IMAGES.values():
        assert f"ARG VERSION={VERSION}\n" in (ROOT / file).read_text()


def configuration(tag: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("image", "inspect", tag).stdout)[0]
    return found


def run(tag: str, *command: str, user: str = "") -> str:
    """Runs a command in the image as compose runs it: nothing writable, no rights."""
    return docker(
        "run", "--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none",
        "--entrypoint", command[0], *(("--user", user) if user else ()), tag, *command[1:], timeout_s=120,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_runs_as_nobody_in_particular_and_says_what_it_is(name: str, images: dict[str, str]) -> None:
    found = configuration(images[name])["Config"]
    assert found["User"] == "10001:10001"
    assert found["Entrypoint"][:2] == ["python", "-m"]
    assert found["Healthcheck"]["Test"][:2] == ["CMD", "python"]
    labels = {key.rpartition(".")[2]: value for key, value in found["Labels"].items()}
    assert labels["version"] == VERSION
    assert labels["licenses"] == "Apache-2.0"
    assert {"title", "description", "revision", "source"} <= set(labels)


@pytest.mark.parametrize("name", IMAGES)
def test_a_service_says_its_version_with_nothing_writable(name: str, images: dict[str, str]) -> None:
    entry = configuration(images[name])["Config"]["Entrypoint"]
    assert run(images[name], *entry, "--version").strip() == f"halfbeat {VERSION}"


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_has_no_compiler_and_no_model_and_nothing_of_its_own_to_write(
    name: str, images: dict[str, str]
) -> None:
    found = run(
        images[name],
        "sh",
        "-c",
        f"for c in {' '.join(COMPILERS)}; do command -v $c; done;"
        " find / -xdev ( -name '*.gguf' -o -size +110M ) -type f 2>/dev/null;"
        " find /app /packages -xdev -user 10001 2>/dev/null; true".replace("(", r"\(").replace(")", r"\)"),
    )
    assert found.split() == []


@pytest.mark.parametrize("name", IMAGES)
def test_every_package_that_the_code_needs_is_in_the_image(name: str, images: dict[str, str]) -> None:
    """All of it is imported, also what the service imports only when it is needed: engines, the locks' packages."""
    service = {"llm": "dialogue"}.get(name, name)
    wanted = {
        "router": ["services.router.service", "services.router.smart_turn", "onnxruntime", "grpc"],
        "asr": ["services.asr.service", "services.asr.engines.moonshine", "onnxruntime"],
        "dialogue": ["services.dialogue.service", "apps.city311.app", "asyncpg", "aiosqlite", "openai"],
        "tts": ["services.tts.service", "services.tts.engines.vits", "gruut", "onnxruntime", "onnx"],
        "llm": ["services.dialogue.llama_server", "xllamacpp"],
    }[name]
    imported = ["halfbeat.service", "halfbeat.cli", "uvloop", "nats", "nacl", "soxr", f"services.{service}", *wanted]
    assert run(images[name], "python", "-c", f"import {', '.join(imported)}; print('ok')").strip() == "ok"


def test_the_layers_below_are_shared(images: dict[str, str]) -> None:
    layers = {name: configuration(tag)["RootFS"]["Layers"] for name, tag in images.items()}
    base = len(configuration(base_image())["RootFS"]["Layers"])
    for name, found in layers.items():
        # User, health check and core packages are built once.
        assert found[: base + 3] == layers["router"][: base + 3], name


def base_image() -> str:
    lines = (ROOT / ".env").read_text().splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith("BASE_IMAGE="))


def test_the_router_is_small(images: dict[str, str]) -> None:
    ours = configuration(images["router"])["Size"] - configuration(base_image())["Size"]
    # Numpy's OpenBLAS, onnxruntime and gRPC are 90 MB of it. The base image has some 125 MB.
    assert ours < 140e6, f"{ours / 1e6:.0f} MB on top of the base image"
