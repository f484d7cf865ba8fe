import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError
from edge_server import SETTINGS, HttpRouter, serve_http
from prometheus_client import REGISTRY
from scripted_call import ScriptedCall, ScriptedCalls, eventually

from halfbeat.audio import MU_LAW
from halfbeat.errors import AtCapacity, InvalidRequest, TooFast
from services.router.edge import AgentAudio, Ended, Interrupted
from services.router.edges.door import Door
from services.router.edges.settings import EdgeSettings
from services.router.edges.twilio import signature

SILENCE = b"\xff" * 160


def start(**changes: Any) -> dict[str, Any]:
    return {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": "MZ1",
        "start": {
            "streamSid": "MZ1",
            "callSid": "CA1",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"from": "+15550101", "to": "+15550100", "city": "Springfield"},
        }
        | changes,
    }


def media(payload: bytes | str) -> dict[str, Any]:
    text = payload if isinstance(payload, str) else base64.b64encode(payload).decode()
    return {"event": "media", "streamSid": "MZ1", "media": {"track": "inbound", "payload": text}}


@asynccontextmanager
async def dialled(
    router: HttpRouter, http: ClientSession, **changes: Any
) -> AsyncIterator[tuple[ClientWebSocketResponse, ScriptedCall]]:
    async with http.ws_connect(f"{router.ws_url}/twilio/media") as ws:
        await ws.send_json({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        await ws.send_json(start(**changes))
        await eventually(lambda: router.calls.calls)
        yield ws, router.calls.last


async def closing(ws: ClientWebSocketResponse) -> tuple[int | None, str]:
    """Reads until the server closes; returns its code and reason."""
    async with asyncio.timeout(5):
        while True:
            message = await ws.receive()
            if message.type is WSMsgType.CLOSE:
                return message.data, message.extra or ""
            assert message.type is WSMsgType.TEXT, message


def counted(reason: str) -> float:
    return REGISTRY.get_sample_value("halfbeat_edge_bad_input_total", {"edge": "twilio", "reason": reason}) or 0.0


async def test_start_places_a_call_with_the_callers_number_and_the_other_parameters(router, http):
    async with dialled(router, http) as (_, call):
        assert call.config.caller_number == "+15550101"
        assert dict(call.config.attributes) == {
            "to": "+15550100",
            "city": "Springfield",
            "edge": "twilio",
            "call_sid": "CA1",
        }
        assert call.config.has_opening
        assert (call.fmt.sample_rate_hz, call.fmt.reports_playout) == (8000, True)


async def test_the_callers_mu_law_reaches_the_call_as_pcm(router, http):
    codes = bytes(range(160))
    async with dialled(router, http) as (ws, call):
        await ws.send_json(media(codes))
        await eventually(lambda: call.audio)
        assert call.audio == MU_LAW.decode(codes)


async def test_the_agents_audio_comes_as_mu_law_followed_by_a_mark(router, http):
    pcm = MU_LAW.decode(bytes(range(160)))
    async with dialled(router, http) as (ws, call):
        call.emit(AgentAudio(pcm, epoch=0, turn=0, offset_samples=320))
        frame, mark = await ws.receive_json(), await ws.receive_json()
        assert frame["event"] == "media"
        assert frame["streamSid"] == "MZ1"
        assert MU_LAW.decode(base64.b64decode(frame["media"]["payload"])) == pcm
        await ws.send_json({"event": "mark", "streamSid": "MZ1", "mark": mark["mark"]})
        await eventually(lambda: call.played_samples)
        assert call.played_samples == 480


async def test_marks_that_a_clear_brings_back_do_not_count_as_played(router, http):
    async with dialled(router, http) as (ws, call):
        call.emit(*(AgentAudio(bytes(320), 0, 0, 160 * i) for i in range(3)))
        marks = [(await ws.receive_json(), await ws.receive_json())[1]["mark"] for _ in range(3)]
        await ws.send_json({"event": "mark", "streamSid": "MZ1", "mark": marks[0]})
        await eventually(lambda: call.played_samples == 160)
        call.emit(Interrupted(turn=0, epoch=1, played_ms=20))
        assert (await ws.receive_json())["event"] == "clear"
        for mark in marks[1:]:
            await ws.send_json({"event": "mark", "streamSid": "MZ1", "mark": mark})
        call.emit(AgentAudio(bytes(320), 1, 1, 480))
        newer = (await ws.receive_json(), await ws.receive_json())[1]["mark"]
        await ws.send_json({"event": "mark", "streamSid": "MZ1", "mark": newer})
        await eventually(lambda: call.played_samples == 640)
        assert call.did("played") == [("played", 160), ("played", 640)]


async def test_stop_hangs_up(router, http):
    async with dialled(router, http) as (ws, call):
        await ws.send_json({"event": "stop", "streamSid": "MZ1", "stop": {"callSid": "CA1"}})
        await eventually(lambda: call.ended_by)
        assert call.ended_by == "caller"
        assert (await closing(ws))[0] == 1000


async def test_a_socket_that_closes_without_stop_is_a_caller_who_hung_up(router, http):
    async with dialled(router, http) as (ws, call):
        await ws.close()
        await eventually(lambda: call.ended_by == "caller")


async def test_the_end_of_the_call_closes_the_socket_after_the_last_audio(router, http):
    async with dialled(router, http) as (ws, call):
        call.emit(AgentAudio(bytes(320), 0, 0, 0), Ended("agent"))
        assert [(await ws.receive_json())["event"] for _ in range(2)] == ["media", "mark"]
        assert (await closing(ws))[0] == 1000


async def test_a_pressed_key_is_told_to_the_agent_without_asking_for_an_answer(router, http):
    async with dialled(router, http) as (ws, call):
        await ws.send_json({"event": "dtmf", "streamSid": "MZ1", "dtmf": {"track": "inbound_track", "digit": "5"}})
        await eventually(lambda: call.did("add_text"))
        assert call.did("add_text") == [("add_text", "[pressed the key 5]")]


async def test_one_bad_message_is_counted_and_the_call_goes_on(router, http):
    async with dialled(router, http) as (ws, call):
        before = counted("invalid")
        for bad in (
            "not json",
            "[1]",
            "{}",
            '{"event": 7}',
            '{"event": "media"}',
            json.dumps(media("!!rubbish!!")),
            '{"event":"media","media":{"payload":5}}',
            '{"event":"dtmf","dtmf":{"digit":"xx"}}',
            "[" * 50_000,
        ):
            await ws.send_str(bad)
        await ws.send_json(media(SILENCE))
        await eventually(lambda: call.audio)
        assert counted("invalid") - before == 9
        assert call.ended_by is None


async def test_a_stream_of_nothing_but_rubbish_is_closed_with_the_reason(router, http):
    async with dialled(router, http) as (ws, call):
        for _ in range(10):
            await ws.send_json(media("!!rubbish!!"))
        code, reason = await closing(ws)
        assert code == 1008
        assert "base64" in reason
        await eventually(lambda: call.ended_by)


async def test_an_event_of_a_later_version_is_counted_and_ignored(router, http):
    before = counted("unknown_event")
    async with dialled(router, http) as (ws, call):
        await ws.send_json({"event": "hologram"})
        await ws.send_json(media(SILENCE))
        await eventually(lambda: call.audio)
        assert counted("unknown_event") == before + 1


async def test_media_before_start_closes_with_the_reason(router, http):
    async with http.ws_connect(f"{router.ws_url}/twilio/media") as ws:
        await ws.send_json(media(SILENCE))
        assert await closing(ws) == (1008, "media came before start")
    assert not router.calls.calls


@pytest.mark.parametrize(
    "media_format",
    [
        {"encoding": "audio/x-mulaw", "sampleRate": 16000, "channels": 1},
        {"encoding": "audio/l16", "sampleRate": 8000, "channels": 1},
        {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 2},
        "mu-law",
    ],
)
async def test_a_format_other_than_mu_law_at_8_khz_mono_is_refused(router, http, media_format):
    async with http.ws_connect(f"{router.ws_url}/twilio/media") as ws:
        await ws.send_json(start(mediaFormat=media_format))
        code, reason = await closing(ws)
        assert code == 1008
        assert "mediaFormat" in reason
    assert not router.calls.calls


@pytest.mark.parametrize("size", [100_000, 10_000_000])
async def test_a_message_far_too_big_closes_that_socket_only(router, http, size):
    before = counted("message_too_big")
    async with dialled(router, http) as (_, other), http.ws_connect(f"{router.ws_url}/twilio/media") as ws:
        with suppress(ConnectionError):  # the server hangs up while we are still sending
            await ws.send_str("x" * size)
            assert (await closing(ws))[0] == 1009
        await eventually(lambda: counted("message_too_big") == before + 1)
        assert other.ended_by is None


async def test_audio_faster_than_real_time_is_counted_and_dropped(router, http):
    before = counted("too_fast")
    async with dialled(router, http) as (ws, call):
        call.failures["receive_audio"] = TooFast("more than real time")
        for _ in range(20):
            await ws.send_json(media(SILENCE))
        await eventually(lambda: counted("too_fast") == before + 20)
        assert call.ended_by is None


async def test_a_client_that_never_reads_is_cut_off_and_others_are_not(router, http):
    async with dialled(router, http) as (_, other):
        reader, writer = await _handshake(router, "/twilio/media")
        _send_raw(writer, start())
        await eventually(lambda: len(router.calls.calls) == 2)
        stuck = router.calls.last
        # Far more than socket buffers hold, so that writing must stop.
        stuck.emit(*(AgentAudio(bytes(64_000), 0, 0, 32_000 * i) for i in range(400)))
        await eventually(lambda: stuck.ended_by == "caller")
        await eventually(lambda: REGISTRY.get_sample_value("halfbeat_edge_connections", {"edge": "twilio"}) == 1)
        assert other.ended_by is None
        writer.transport.abort()
        del reader


async def test_a_peer_that_answers_no_ping_is_a_caller_who_is_gone(http, calls):
    runner, port = await serve_http(calls, Door(hosts=["127.0.0.1"]), EdgeSettings(heartbeat_s=0.1))
    async with http.ws_connect(f"ws://127.0.0.1:{port}/twilio/media", autoping=False) as ws:
        await ws.send_json(start())
        await eventually(lambda: calls.calls)
        await eventually(lambda: calls.last.ended_by == "caller")
    await runner.cleanup()


async def test_without_a_free_slot_the_socket_closes_as_try_again_later(router, http):
    router.calls.refusal = AtCapacity("no worker has a free slot")
    async with http.ws_connect(f"{router.ws_url}/twilio/media") as ws:
        await ws.send_json(start())
        assert await closing(ws) == (1013, "no worker has a free slot")


async def test_a_connection_beyond_the_limit_is_refused_with_503(router, http):
    sockets = [await http.ws_connect(f"{router.ws_url}/twilio/media") for _ in range(3)]
    with pytest.raises(WSServerHandshakeError) as refused:
        await http.ws_connect(f"{router.ws_url}/twilio/media")
    assert refused.value.status == 503
    for ws in sockets:
        await ws.close()


async def test_a_socket_that_never_starts_is_closed(http, calls):
    runner, port = await serve_http(calls, Door(hosts=["127.0.0.1"]), EdgeSettings(first_message_s=0.05))
    async with http.ws_connect(f"ws://127.0.0.1:{port}/twilio/media") as ws:
        assert (await closing(ws))[0] == 1013
    await runner.cleanup()


async def test_with_a_token_only_twilios_signature_opens_the_door(http, calls):
    settings = EdgeSettings(twilio_auth_token="secret", twilio_url="wss://voice.example.org/twilio/media")
    runner, port = await serve_http(calls, Door(hosts=["127.0.0.1"]), settings)
    url = f"ws://127.0.0.1:{port}/twilio/media"
    for headers in ({}, {"X-Twilio-Signature": signature("wrong", settings.twilio_url)}):
        with pytest.raises(WSServerHandshakeError) as refused:
            await http.ws_connect(url, headers=headers)
        assert refused.value.status == 403
    ws = await http.ws_connect(url, headers={"X-Twilio-Signature": signature("secret", settings.twilio_url)})
    await ws.close()
    await runner.cleanup()


def test_the_signature_is_twilios_hmac_of_the_url():
    # HMAC-SHA1 with key "12345" over the URL alone, computed with openssl.
    assert signature("12345", "wss://example.com/media") == "7PR3qMkpDyEJtMrVOY/LDyNq8J8="


async def test_keys_without_a_twilio_token_keep_the_edge_shut(http, calls):
    runner, port = await serve_http(calls, Door(hosts=["127.0.0.1"], api_keys=["k"]), SETTINGS)
    with pytest.raises(WSServerHandshakeError) as refused:
        await http.ws_connect(f"ws://127.0.0.1:{port}/twilio/media")
    assert refused.value.status == 403
    await runner.cleanup()


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_page_of_another_site_cannot_use_an_open_door(router, http, origin):
    with pytest.raises(WSServerHandshakeError) as refused:
        await http.ws_connect(f"{router.ws_url}/twilio/media", headers={"Origin": origin})
    assert refused.value.status == 403


def test_an_address_beyond_loopback_needs_keys_or_consent():
    with pytest.raises(InvalidRequest, match="HALFBEAT_ROUTER_API_KEYS"):
        Door(hosts=["127.0.0.1", "0.0.0.0"])
    Door(hosts=["0.0.0.0"], api_keys=["k"])
    Door(hosts=["0.0.0.0"], allows_open=True)
    Door(hosts=["127.0.0.1", "::1", "localhost"])


async def _handshake(router: HttpRouter, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket by hand, whose owner reads only when he likes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port, limit=1024)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{router.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b"101" in await reader.readline()
    return reader, writer


def _send_raw(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    """One masked text frame (RFC 6455), with a mask of zeros."""
    body = json.dumps(message).encode()
    assert 126 <= len(body) < 65536
    writer.write(b"\x81\xfe" + len(body).to_bytes(2, "big") + bytes(4) + body)


async def test_a_server_that_stops_closes_its_sockets_and_ends_their_calls(http, calls: ScriptedCalls):
    runner, port = await serve_http(calls, Door(hosts=["127.0.0.1"]), SETTINGS)
    ws = await http.ws_connect(f"ws://127.0.0.1:{port}/twilio/media")
    await ws.send_json(start())
    await eventually(lambda: calls.calls)
    stopping = asyncio.create_task(runner.cleanup())
    assert await closing(ws) == (1013, "this router is stopping")
    await stopping
    await eventually(lambda: calls.last.ended_by)
