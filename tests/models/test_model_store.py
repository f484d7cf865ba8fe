"""What start-up accepts as a whole model."""

import os
from pathlib import Path

import pytest
from tiny_model import CONFIG, HALVES, World

from halfbeat.models import ModelCorrupt, ModelMissing
from halfbeat.models.store import Store, default_root


@pytest.fixture
def weights(world: World) -> Path:
    staged = world.store.partial(world.model) / "files"
    staged.mkdir(parents=True)
    (staged / "model.bin").write_bytes(b"".join(HALVES))
    (staged / "config.json").write_bytes(CONFIG)
    return world.store.publish(world.model, staged) / "model.bin"


def test_a_folder_without_a_manifest_is_missing(world: World, weights: Path) -> None:
    (world.folder / ".complete").unlink()
    with pytest.raises(ModelMissing, match=r"^model tiny is not here: run `halfbeat models pull tiny`$"):
        world.store.path(world.model)


def test_a_manifest_that_cannot_be_read_counts_as_none(world: World, weights: Path) -> None:
    (world.folder / ".complete").write_text("[1, 2")
    with pytest.raises(ModelMissing):
        world.store.path(world.model)


def test_a_file_that_is_gone_is_named(world: World, weights: Path) -> None:
    weights.unlink()
    with pytest.raises(ModelCorrupt, match=r"model\.bin: is gone.*halfbeat models pull tiny"):
        world.store.path(world.model)


def test_a_file_that_was_cut_off_is_damaged(world: World, weights: Path) -> None:
    os.truncate(weights, 100)
    with pytest.raises(ModelCorrupt, match="100 bytes"):
        world.store.path(world.model)


def test_a_changed_file_of_the_same_size_is_damaged(world: World, weights: Path) -> None:
    weights.write_bytes(bytes(weights.stat().st_size))
    os.utime(weights, ns=(1, 1))
    with pytest.raises(ModelCorrupt, match="SHA-256"):
        world.store.path(world.model)


def test_a_copied_cache_with_other_times_is_accepted_and_remembered(
    world: World, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(weights, ns=(1, 1))
    assert world.store.path(world.model) == world.folder
    monkeypatch.setattr("halfbeat.models.store.sha256_of", lambda _: pytest.fail("hashed again"))
    assert world.store.path(world.model) == world.folder


def test_verify_hashes_even_where_size_and_time_are_right(world: World, weights: Path) -> None:
    assert world.store.verify(world.model).state == "ok"
    stat = weights.stat()
    weights.write_bytes(bytes(stat.st_size))
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert world.store.path(world.model) == world.folder
    verdict = world.store.verify(world.model)
    assert (verdict.state, "model.bin" in verdict.detail) == ("damaged", True)


def test_a_newer_catalogue_with_other_hashes_makes_the_old_files_damaged(world: World, weights: Path) -> None:
    manifest = world.folder / ".complete"
    manifest.write_text(manifest.read_text().replace(world.model.files[0].sha256, "0" * 64))
    weights.write_bytes(bytes(weights.stat().st_size))
    with pytest.raises(ModelCorrupt):
        world.store.path(world.model)


def test_publishing_again_replaces_the_folder(world: World, weights: Path) -> None:
    weights.write_bytes(b"old")
    staged = world.store.partial(world.model) / "files"
    staged.mkdir(parents=True)
    (staged / "model.bin").write_bytes(b"".join(HALVES))
    (staged / "config.json").write_bytes(CONFIG)
    world.store.publish(world.model, staged)
    assert world.store.verify(world.model).state == "ok"
    assert [*(world.store.root / ".partial").iterdir()] == []


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HALFBEAT_CACHE": "/big/disk"}, "/big/disk/models"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/halfbeat/models"),
        ({"HOME": "/home/ann"}, "/home/ann/.cache/halfbeat/models"),
    ],
)
def test_the_cache_lies_where_the_environment_says(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HALFBEAT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Store(default_root()).root == Path(expected)
