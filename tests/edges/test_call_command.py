"""`halfbeat call` against a router that does not hold the call to its end."""

import asyncio
import json
import wave
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from edge_server import SETTINGS, HttpRouter
from scripted_call import ScriptedCalls, eventually

from halfbeat.audio import samples_of
from halfbeat.cli import main
from halfbeat.errors import Unavailable
from services.router.edge import AgentAudio, Ended
from services.router.edges.door import Door
from services.router.edges.grpc import GrpcEdge

DRAINING = Unavailable("this router is draining; call again")


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALFBEAT_STATE", str(tmp_path / "nothing-runs-here"))
    monkeypatch.delenv("HALFBEAT_NATS_URL", raising=False)
    path = tmp_path / "line.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\x00\x20" * 800)
    return path


async def call(*arguments: str) -> Result:
    async with asyncio.timeout(30):
        return await asyncio.to_thread(CliRunner().invoke, main, ["call", *arguments])


async def test_a_refused_call_says_why_over_either_edge(router: HttpRouter, voice: GrpcEdge, line: Path) -> None:
    router.calls.refusal = DRAINING
    by_phone = await call(str(line), "--url", f"http://127.0.0.1:{router.port}")
    by_grpc = await call(str(line), "--url", f"127.0.0.1:{voice.port}", "--edge", "grpc")
    for result in (by_phone, by_grpc):
        assert (result.exit_code, result.stderr) == (1, f"Error: {DRAINING}\n")


async def test_a_router_with_keys_is_called_with_one(calls: ScriptedCalls, line: Path) -> None:
    door = Door(hosts=["127.0.0.1"], api_keys=["right"])
    async with GrpcEdge(calls, door, SETTINGS, host="127.0.0.1", port=0) as voice:
        given = (str(line), "--url", f"127.0.0.1:{voice.port}", "--edge", "grpc", "--api-key")
        assert "no API key, or a wrong one" in (await call(*given, "wrong")).stderr
        calling = asyncio.create_task(call(*given, "right"))
        await eventually(lambda: calls.calls)
        calls.last.emit(Ended("agent"))
        assert "ended by agent" in (await calling).stdout


@pytest.mark.parametrize("edge", ["twilio", "grpc"])
async def test_a_call_that_ends_before_its_lines_were_spoken_has_failed(
    router: HttpRouter, voice: GrpcEdge, calls: ScriptedCalls, line: Path, edge: str
) -> None:
    url = f"http://127.0.0.1:{router.port}" if edge == "twilio" else f"127.0.0.1:{voice.port}"
    calling = asyncio.create_task(call(str(line), str(line), "--url", url, "--edge", edge))
    await eventually(lambda: calls.calls)
    calls.last.emit(Ended("agent"))
    result = await calling
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "line 1: not spoken, the call was over",
        "line 2: not spoken, the call was over",
        "ended by agent",
    ]


@pytest.mark.parametrize("edge", ["twilio", "grpc"])
async def test_a_call_that_fails_on_the_way_shows_what_was_said_and_why(
    router: HttpRouter, voice: GrpcEdge, calls: ScriptedCalls, line: Path, edge: str
) -> None:
    url = f"http://127.0.0.1:{router.port}" if edge == "twilio" else f"127.0.0.1:{voice.port}"
    calling = asyncio.create_task(call(str(line), "--json", "--url", url, "--edge", edge))
    await eventually(lambda: calls.calls)
    calls.last.emit(AgentAudio(b"\x00\x20" * 800, 0, 0, 0))  # after the greeting the caller speaks
    await eventually(lambda: np.abs(samples_of(calls.last.audio)).max(initial=0) > 1000)
    calls.last.emit(Ended("router", Unavailable("asr has been silent").to_message()))
    result = await calling
    assert (result.exit_code, result.stderr) == (1, "Error: asr has been silent\n")
    told = json.loads(result.stdout)
    assert (told["ended_by"], [turn["said"] for turn in told["turns"]]) == ("router", ["line.wav"])
