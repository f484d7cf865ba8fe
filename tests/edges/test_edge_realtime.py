"""The Realtime edge over real sockets; the `openai` client is used as it comes."""

import asyncio
import base64
import json
from contextlib import suppress

import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError
from edge_server import SETTINGS, HttpRouter, serve_http
from openai import AsyncOpenAI
from prometheus_client import REGISTRY
from scripted_call import eventually

from halfbeat.errors import AtCapacity
from halfbeat.v1 import common_pb2
from services.router import edge
from services.router.edges.door import Door
from services.router.edges.settings import EdgeSettings

PCM = bytes(960)


@pytest.fixture
async def openai(router: HttpRouter):
    async with AsyncOpenAI(
        api_key="unused", websocket_base_url=f"{router.ws_url}/v1", base_url="http://unused"
    ) as client:
        yield client


async def test_the_openai_client_holds_a_spoken_conversation(openai, calls):
    async with asyncio.timeout(10), openai.realtime.connect(model="halfbeat-311") as connection:
        created = await connection.recv()
        assert (created.type, created.session.model) == ("session.created", "halfbeat-311")
        await connection.recv()
        await connection.session.update(
            session={
                "type": "realtime",
                "instructions": "You answer the city's 311 line.",
                "audio": {"input": {"transcription": {"model": "whisper-1"}, "noise_reduction": {"type": "far_field"}}},
                "tools": [{"type": "function", "name": "schedule_pickup", "parameters": {"type": "object"}}],
            }
        )
        updated = await connection.recv()
        assert updated.session.audio.input.turn_detection.type == "server_vad"
        assert updated.session.audio.input.noise_reduction.type == "far_field"
        await connection.input_audio_buffer.append(audio=base64.b64encode(PCM).decode())
        await eventually(lambda: calls.calls and calls.last.audio == PCM)
        call = calls.last
        assert call.sid == created.session.id
        assert call.fmt == edge.EdgeFormat(sample_rate_hz=24000, asks_silent_caller=False, cleaning=edge.Cleaning.ECHO)
        assert call.config.instructions == "You answer the city's 311 line."
        call.emit(
            edge.SpeechStarted(1, 100),
            edge.SpeechStopped(1, 900),
            edge.TurnCommitted(1, "my trash was missed"),
            edge.ToolCalled(1, "c1", "schedule_pickup", "{}", True),
        )
        seen = []
        async for event in connection:
            seen.append(event)
            if event.type == "response.function_call_arguments.done":
                assert (event.name, event.call_id) == ("schedule_pickup", "c1")
            if event.type == "response.done":
                break
        await connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": "c1", "output": '{"ok": true}'}
        )
        await connection.response.create()
        await eventually(lambda: call.did("return_tool"))
        call.emit(
            edge.AnswerStarted(1, 410),
            edge.AgentCaption(1, 0, "A truck comes tomorrow."),
            *(edge.AgentAudio(bytes([i, 0]) * 480, 0, 1, 480 * i) for i in range(3)),
            edge.AnswerDone(1, "A truck comes tomorrow.", False, 20, 6),
        )
        audio, words, transcript = b"", "", ""
        async for event in connection:
            seen.append(event)
            match event.type:
                case "response.output_audio.delta":
                    audio += base64.b64decode(event.delta)
                case "response.output_audio_transcript.delta":
                    words += event.delta
                case "response.done":
                    assert event.response.status == "completed"
                    assert event.response.usage.output_tokens == 6
                    break
        transcript = next(e.transcript for e in seen if e.type.endswith("input_audio_transcription.completed"))
        assert audio == b"".join(bytes([i, 0]) * 480 for i in range(3))
        assert (transcript, words) == ("my trash was missed", "A truck comes tomorrow.")
    await eventually(lambda: call.ended_by == "caller")


