"""Fetches a wheel with pip, as data: `pip download`, never `pip install`.

pip is the client because it knows where the user's index is (mirrors, proxies, certificates, credentials), retries, and
checks the hash. Nothing in the wheel is run.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from halfbeat.models.catalogue import Wheel
from halfbeat.models.errors import DiskFull, HashMismatch, ModelError, SourceUnavailable
from halfbeat.models.store import sha256_of

_PROGRESS = re.compile(r"Progress (\d+) of \d+")
_GOT = re.compile(r"Got\s+([0-9a-f]{64})")
_RAW_PROGRESS_SINCE = (24, 1)
_RESUME_SINCE = (25, 1)
_TAIL_LINES = 4


class PipDownload:
    """Downloads wheels, several at once if called from several threads. `cancel` stops them all.

    A wheel that has arrived stays in `folder` until the caller removes it. Raises `SourceUnavailable` (no network,
    no such version, no pip), `HashMismatch` or `DiskFull`.
    """

    def __init__(self) -> None:
        self._version = _pip_version()
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._is_cancelled = False

    def fetch(self, wheel: Wheel, folder: Path, on_bytes: Callable[[int], None]) -> Path:
        """Brings the wheel into an empty or new `folder`; `on_bytes` hears how many bytes have come so far."""
        folder.mkdir(parents=True, exist_ok=True)
        requirement = folder / "requirement.txt"
        requirement.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n", "utf-8")
        lines = self._run(self._command(wheel, requirement, folder), folder, on_bytes)
        found = [*folder.glob("*.whl")]
        if len(found) != 1:
            raise _diagnosed(wheel, folder, lines)
        with found[0].open("rb") as stream:
            actual = sha256_of(stream)
        if actual != wheel.sha256:
            raise HashMismatch(f"{wheel.project} {wheel.version}", wheel.sha256, actual)
        return found[0]

    def cancel(self) -> None:
        """Ends every download that runs; later ones fail at once."""
        with self._lock:
            self._is_cancelled = True
            running = tuple(self._running)
        for process in running:
            process.terminate()

    def _command(self, wheel: Wheel, requirement: Path, folder: Path) -> list[str]:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
        command += ["--no-cache-dir", "--disable-pip-version-check", "--no-input", "--ignore-requires-python"]
        command += ["--progress-bar", "raw" if self._version >= _RAW_PROGRESS_SINCE else "off"]
        if self._version >= _RESUME_SINCE:
            command += ["--resume-retries", "5"]
        if wheel.platform:
            command += ["--platform", wheel.platform]
        return [*command, "--dest", str(folder), "--requirement", str(requirement)]

    def _run(self, command: list[str], folder: Path, on_bytes: Callable[[int], None]) -> list[str]:
        """Runs pip to its end and returns what it said, without the progress lines."""
        temporary = folder / "tmp"  # pip collects there: on the cache's disk, not in a /tmp that may be small
        temporary.mkdir(exist_ok=True)
        with self._lock:
            if self._is_cancelled:
                raise SourceUnavailable("stopped")
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=os.environ | {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"},
            )
            self._running.add(process)
        said = []
        try:
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    if match := _PROGRESS.match(line):
                        on_bytes(int(match[1]))
                    elif text := line.strip():
                        said.append(text)
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            with self._lock:
                self._running.discard(process)
        return said


def _pip_version() -> tuple[int, int]:
    try:
        major, minor = importlib.metadata.version("pip").split(".")[:2]
        return int(major), int(minor)
    except importlib.metadata.PackageNotFoundError:
        raise SourceUnavailable(
            "pip is not in this Python environment (uv makes them without): "
            "`uv pip install pip` or `python -m ensurepip` adds it"
        ) from None


def _diagnosed(wheel: Wheel, folder: Path, lines: list[str]) -> ModelError:
    """The error behind what pip said."""
    what = f"{wheel.project} {wheel.version}"
    text = "\n".join(lines)
    if "DO NOT MATCH THE HASHES" in text:
        got = _GOT.search(text)
        return HashMismatch(what, wheel.sha256, got[1] if got else "something else")
    if "No space left on device" in text:
        stat = os.statvfs(folder)
        return DiskFull(folder, wheel.size_bytes, stat.f_bavail * stat.f_frsize)
    if "No matching distribution found" in text and "(from versions: none)" in text:
        return SourceUnavailable(
            f"pip finds no {what}: no network, or its index does not have it (`pip config list` shows the index)"
        )
    errors = [line for line in lines if "ERROR" in line] or lines or ["nothing"]
    return SourceUnavailable(f"pip could not download {what}; it said: " + " / ".join(errors[-_TAIL_LINES:]))
