"""A Docker engine, our images on it, and compose projects of our own files.

Without an engine these tests are skipped, with HALFBEAT_TEST_DEPLOY=1 they fail.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy_tools import miss
from project import IMAGES, Project, build, docker, ports

from halfbeat.models.store import default_root


@pytest.fixture(scope="session")
def compose() -> None:
    """`docker compose` is there; an engine need not be."""
    told = docker("compose", "version", "--short", check=False)
    if told.returncode != 0:
        miss("no `docker compose` here: scripts/docker_engine.sh start FOLDER brings one")


@pytest.fixture(scope="session")
def engine(compose: None) -> None:
    """A Docker engine answers."""
    told = docker("version", check=False)
    if told.returncode != 0:
        miss("no Docker engine here: scripts/docker_engine.sh start FOLDER brings one")


@pytest.fixture(scope="session")
def images(engine: None) -> dict[str, str]:
    """Our images by name, built from the Dockerfiles as they are."""
    return {name: build(name) for name in IMAGES}


@pytest.fixture(scope="module")
def scripted(images: dict[str, str]) -> Iterator[Project]:
    """The compose files without models, up and ready."""
    with Project("halfbeat-test-scripted", ["docker-compose.yml", "compose.scripted.yml"], ports()) as project:
        yield project


@pytest.fixture(scope="module")
def real(images: dict[str, str]) -> Iterator[Project]:
    """The compose file with the real engines, on the models of this machine, up and ready."""
    environment = ports() | {"HALFBEAT_MODELS": str(default_root())}
    with Project("halfbeat-test-real", ["docker-compose.yml"], environment) as project:
        yield project


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Images are built once for all: the first test that needs them may take long."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.containers)
            item.add_marker(pytest.mark.timeout(900))
