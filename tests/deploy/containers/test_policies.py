"""What linters say of the Dockerfiles. Exceptions have reasons: .hadolint.yaml, deploy/docker/checkov.yaml."""

import re
from pathlib import Path

import pytest
from deploy_tools import ROOT, ran
from project import IMAGES

pytestmark = pytest.mark.deploy


def test_hadolint_finds_nothing() -> None:
    told = ran("hadolint", "--config", ".hadolint.yaml", "--no-color", *IMAGES.values())
    assert told.returncode == 0, told.stdout + told.stderr


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN sudo cd /tmp\n")
    assert ran("hadolint", "--config", ".hadolint.yaml", str(tmp_path / "Dockerfile")).returncode != 0


def test_checkov_finds_nothing() -> None:
    files = [argument for file in IMAGES.values() for argument in ("--file", file)]
    told = ran("checkov", "--config-file", "deploy/docker/checkov.yaml", "--skip-download", *files)
    assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-2000:]


@pytest.mark.parametrize("file", IMAGES.values())
def test_the_base_image_has_a_version(file: str) -> None:
    [default] = re.findall(r"^ARG BASE_IMAGE=(\S+)$", (ROOT / file).read_text(), re.MULTILINE)
    assert re.fullmatch(r"python:\d+\.\d+-slim-\w+", default)
    assert f"BASE_IMAGE={default}\n" in (ROOT / ".env").read_text()


@pytest.mark.parametrize("config", [".hadolint.yaml", "deploy/docker/checkov.yaml"])
def test_every_exception_has_a_reason(config: str) -> None:
    lines = (ROOT / config).read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\s+- ", line):
            assert lines[number - 1].strip().startswith("#"), line
