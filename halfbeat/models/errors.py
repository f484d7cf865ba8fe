"""What can go wrong with models, sorted by what the reader can do about it.

    ModelError
    ├── UnknownModel        not in the catalogue; the text lists near names
    ├── ModelMissing        run `halfbeat models pull NAME`
    ├── ModelCorrupt        the same: what is still good is kept, the rest fetched again
    ├── SourceUnavailable   no network, no such file there, pip or the hub client missing   (retryable)
    ├── HashMismatch        the source holds other bytes than the catalogue says
    ├── DiskFull            make room, or set HALFBEAT_CACHE to another disk
    └── PullFailed          every source failed; `reasons` says why each did                (retryable)

All of them reach a service's caller as the engine's failure.
"""

from collections.abc import Sequence
from pathlib import Path

from halfbeat.errors import HalfbeatError
from halfbeat.v1 import common_pb2 as pb


def pull_command(*names: str) -> str:
    """The command that gets the models, as every message of ours spells it."""
    return " ".join(("halfbeat models pull", *names))


class ModelError(HalfbeatError):
    """Root of everything that can go wrong with models."""

    code = pb.ERROR_CODE_ENGINE


class UnknownModel(ModelError):
    """The name is not in the catalogue."""

    def __init__(self, name: str, near: Sequence[str]) -> None:
        hint = f"; did you mean {' or '.join(near)}?" if near else "; `halfbeat models list` shows the names"
        super().__init__(f"no model or set is named {name!r}{hint}")
        self.name = name


class ModelMissing(ModelError):
    """The model has not been pulled."""

    def __init__(self, name: str) -> None:
        super().__init__(f"model {name} is not here: run `{pull_command(name)}`")
        self.name = name


class ModelCorrupt(ModelError):
    """A file of the model is gone or holds other bytes than it should."""

    def __init__(self, name: str, file: str, detail: str) -> None:
        super().__init__(f"model {name} is damaged ({file}: {detail}): run `{pull_command(name)}`")
        self.name = name
        self.file = file


class SourceUnavailable(ModelError):
    """A source could not be used now."""

    retryable = True


class HashMismatch(ModelError):
    """A source holds other bytes than the catalogue says. Nothing of it was kept."""

    def __init__(self, what: str, expected: str, actual: str) -> None:
        super().__init__(f"{what} has SHA-256 {actual}, the catalogue says {expected}: refused")
        self.expected = expected
        self.actual = actual


class DiskFull(ModelError):
    """Not enough room for the model."""

    def __init__(self, folder: Path, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(
            f"no room in {folder}: {needed_bytes / 1e6:,.0f} MB needed, {free_bytes / 1e6:,.0f} MB free; "
            "make room or set HALFBEAT_CACHE to a folder on another disk"
        )
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class PullFailed(ModelError):
    """Every source of a model failed."""

    retryable = True

    def __init__(self, name: str, reasons: Sequence[tuple[str, ModelError]]) -> None:
        lines = [f"could not get model {name}:"]
        lines += [f"  from {source}: {error}" for source, error in reasons]
        lines.append(f"`{pull_command(name)}` goes on where this one stopped")
        super().__init__("\n".join(lines))
        self.name = name
        self.reasons = [error for _, error in reasons]
