"""Real speech over the other two edges, with real models, in one running system: `openai`'s own client, and gRPC."""

import asyncio
import base64
import json
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from halfbeat.caller.conversation import converse
from halfbeat.caller.phone import Phone
from halfbeat.caller.tap import tapped
from halfbeat.caller.transports import dial
from halfbeat.caller.voice import speak
from halfbeat.supervisor import Plan, Running, everything

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.models,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    state = tmp_path_factory.mktemp("up")
    async with everything(Plan(state, http_port=0, grpc_port=0, drain_s=5), lambda *_: None) as started:
        yield started


async def test_the_openai_client_holds_a_spoken_conversation_with_real_models(running: Running) -> None:
    [line] = await speak(["What is the capital of France?"], 24_000)
    client = AsyncOpenAI(api_key="unused", websocket_base_url=running.http_url.replace("http", "ws") + "/v1")
    heard, said, audio = "", "", b""
    async with asyncio.timeout(120), client, client.realtime.connect(model="halfbeat") as connection:
        await connection.session.update(
            session={
                "type": "realtime",
                "instructions": "You are a friendly guide. Answer in one short sentence.",
                "audio": {"input": {"transcription": {"model": "whisper-1"}}},
            }
        )

        async def talk() -> None:
            pcm = np.concatenate([line.pcm, np.zeros(24_000 * 20, np.int16)]).tobytes()
            for at in range(0, len(pcm), 960):
                await connection.input_audio_buffer.append(audio=base64.b64encode(pcm[at : at + 960]).decode())
                await asyncio.sleep(0.02)

        talking = asyncio.create_task(talk())
        async for event in connection:
            match event.type:
                case "conversation.item.input_audio_transcription.completed":
                    heard = event.transcript
                case "response.output_audio.delta":
                    audio += base64.b64decode(event.delta)
                case "response.output_audio_transcript.done":
                    said = event.transcript
                case "response.done":
                    assert event.response.status == "completed"
                    break
                case "error":
                    pytest.fail(str(event))
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
    assert "france" in heard.lower()
    assert "paris" in said.lower()
    samples = np.frombuffer(audio, "<i2")
    assert samples.size > 24_000 // 4
    assert np.abs(samples).max() > 1000


async def test_a_call_over_grpc_is_answered_and_can_be_traced_and_replayed(running: Running) -> None:
    phone = Phone(24_000)
    lines = await speak(["Yes, nobody picked up our trash.", "No, goodbye."], phone.sample_rate_hz)
    async with tapped(running.nats_url, None) as tap:
        assert tap is not None
        async with dial("grpc", running.grpc_target, phone, "+15550100143") as call:
            await converse(call, lines, limit_s=120)
        await tap.settle()
    assert phone.said[0].answer is not None
    assert "tomorrow" in tap.record.turns[1].agent
    for command, expected in (("trace", "asr.flush"), ("replay", "Oak Street")):
        told = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "halfbeat.cli", command, tap.sid, "--nats-url", running.nats_url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        assert expected in told.stdout
    told = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "halfbeat.cli", "replay", tap.sid, "--json", "--nats-url", running.nats_url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    kinds = {json.loads(line)["kind"] for line in told.stdout.splitlines()}
    assert {"asr.final", "turn.commit", "dialogue.clause", "turn.heard", "turn.done", "session.close"} <= kinds


async def test_every_service_is_healthy_and_shows_its_metrics(running: Running) -> None:
    def get(url: str) -> str:
        with urllib.request.urlopen(url, timeout=10) as response:
            return str(response.read().decode())

    for name in ("router", "asr", "dialogue", "tts"):
        base = running.children[name].http
        assert await asyncio.to_thread(get, f"{base}/healthz") == "ok\n"
        assert await asyncio.to_thread(get, f"{base}/readyz") == "ready\n"
        assert "halfbeat_loop_lag_seconds_bucket" in await asyncio.to_thread(get, f"{base}/metrics")
    assert "halfbeat_v2v_seconds_count" in await asyncio.to_thread(get, f"{running.http_url}/metrics")
