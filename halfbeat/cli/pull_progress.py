"""Shows how a pull goes on: bars in a terminal, a line now and then elsewhere."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from halfbeat.models import Progress

_LINE_EVERY_S = 5.0


@contextmanager
def shown(console: Console) -> Iterator[Progress]:
    """The right display for where the console writes to."""
    if not console.is_terminal:
        yield PlainLines(console)
        return
    with Bars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        DownloadColumn(),
        TextColumn("{task.fields[parts]}"),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bars:
        yield LiveBars(bars)


class LiveBars:
    """One bar per model."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._parts: dict[str, int] = {}

    def started(self, model: str, total_bytes: int, total_parts: int) -> None:
        """Adds the model's bar, or starts it anew for the next source."""
        if model in self._tasks:
            self._bars.remove_task(self._tasks[model])
        self._parts[model] = total_parts
        self._tasks[model] = self._bars.add_task(model, total=total_bytes, parts="")

    def advanced(self, model: str, done_bytes: int, done_parts: int) -> None:
        """Moves the bar."""
        total = self._parts[model]
        parts = f"{done_parts}/{total} parts" if total > 1 else ""
        self._bars.update(self._tasks[model], completed=done_bytes, parts=parts)

    def noted(self, model: str, text: str) -> None:
        """Prints above the bars."""
        self._bars.console.print(f"{model}: {text}", highlight=False, markup=False)

    def finished(self, model: str, folder: Path) -> None:
        """Says so if there was nothing to fetch; else the full bar does."""
        if model not in self._tasks:
            self._bars.console.print(f"{model}: already here", highlight=False)


class PlainLines:
    """For logs: a line every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._total: dict[str, tuple[int, int]] = {}
        self._last_s = 0.0

    def started(self, model: str, total_bytes: int, total_parts: int) -> None:
        """Says how much will come."""
        self._total[model] = (total_bytes, total_parts)
        self._print(f"{model}: fetching {total_bytes / 1e6:,.0f} MB in {total_parts} parts")
        self._last_s = time.monotonic()

    def advanced(self, model: str, done_bytes: int, done_parts: int) -> None:
        """Says how far it is, if it has been silent for a while."""
        with self._lock:
            if time.monotonic() - self._last_s < _LINE_EVERY_S:
                return
            self._last_s = time.monotonic()
        total_bytes, total_parts = self._total[model]
        self._print(
            f"{model}: {done_bytes / 1e6:,.0f} of {total_bytes / 1e6:,.0f} MB, {done_parts}/{total_parts} parts"
        )

    def noted(self, model: str, text: str) -> None:
        """Prints the note."""
        self._print(f"{model}: {text}")

    def finished(self, model: str, folder: Path) -> None:
        """Says whether it was here before."""
        self._print(f"{model}: {'verified' if model in self._total else 'already here'}")

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
