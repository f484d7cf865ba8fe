"""The edges over the real call, floor and playout: the router's own wiring on the in-memory bus, real sockets."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import web
from openai import AsyncOpenAI
from scene import Scene, Script, silence, tone
from scripted_call import eventually

from halfbeat.audio import MU_LAW
from halfbeat.client import VoiceClient
from halfbeat.errors import AtCapacity, InvalidRequest, Unavailable
from halfbeat.presence import announce
from halfbeat.v1 import session_pb2, voice_pb2
from services.router.config import RouterSettings
from services.router.service import RouterService

# Pauses and models are quicker than in life, so that a call takes a second.
QUICK = {"pause_ms": 96, "sure_ms": 128, "unsure_ms": 300}


@dataclass
class Running:
    scene: Scene
    service: RouterService
    http_port: int
    grpc_port: int

    @property
    def held(self) -> int:
        """Sessions that workers hold."""
        return sum(len(worker._tasks) for worker in self.scene.workers.values())


@pytest.fixture
def script() -> Script:
    return Script(opening=["Hello."], asr_s=0.02, clause_s=0.02, ms_per_char=10, hangs_up_after=2)


@pytest.fixture
async def running(script: Script) -> AsyncIterator[Running]:
    settings = RouterSettings(name="router-1", http_port=0, grpc_port=0, slots=3, **QUICK)
    async with Scene(script) as scene:
        service = RouterService(settings, scene.bus, models=scene.models)
        app = web.Application()
        service.add_routes(app)
        runner = web.AppRunner(app, shutdown_timeout=5.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with service:
            running = Running(scene, service, runner.addresses[0][1], service.describe()["grpc_port"])
            yield running
            await eventually(lambda: running.held == 0)
        await runner.cleanup()


async def speak(send, rate_hz: int, voiced_ms: int = 600, silent_ms: int = 700) -> None:
    """Sends a turn in pieces of 20 ms, twice as fast as life."""
    pcm = tone(voiced_ms, rate_hz) + silence(silent_ms, rate_hz)
    step = rate_hz // 50 * 2
    for at in range(0, len(pcm), step):
        await send(pcm[at : at + step])
        await asyncio.sleep(0.01)


async def test_the_openai_client_holds_a_spoken_conversation(running: Running):
    openai = AsyncOpenAI(api_key="unused", websocket_base_url=f"ws://127.0.0.1:{running.http_port}/v1")
    running.scene.script.hangs_up_after = None
    async with asyncio.timeout(20), openai, openai.realtime.connect(model="city311") as connection:
        await connection.session.update(
            session={
                "type": "realtime",
                "instructions": "You answer the city's 311 line.",
                "audio": {"input": {"transcription": {"model": "whisper-1"}}},
            }
        )

        async def send(pcm: bytes) -> None:
            await connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())

        for _ in range(2):
            kinds, audio, words, transcript = [], b"", "", ""
            speaking = asyncio.create_task(speak(send, 24_000))
            async for event in connection:
                assert event.type != "error", event
                kinds.append(event.type)
                match event.type:
                    case "response.output_audio.delta":
                        audio += base64.b64decode(event.delta)
                    case "response.output_audio_transcript.delta":
                        words += event.delta
                    case "conversation.item.input_audio_transcription.completed":
                        transcript = event.transcript
                    case "response.done":
                        break
            await speaking
            assert transcript == "The trash was not picked up."
            assert words == "Okay, a truck comes tomorrow."
            assert event.response.status == "completed"
            # 10 ms a character; each clause ends on a whole frame of 20 ms.
            assert len(audio) / 48 == pytest.approx(len(words) * 10, abs=60)
            assert kinds.index("response.created") < kinds.index("response.output_audio.delta")
            spoken = [k for k in kinds if k.startswith("input_audio_buffer")]
            assert spoken == [f"input_audio_buffer.{k}" for k in ("speech_started", "speech_stopped", "committed")]
        assert running.held == 3
    assert running.scene.dialogue[0].commits[0].transcript == "The trash was not picked up."


async def test_a_realtime_client_that_asks_for_the_first_word_gets_it(running: Running, http):
    running.scene.script.answers = [["Good morning."]]
    async with http.ws_connect(f"ws://127.0.0.1:{running.http_port}/v1/realtime") as ws:
        await ws.send_json({"type": "response.create", "response": {"instructions": "Greet."}})
        async with asyncio.timeout(10):
            seen = []
            while not seen or seen[-1]["type"] != "response.done":
                seen.append(await ws.receive_json())
        kinds = [event["type"] for event in seen]
        assert "error" not in kinds
        assert kinds.count("response.created") == 1
        item = seen[-1]["response"]["output"][0]
        assert item["content"] == [{"type": "output_audio", "transcript": "Good morning."}]
        assert running.scene.dialogue[0].commits[0].instructions == "Greet."


async def test_a_phone_call_is_opened_answered_heard_and_hung_up(running: Running, http):
    async with http.ws_connect(f"ws://127.0.0.1:{running.http_port}/twilio/media") as ws:
        await ws.send_json(
            {
                "event": "start",
                "start": {
                    "streamSid": "MZ1",
                    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                    "customParameters": {"from": "+15550101"},
                },
            }
        )

        async def send(pcm: bytes) -> None:
            payload = base64.b64encode(MU_LAW.encode(pcm)).decode()
            await ws.send_json({"event": "media", "media": {"track": "inbound", "payload": payload}})

        audio_bytes = 0
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:

            async def caller() -> None:
                await eventually(lambda: heard() == 1, within_s=10)
                await speak(send, 8000)
                await eventually(lambda: heard() == 2, within_s=10)
                await speak(send, 8000)

            def heard() -> int:
                return sum(h.is_complete for dialogue in running.scene.dialogue for h in dialogue.heard)

            calling = group.create_task(caller())
            async for message in ws:
                event = json.loads(message.data)
                if event["event"] == "media":
                    audio_bytes += len(base64.b64decode(event["media"]["payload"]))
                elif event["event"] == "mark":
                    await ws.send_json(event)  # played, as Twilio says it
            calling.cancel()
        assert ws.close_code == 1000
    assert [commit.stamp.turn for commit in running.scene.dialogue[0].commits] == [0, 1, 2]
    # "Hello." and two answers, at 8 samples a ms.
    assert audio_bytes / 8 == pytest.approx(10 * (6 + 2 * 29), abs=140)


async def test_a_grpc_call_shows_captions_audio_and_where_the_time_went(running: Running):
    config = session_pb2.SessionConfig(caller_number="+15550101")
    async with (
        asyncio.timeout(20),
        VoiceClient(f"127.0.0.1:{running.grpc_port}") as client,
        client.converse(config) as call,
    ):
        speaking = asyncio.create_task(speak(call.send_audio, 16_000))
        audio, captions, done = b"", [], None
        async for event in call:
            match event:
                case voice_pb2.AgentAudio():
                    assert event.offset_samples == len(audio) // 2
                    audio += event.pcm
                case voice_pb2.Caption():
                    captions.append((event.speaker, event.text))
                case voice_pb2.Event(kind=voice_pb2.EVENT_KIND_TURN_DONE):
                    done = json.loads(event.detail_json)
                    break
        await speaking
        assert audio
        assert captions[0] == (voice_pb2.SPEAKER_CALLER, "The trash was not picked up.")
        assert captions[-1] == (voice_pb2.SPEAKER_AGENT, "a truck comes tomorrow.")
        assert sum(done["hops_ms"].values()) == done["v2v_ms"] > 0


async def test_half_a_minute_at_once_is_too_fast_and_another_call_does_not_notice(running: Running, http):
    async with (
        asyncio.timeout(20),
        VoiceClient(f"127.0.0.1:{running.grpc_port}") as client,
        client.converse() as other,
        http.ws_connect(f"ws://127.0.0.1:{running.http_port}/v1/realtime") as ws,
    ):
        second = base64.b64encode(silence(1000, 24_000)).decode()
        for _ in range(30):
            await ws.send_json({"type": "input_audio_buffer.append", "audio": second})
        while (event := await ws.receive_json())["type"] != "error":
            pass
        assert event["error"]["code"] == "too_fast"
        await other.send_text("still here?")
        async for answer in other:
            if isinstance(answer, voice_pb2.AgentAudio) and answer.turn == 1:
                break


async def test_more_calls_than_slots_are_refused_as_at_capacity(running: Running):
    async with VoiceClient(f"127.0.0.1:{running.grpc_port}") as client:
        three = (client.converse(), client.converse(), client.converse())
        async with three[0], three[1], three[2]:
            with pytest.raises(AtCapacity, match="3 calls"):
                async with client.converse():
                    pass


async def test_a_router_that_drains_lets_a_call_end_and_refuses_new_ones(running: Running):
    async with VoiceClient(f"127.0.0.1:{running.grpc_port}") as client:
        async with client.converse() as call:
            draining = asyncio.create_task(running.service.drain())
            await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="draining"):
                async with client.converse():
                    pass
            assert not draining.done()
            await call.end()
        async with asyncio.timeout(5):
            await draining


async def test_a_router_that_starts_refuses_calls_until_its_models_are_loaded(http, script):
    async with Scene(script) as scene:
        service = RouterService(RouterSettings(name="r", grpc_port=0), scene.bus, models=scene.models)
        app = web.Application()
        service.add_routes(app)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with http.ws_connect(f"ws://127.0.0.1:{runner.addresses[0][1]}/v1/realtime") as ws:
            await ws.send_json({"type": "response.create"})
            while (event := await ws.receive_json())["type"] != "error":
                pass
            assert (event["error"]["code"], event["error"]["type"]) == ("unavailable", "server_error")
        await runner.cleanup()


async def test_the_page_shows_who_is_there_and_the_call_with_its_waterfall(running: Running, http):
    facts = {"engine": "moonshine", "slots": 4}
    present = asyncio.create_task(announce(running.scene.bus, "asr", "asr-1.example", facts))
    async with http.get(f"http://127.0.0.1:{running.http_port}/events") as events, asyncio.timeout(20):
        service = await row(events, "asr asr-1.example")
        assert (service["state"], service["details"]) == ("ready", "engine moonshine, slots 4")
        async with VoiceClient(f"127.0.0.1:{running.grpc_port}") as client, client.converse() as call:
            await speak(call.send_audio, 16_000)
            while True:
                turns = (await told(events, "call"))["turns"]
                if turns and turns[-1]["turn"] == 1 and turns[-1]["hops_ms"]:
                    break
        assert turns[-1]["caller"] == "The trash was not picked up."
        assert sum(turns[-1]["hops_ms"].values()) == turns[-1]["v2v_ms"]
        present.cancel()
        await asyncio.gather(present, return_exceptions=True)
        assert (await row(events, "asr"))["state"] == "not there"


def test_a_router_open_to_the_world_does_not_start():
    with pytest.raises(InvalidRequest, match="HALFBEAT_ROUTER_API_KEYS"):
        RouterService(RouterSettings(name="r", http_host="0.0.0.0"), bus=None)


async def row(events, name: str) -> dict:
    """Waits until the page shows a service of this name."""
    while True:
        data = await told(events, "all", "about")
        for service in data.get("about", data)["services"]:
            if service["name"] == name:
                return service


async def told(events, *kinds: str) -> dict:
    while True:
        kind = (await events.content.readline()).decode().strip().removeprefix("event: ")
        data = (await events.content.readline()).decode()
        await events.content.readline()
        if kind in kinds:
            return json.loads(data.removeprefix("data: "))
