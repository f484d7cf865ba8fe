"""An index of two tiny wheels and the catalogue of the model that they carry. Nothing leaves the machine."""

import threading
import tomllib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from halfbeat.models.catalogue import Catalogue, Model, parse
from halfbeat.models.describe import describe
from halfbeat.models.store import Store

HALVES = (b"first half, " * 5000, b"second half." * 7000)
CONFIG = b'{"layers": 2}'


def write_wheel(folder: Path, project: str, members: dict[str, bytes], tag: str = "py3-none-any") -> Path:
    path = folder / f"{project}-1.0-{tag}.whl"
    info = f"{project}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{project}/{name}", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def entry(wheels: list[Path], **more: object) -> Model:
    files = {"model.bin": "*/part?.bin", "config.json": "*/config.json"}
    table = tomllib.loads(describe(files, wheels))
    return parse("tiny", {"kind": "asr", "purpose": "tests", "licence": "none", "sets": ["default"], **table, **more})


@dataclass
class Seen:
    """Progress that remembers; `waiting` is set when the pull waits for another."""

    starts: list[tuple[int, int]] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    waiting: threading.Event = field(default_factory=threading.Event)

    def started(self, model: str, total_bytes: int, total_parts: int) -> None:
        self.starts.append((total_bytes, total_parts))

    def advanced(self, model: str, done_bytes: int, done_parts: int) -> None:
        self.parts.append(done_parts)

    def noted(self, model: str, text: str) -> None:
        self.notes.append(text)
        if "waiting" in text:
            self.waiting.set()

    def finished(self, model: str, folder: Path) -> None:
        self.folders.append(folder)


@dataclass
class World:
    """One model in two wheels, the index that serves them, and an empty cache."""

    index: Path
    wheels: list[Path]
    model: Model
    store: Store

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue({self.model.name: self.model})

    @property
    def folder(self) -> Path:
        return self.store.folder(self.model)