async def test_the_openai_client_interrupts_and_truncates(openai, calls):
    async with asyncio.timeout(10), openai.realtime.connect(model="m") as connection:
        await connection.response.create()
        await eventually(lambda: calls.calls)
        calls.last.emit(edge.AgentCaption(0, 0, "Hello."), edge.AgentAudio(PCM, 0, 0, 0))
        async for event in connection:
            if event.type == "response.output_audio.delta":
                break
        await connection.response.cancel()
        await connection.conversation.item.truncate(item_id=event.item_id, content_index=0, audio_end_ms=15)
        await eventually(lambda: calls.last.did("truncate"))
        assert calls.last.asked[-2:] == [("interrupt",), ("truncate", 0, 15)]


async def test_the_openai_client_gets_an_error_event_and_goes_on(openai, calls):
    async with asyncio.timeout(10), openai.realtime.connect(model="m") as connection:
        await connection.send({"type": "input_audio_buffer.append", "audio": "!!rubbish!!", "event_id": "mine"})
        async for event in connection:
            if event.type == "error":
                break
        assert (event.error.code, event.error.param, event.error.event_id) == ("invalid_value", "audio", "mine")
        await connection.input_audio_buffer.append(audio=base64.b64encode(PCM).decode())
        await eventually(lambda: calls.last.audio == PCM)


async def test_a_wrong_key_is_refused_and_the_right_one_works_three_ways(http, calls):
    runner, port = await serve_http(calls, Door(hosts=["127.0.0.1"], api_keys=["right"]), SETTINGS)
    url = f"ws://127.0.0.1:{port}/v1/realtime"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic right"}):
        with pytest.raises(WSServerHandshakeError) as refused:
            await http.ws_connect(url, headers=headers)
        assert refused.value.status == 403
    openai = AsyncOpenAI(api_key="right", websocket_base_url=f"ws://127.0.0.1:{port}/v1")
    async with openai, openai.realtime.connect(model="m") as connection:
        assert (await connection.recv()).type == "session.created"
    async with http.ws_connect(url, protocols=("realtime", "openai-insecure-api-key.right")) as ws:
        assert ws.protocol == "realtime"
        assert (await ws.receive_json())["type"] == "session.created"
    await runner.cleanup()


async def test_a_beta_client_is_known_by_its_header(router, http):
    headers = {"OpenAI-Beta": "realtime=v1"}
    async with http.ws_connect(f"{router.ws_url}/v1/realtime?model=m", headers=headers) as ws:
        session = (await ws.receive_json())["session"]
        assert session["input_audio_format"] == "pcm16"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("not json", "invalid_json"),
        ("[" * 50_000, "invalid_json"),
        ("5", "invalid_event"),
        (b"\0\1", "invalid_event"),
        (json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 10_000_000}), "event_too_large"),
        (json.dumps({"type": "input_audio_buffer.append", "audio": "AAAA"}), "invalid"),
        (json.dumps({"type": "hologram.begin"}), "unsupported_event"),
    ],
)
async def test_rubbish_gets_an_error_event_and_the_connection_lives_on(router, http, raw, code):
    async with http.ws_connect(f"{router.ws_url}/v1/realtime") as ws:
        before = counted(code)
        await (ws.send_bytes(raw) if isinstance(raw, bytes) else ws.send_str(raw))
        error = await until(ws, "error")
        assert (error["error"]["type"], error["error"]["code"]) == ("invalid_request_error", code)
        assert counted(code) == before + 1
        await ws.send_json({"type": "input_audio_buffer.append", "audio": base64.b64encode(PCM).decode()})
        await eventually(lambda: router.calls.calls and router.calls.last.audio == PCM)


async def test_a_frame_beyond_all_measure_closes_that_socket_only(router, http):
    async with http.ws_connect(f"{router.ws_url}/v1/realtime") as other:
        await other.send_json({"type": "response.create"})
        await eventually(lambda: router.calls.calls)
        async with http.ws_connect(f"{router.ws_url}/v1/realtime") as ws:
            with suppress(ConnectionError):
                await ws.send_str("x" * 17_000_000)
                assert await closed(ws) == 1009
        assert router.calls.last.ended_by is None


