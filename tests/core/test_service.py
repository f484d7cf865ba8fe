"""What every service's process does."""

import asyncio
import gc
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest

import halfbeat
from halfbeat import service, subjects, supervisor
from halfbeat.bus.nats import NatsBus
from halfbeat.nats_server import EmbeddedServer
from halfbeat.settings import NatsSettings
from halfbeat.v1 import common_pb2, session_pb2


def test_a_full_collection_no_longer_walks_what_was_there_when_the_service_was_ready() -> None:
    try:
        service.spare_the_collector()
        assert gc.get_freeze_count() > 10 * len(gc.get_objects())
    finally:
        gc.unfreeze()


async def test_a_process_that_drains_tells_until_when_and_is_not_ready(tmp_path: Path) -> None:
    async with EmbeddedServer() as server, aiohttp.ClientSession() as http:
        env = {
            "HALFBEAT_NATS_URL": server.url,
            "HALFBEAT_ASR_ENGINE": "scripted",
            "HALFBEAT_ASR_DRAIN_S": "60",
            "HALFBEAT_STATE": str(tmp_path),
        }
        child = await supervisor.start("asr", [sys.executable, "-m", "services.asr"], env, tmp_path)
        try:
            await supervisor.wait_ready(child, 60)

            async def shown() -> dict[str, float]:
                async with http.get(f"{child.http}/metrics") as response:
                    lines = (await response.text()).splitlines()
                return {
                    name: float(value) for name, _, value in (line.partition(" ") for line in lines if line[0] != "#")
                }

            before = await shown()
            assert (before["halfbeat_ready"], before["halfbeat_drain_deadline_timestamp_seconds"]) == (1, 0)
            async with NatsBus(NatsSettings(url=server.url), name="router") as bus:
                request = session_pb2.OpenRequest(stamp=common_pb2.Stamp(sid="s1"))
                await bus.request(subjects.ASR_OPEN, request, session_pb2.OpenReply, timeout_s=5)
                child.process.terminate()
                asked = time.time()
                async with asyncio.timeout(10):
                    while (draining := await shown())["halfbeat_ready"]:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                assert draining["halfbeat_drain_deadline_timestamp_seconds"] == pytest.approx(asked + 60, abs=5)
                closed = session_pb2.SessionClosed(stamp=common_pb2.Stamp(sid="s1"), by="router")
                await bus.publish(subjects.SESSION_CLOSE, closed)
            async with asyncio.timeout(10):
                assert await child.process.wait() == 0
        finally:
            await supervisor.stop(child, 5)


@pytest.mark.parametrize(
    "module", ["services.router", "services.asr", "services.dialogue", "services.tts", "services.dialogue.llama_server"]
)
def test_every_service_says_its_version(module: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout == f"halfbeat {halfbeat.__version__}\n"
