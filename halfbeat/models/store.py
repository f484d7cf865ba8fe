"""Where models lie on disk, and how a folder is known to be whole.

    $HALFBEAT_CACHE (default $XDG_CACHE_HOME/halfbeat or ~/.cache/halfbeat)
    └── models/
        ├── <name>/            the files, and `.complete`: their hashes, sizes and times as they were verified
        ├── .partial/<name>/   what a pull has so far
        └── .lock/<name>       held by the pull that is at work

A folder appears under its name by one rename, when every file in it has been verified. Start-up then compares sizes and
times with `.complete`; a file whose time changed is hashed again.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from halfbeat.models.catalogue import Model, ModelFile
from halfbeat.models.errors import ModelCorrupt, ModelError, ModelMissing

COMPLETE = ".complete"
_BLOCK_BYTES = 1 << 20
State = Literal["ok", "missing", "damaged"]


@dataclass(frozen=True)
class Verdict:
    """What was found of one model; `detail` is empty when it is ok."""

    name: str
    state: State
    detail: str = ""


def default_root() -> Path:
    """The folder of all models, from the environment."""
    cache = os.environ.get("HALFBEAT_CACHE")
    if cache:
        return Path(cache).expanduser() / "models"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "halfbeat" / "models"


def sha256_of(stream: BinaryIO, size_bytes: int | None = None) -> str:
    """SHA-256 of the next `size_bytes` of a stream, or of all that is left."""
    digest = hashlib.sha256()
    left = size_bytes
    while left is None or left > 0:
        block = stream.read(_BLOCK_BYTES if left is None else min(left, _BLOCK_BYTES))
        if not block:
            break
        digest.update(block)
        if left is not None:
            left -= len(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Store:
    """The folder of all models."""

    root: Path

    def folder(self, model: Model) -> Path:
        """Where the model lies, whether it is there or not."""
        return self.root / model.name

    def partial(self, model: Model) -> Path:
        """Where a pull collects the model."""
        return self.root / ".partial" / model.name

    def path(self, model: Model) -> Path:
        """The model's folder, checked by size and time. Raises `ModelMissing` or `ModelCorrupt`."""
        return self._check(model, rehash=False)

    def verify(self, model: Model) -> Verdict:
        """Hashes every file of the model."""
        try:
            self._check(model, rehash=True)
        except ModelMissing as error:
            return Verdict(model.name, "missing", str(error))
        except ModelError as error:
            return Verdict(model.name, "damaged", str(error))
        return Verdict(model.name, "ok")

    def publish(self, model: Model, staged: Path) -> Path:
        """Puts a folder with verified files in the model's place, at once or not at all."""
        self._write_manifest(model, staged)
        target = self.folder(model)
        old = self.root / ".partial" / f"{model.name}.old"
        shutil.rmtree(old, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            target.rename(old)
        staged.rename(target)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(self.partial(model), ignore_errors=True)
        return target

    @contextlib.contextmanager
    def lock(self, model: Model, on_wait: Callable[[], None]) -> Iterator[None]:
        """Holds the model against other pulls, of any process; `on_wait` is called if one is at work."""
        path = self.root / ".lock" / model.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _check(self, model: Model, *, rehash: bool) -> Path:
        folder = self.folder(model)
        seen = _read_manifest(folder)
        if seen is None:
            raise ModelMissing(model.name)
        changed = False
        for file in model.files:
            stat = _stat(model, folder, file)
            if not rehash and seen.get(file.name) == (file.sha256, stat.st_mtime_ns):
                continue
            with (folder / file.name).open("rb") as stream:
                actual = sha256_of(stream)
            if actual != file.sha256:
                raise ModelCorrupt(model.name, file.name, f"SHA-256 is {actual}, not {file.sha256}")
            changed = True
        if changed:
            with contextlib.suppress(OSError):  # the cache may be read-only, as in a container image
                self._write_manifest(model, folder)
        return folder

    @staticmethod
    def _write_manifest(model: Model, folder: Path) -> None:
        files = {
            file.name: {"sha256": file.sha256, "mtime_ns": (folder / file.name).stat().st_mtime_ns}
            for file in model.files
        }
        text = json.dumps({"model": model.name, "files": files}, indent=1)
        new = folder / f"{COMPLETE}.new"
        new.write_text(text, "utf-8")
        new.replace(folder / COMPLETE)


def _stat(model: Model, folder: Path, file: ModelFile) -> os.stat_result:
    try:
        stat = (folder / file.name).stat()
    except FileNotFoundError:
        raise ModelCorrupt(model.name, file.name, "is gone") from None
    if stat.st_size != file.size_bytes:
        raise ModelCorrupt(model.name, file.name, f"{stat.st_size} bytes, not {file.size_bytes}")
    return stat


def _read_manifest(folder: Path) -> dict[str, tuple[str, int]] | None:
    """What was verified when: file name to (SHA-256, time in ns). None if there is no manifest that can be read."""
    try:
        files = json.loads((folder / COMPLETE).read_text("utf-8"))["files"]
        return {name: (entry["sha256"], entry["mtime_ns"]) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
