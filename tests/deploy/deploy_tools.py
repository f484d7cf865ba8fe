"""The tools that `scripts/deploy_tools.sh` fetched: where they are, and how tests run them."""

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

ROOT = Path(__file__).parents[2]
BIN = ROOT / "build" / "tools" / "bin"


def miss(why: str) -> None:
    """Skips the test, or fails it where tests of the deployment are demanded."""
    if os.environ.get("HALFBEAT_TEST_DEPLOY") == "1":
        pytest.fail(why)
    pytest.skip(why)


def tool(name: str) -> Path:
    """Returns a tool's path; without it there is no test."""
    path = BIN / name
    if not path.exists():
        miss(f"no {name} in build/tools/bin: run scripts/deploy_tools.sh")
    return path


def ran(name: str, *arguments: str | Path, timeout_s: float = 120) -> "subprocess.CompletedProcess[str]":
    """Runs a tool to its end, whatever that is."""
    return subprocess.run(
        [tool(name), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def run(name: str, *arguments: str | Path, timeout_s: float = 120) -> str:
    """Runs a tool to its successful end; returns what it said."""
    done = ran(name, *arguments, timeout_s=timeout_s)
    assert done.returncode == 0, f"{name} {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}"
    return done.stdout


def free_port() -> int:
    """A port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def serving(name: str, address: str, *arguments: str, folder: Path) -> AsyncIterator[str]:
    """Runs Prometheus or Alertmanager until the block ends; yields its URL once it is ready.

    Args:
        name: of the tool; its log is NAME.log in the folder.
        address: host:port to listen on.
        arguments: further ones.
        folder: of the log.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            tool(name), *arguments, f"--web.listen-address={address}", stdout=file, stderr=file
        )
    try:
        async with aiohttp.ClientSession() as session:
            for _ in range(300):
                with suppress(aiohttp.ClientError):
                    async with session.get(f"http://{address}/-/ready") as response:
                        if response.status == 200:
                            break
                await asyncio.sleep(0.2)
            else:
                pytest.fail(f"{name} did not start: {log.read_text()[-2000:]}")
        yield f"http://{address}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
