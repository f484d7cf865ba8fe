"""Models: what there is, where it lies, and how it gets here.

    from halfbeat import models

    folder = models.path("silero-vad")            # raises ModelMissing: "run `halfbeat models pull silero-vad`"
    models.pull(["default"], progress)

docs/models.md tells where the weights come from and how to add a model.
"""

from collections.abc import Iterable
from pathlib import Path

from halfbeat.models.catalogue import Catalogue, Model, builtin
from halfbeat.models.errors import (
    DiskFull,
    HashMismatch,
    ModelCorrupt,
    ModelError,
    ModelMissing,
    PullFailed,
    SourceUnavailable,
    UnknownModel,
)
from halfbeat.models.progress import SILENT, Progress
from halfbeat.models.store import Store, Verdict, default_root

__all__ = [
    "Catalogue",
    "DiskFull",
    "HashMismatch",
    "Model",
    "ModelCorrupt",
    "ModelError",
    "ModelMissing",
    "Progress",
    "PullFailed",
    "SourceUnavailable",
    "UnknownModel",
    "Verdict",
    "catalogue",
    "path",
    "pull",
    "verify",
]


def catalogue() -> Catalogue:
    """Every model that halfbeat knows."""
    return builtin()


def path(name: str) -> Path:
    """The folder with the model's files, checked by size and time (a few microseconds).

    Raises `UnknownModel`, `ModelMissing` or `ModelCorrupt`; the text of the last two says what to run.
    """
    return Store(default_root()).path(builtin()[name])


def pull(names: Iterable[str], progress: Progress = SILENT) -> list[Path]:
    """Fetches models and sets that are not here yet, or damaged; returns all their folders.

    Blocks. Raises `UnknownModel`, `DiskFull` or `PullFailed`; what has arrived is kept for the next pull.
    """
    from halfbeat.models.pulling import pull as pull_into

    return pull_into(names, progress, builtin(), Store(default_root()))


def verify(names: Iterable[str]) -> list[Verdict]:
    """Hashes every file of the models and sets named. Raises `UnknownModel`."""
    store = Store(default_root())
    return [store.verify(model) for model in builtin().expand(names)]
