"""What a pull reports while it works; drawn by the command line, silent by default."""

from pathlib import Path
from typing import Protocol


class Progress(Protocol):
    """Hears how a pull goes on. Calls may come from several threads."""

    def started(self, model: str, total_bytes: int, total_parts: int) -> None:
        """A model is about to be fetched from one source; sizes are what travels over the network."""

    def advanced(self, model: str, done_bytes: int, done_parts: int) -> None:
        """So much has arrived, counted from the start of the model; parts that lay here before count too."""

    def noted(self, model: str, text: str) -> None:
        """Something a person may want to know: waiting for another pull, trying the next source."""

    def finished(self, model: str, folder: Path) -> None:
        """The model is complete and verified in its folder."""


class Silent:
    """Reports nothing."""

    def started(self, model: str, total_bytes: int, total_parts: int) -> None: ...

    def advanced(self, model: str, done_bytes: int, done_parts: int) -> None: ...

    def noted(self, model: str, text: str) -> None: ...

    def finished(self, model: str, folder: Path) -> None: ...


SILENT = Silent()