async def test_without_a_free_slot_an_error_says_so_and_the_socket_closes(router, http):
    router.calls.refusal = AtCapacity("no worker has a free slot")
    async with http.ws_connect(f"{router.ws_url}/v1/realtime") as ws:
        await ws.send_json({"type": "response.create"})
        error = (await until(ws, "error"))["error"]
        assert (error["type"], error["code"]) == ("server_error", "at_capacity")
        assert await closed(ws) == 1013


async def test_a_call_that_fails_says_why_and_closes(router, http):
    async with http.ws_connect(f"{router.ws_url}/v1/realtime") as ws:
        await ws.send_json({"type": "response.create"})
        await eventually(lambda: router.calls.calls)
        failure = common_pb2.Error(code=common_pb2.ERROR_CODE_UNAVAILABLE, message="asr is gone")
        router.calls.last.emit(edge.Ended("router", failure))
        assert (await until(ws, "error"))["error"]["message"] == "asr is gone"
        assert await closed(ws) == 1013


async def test_the_agent_hanging_up_closes_the_socket_normally(router, http):
    async with http.ws_connect(f"{router.ws_url}/v1/realtime") as ws:
        await ws.send_json({"type": "response.create"})
        await eventually(lambda: router.calls.calls)
        router.calls.last.emit(edge.Ended("agent"))
        assert await closed(ws) == 1000


async def test_a_client_that_never_reads_is_cut_off_and_others_are_not(router, http):
    async with http.ws_connect(f"{router.ws_url}/v1/realtime") as other:
        await other.send_json({"type": "response.create"})
        await eventually(lambda: router.calls.calls)
        session = ClientSession(read_bufsize=1024)
        stuck_ws = await session.ws_connect(f"{router.ws_url}/v1/realtime")
        await stuck_ws.send_json({"type": "response.create"})
        await eventually(lambda: len(router.calls.calls) == 2)
        stuck = router.calls.last
        stuck.emit(*(edge.AgentAudio(bytes(64_000), 0, 0, 32_000 * i) for i in range(400)))
        await eventually(lambda: stuck.ended_by == "caller")
        assert router.calls.calls[0].ended_by is None
        await session.close()


async def test_a_connection_that_says_nothing_is_closed(http, calls):
    runner, port = await serve_http(calls, Door(hosts=["127.0.0.1"]), EdgeSettings(first_message_s=0.05))
    async with http.ws_connect(f"ws://127.0.0.1:{port}/v1/realtime") as ws:
        assert (await until(ws, "error"))["error"]["code"] == "timed_out"
        assert await closed(ws) == 1013
    await runner.cleanup()


async def test_a_session_ends_at_its_longest_duration(http, calls):
    runner, port = await serve_http(calls, Door(hosts=["127.0.0.1"]), EdgeSettings(max_call_s=0.1))
    async with http.ws_connect(f"ws://127.0.0.1:{port}/v1/realtime") as ws:
        await ws.send_json({"type": "response.create"})
        assert "longest duration" in (await until(ws, "error"))["error"]["message"]
        assert await closed(ws) == 1013
    assert calls.last.ended_by == "caller"
    await runner.cleanup()


async def test_a_page_of_another_site_or_a_rebound_name_cannot_use_an_open_door(router, http):
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        with pytest.raises(WSServerHandshakeError) as refused:
            await http.ws_connect(f"{router.ws_url}/v1/realtime", headers=headers)
        assert refused.value.status == 403
    own = {"Origin": f"http://127.0.0.1:{router.port}"}
    async with http.ws_connect(f"{router.ws_url}/v1/realtime", headers=own) as ws:
        assert (await ws.receive_json())["type"] == "session.created"


async def until(ws, kind):
    async with asyncio.timeout(5):
        while (event := await ws.receive_json())["type"] != kind:
            pass
    return event


async def closed(ws):
    async with asyncio.timeout(5):
        while True:
            message = await ws.receive()
            if message.type is WSMsgType.CLOSE:
                return message.data
            assert message.type is WSMsgType.TEXT, message


def counted(reason: str) -> float:
    return REGISTRY.get_sample_value("halfbeat_edge_bad_input_total", {"edge": "realtime", "reason": reason}) or 0.0
