"""The bundled language model server: llama.cpp with an OpenAI API, as a process of its own.

    python -m services.dialogue.llama_server --port 0

Says "ready" with its port as a line of JSON once the model is warm. Any other OpenAI-compatible server does as well.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from halfbeat import logs
from halfbeat.errors import HalfbeatError
from halfbeat.service import Version
from services.dialogue.config import DialogueSettings

log = logging.getLogger(__name__)

#: Prompts are read in pieces of so many tokens: a request that is cancelled holds the model no longer than one.
BATCH_TOKENS = 16
#: So often a thread looks whether the other has come to the barrier before it waits in the kernel: some 50 us.
SPINS = 2000


def default_threads() -> int:
    """Two where there are two cores: the stages of a turn follow one another. See the README for the numbers."""
    return min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def parameters(model: Path, *, host: str, port: int, threads: int, context: int, slots: int) -> Any:
    """llama.cpp's parameters for a voice agent: short prompts, a kept prefix, no spinning while idle."""
    # By default threads spin for milliseconds at each of llama.cpp's barriers; on cores that others use too, that made
    # two threads three to five times slower than one. To wait in the kernel at once costs a quarter more on idle cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames = [host]
    params.port = port
    params.n_ctx = context * slots
    params.n_parallel = slots
    params.n_batch = BATCH_TOKENS
    params.n_ubatch = BATCH_TOKENS
    params.cache_prompt = True
    params.cache_ram_mib = 256
    params.n_threads_http = 4
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_metrics = True
    params.no_perf = False
    params.verbosity = 1
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = threads
        cpu.poll = 0
    return params


def free_port(host: str) -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m services.dialogue.llama_server",
        description=(__doc__ or "").splitlines()[0],
        epilog="Defaults come from HALFBEAT_DIALOGUE_LLAMA_MODEL, ..._THREADS, ..._CONTEXT and ..._SLOTS.",
    )
    parser.add_argument("--version", action=Version)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on [127.0.0.1]")
    parser.add_argument("--port", type=int, default=0, help="port; 0 picks a free one [0]")
    parser.add_argument("--model", help="GGUF file, or a name of the catalogue")
    parser.add_argument("--threads", type=int, help="threads; 0 for two, or one on a single core")
    parser.add_argument("--context", type=int, help="tokens of context of each slot")
    parser.add_argument("--slots", type=int, help="answers made at the same time")
    arguments = parser.parse_args(argv)
    logs.setup("llm", socket.gethostname(), "INFO")
    try:
        return _serve(arguments, DialogueSettings.load())
    except HalfbeatError as error:
        log.error("stopped: %s", error)
        print(f"llama_server: {error}", file=sys.stderr)
        return 1


def _serve(arguments: argparse.Namespace, settings: DialogueSettings) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    model = _find(arguments.model or settings.llama_model)
    threads = arguments.threads or settings.llama_threads or default_threads()
    slots = arguments.slots or settings.llama_slots
    port = arguments.port or free_port(arguments.host)
    params = parameters(
        model,
        host=arguments.host,
        port=port,
        threads=threads,
        context=arguments.context or settings.llama_context,
        slots=slots,
    )
    import xllamacpp

    began = time.monotonic()
    server = xllamacpp.Server(params)
    _wait_healthy(f"http://{arguments.host}:{port}", stop)
    if not stop.is_set():
        ready = {"http_port": port, "model": model.name, "threads": threads, "slots": slots}
        log.info("ready", extra=ready | {"took_s": round(time.monotonic() - began, 1)})
        stop.wait()
    log.info("stopped")
    # llama.cpp's own threads do not always end with the object; nothing is left to save.
    sys.stderr.flush()
    del server
    os._exit(0)


def _find(model: str) -> Path:
    """The GGUF file of a path or of a catalogue name."""
    if model.endswith(".gguf") or os.sep in model:
        path = Path(model)
        if not path.is_file():
            raise HalfbeatError(f"no model file {path}")
        return path
    from halfbeat import models

    folder = models.path(model)
    files = sorted(folder.glob("*.gguf"))
    if not files:
        raise HalfbeatError(f"the catalogue's model {model} has no GGUF file")
    return files[0]


def _wait_healthy(url: str, stop: threading.Event, limit_s: float = 300.0) -> None:
    """Return once /health says ok.

    Raises:
        HalfbeatError: It does not in time.
    """
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and not stop.is_set():
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                if json.load(answer).get("status") == "ok":
                    return
        except (urllib.error.URLError, OSError, ValueError):
            pass
        stop.wait(0.1)
    if not stop.is_set():
        raise HalfbeatError(f"the model was not loaded within {limit_s:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
