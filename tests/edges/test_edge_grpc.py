import asyncio
import json

import grpc
import grpc.aio
import pytest
from edge_server import SETTINGS
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY
from scripted_call import eventually

from halfbeat.client import VoiceClient
from halfbeat.errors import AtCapacity, Denied, InvalidRequest, TimedOut, TooFast, Unavailable
from halfbeat.v1 import common_pb2, session_pb2, voice_pb2, voice_pb2_grpc
from services.router import edge
from services.router.edge import Cleaning
from services.router.edges.door import Door
from services.router.edges.grpc import GrpcEdge
from services.router.edges.settings import EdgeSettings


@pytest.fixture
async def client(voice):
    async with VoiceClient(f"127.0.0.1:{voice.port}", timeout_s=5) as client:
        yield client


async def test_the_configuration_places_the_call_and_started_names_it(client, calls):
    config = session_pb2.SessionConfig(caller_number="+15550101", has_opening=True)
    async with client.converse(config, sample_rate_hz=24000, reports_playout=True) as call:
        assert call.sid == calls.last.sid
        assert calls.last.config == config
        assert (calls.last.fmt.sample_rate_hz, calls.last.fmt.reports_playout) == (24000, True)


@pytest.mark.parametrize(
    ("wanted", "cleaning"),
    [
        (voice_pb2.CLEANING_UNSPECIFIED, Cleaning.ECHO),
        (voice_pb2.CLEANING_NOISE, Cleaning.NOISE),
        (voice_pb2.CLEANING_NOTHING, Cleaning.NOTHING),
    ],
)
async def test_a_client_that_cancels_echo_itself_says_so(client, calls, wanted, cleaning):
    async with client.converse(cleaning=wanted):
        assert calls.last.fmt.cleaning is cleaning


async def test_what_the_client_sends_reaches_the_call_in_order(client, calls):
    async with client.converse() as call:
        await call.send_audio(b"\1\0" * 320)
        await call.played(160)
        await call.send_text("hello")
        await call.interrupt()
        await eventually(lambda: calls.last.did("interrupt"))
        assert calls.last.asked == [("receive_audio",), ("played", 160), ("send_text", "hello"), ("interrupt",)]
        assert calls.last.audio == b"\1\0" * 320


async def test_what_happens_on_the_call_reaches_the_client_in_order(client, calls):
    error = common_pb2.Error(code=common_pb2.ERROR_CODE_ENGINE, message="tts failed", retryable=True)
    async with client.converse() as call:
        calls.last.emit(
            edge.SpeechStarted(1, 500),
            edge.CallerCaption(1, "trash pickup", False),
            edge.TurnCommitted(1, "my trash"),
            edge.AnswerStarted(1, 420),
            edge.AgentCaption(1, 0, "Sorry about that."),
            edge.AgentAudio(b"\2\0" * 320, epoch=2, turn=1, offset_samples=640),
            edge.ToolCalled(1, "c1", "schedule_pickup", '{"day": "tomorrow"}', False),
            edge.ToolReturned(1, "c1", "schedule_pickup", '{"ok": true}', None),
            edge.Interrupted(1, 3, 80),
            edge.AnswerDone(1, "Sorry", True, 10, 5),
            edge.TurnDone(1, 420, {"endpoint": 200, "asr.flush": 50}, True, "abc"),
            edge.Failed(error),
            edge.Ended("agent"),
        )
        seen = [event async for event in call]
    kinds = [
        voice_pb2.EventKind.Name(e.kind).removeprefix("EVENT_KIND_") if isinstance(e, voice_pb2.Event) else type(e)
        for e in seen
    ]
    assert kinds == [
        "SPEECH_STARTED", voice_pb2.Caption, "TURN_COMMITTED", "ANSWER_STARTED", voice_pb2.Caption,
        voice_pb2.AgentAudio, "TOOL_CALLED", "TOOL_RETURNED", "INTERRUPTED", "ANSWER_DONE", "TURN_DONE",
        common_pb2.Error, voice_pb2.Ended,
    ]  # fmt: skip
    assert seen[5] == voice_pb2.AgentAudio(pcm=b"\2\0" * 320, epoch=2, turn=1, offset_samples=640)
    assert json.loads(seen[6].detail_json)["arguments"] == {"day": "tomorrow"}
    assert seen[8].epoch == 3
    assert json.loads(seen[10].detail_json)["hops_ms"] == {"endpoint": 200, "asr.flush": 50}
    assert seen[12].by == "agent"


async def test_an_explicit_end_hangs_up_and_the_status_is_ok(client, calls):
    async with client.converse() as call:
        await call.end()
        assert [type(e) async for e in call] == [voice_pb2.Ended]
    assert calls.last.ended_by == "caller"


async def test_a_request_stream_that_ends_without_end_is_a_lost_caller(voice, calls):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{voice.port}") as channel:
        stream = voice_pb2_grpc.VoiceStub(channel).Converse(timeout=5)
        await stream.write(configure())
        await stream.read()
        await stream.done_writing()
        await eventually(lambda: calls.last.ended_by == "caller")
        assert (await stream.read()).WhichOneof("response") == "ended"


async def test_a_client_that_cancels_is_a_lost_caller(voice, calls):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{voice.port}") as channel:
        stream = voice_pb2_grpc.VoiceStub(channel).Converse(timeout=5)
        await stream.write(configure())
        await stream.read()
        stream.cancel()
        await eventually(lambda: calls.last.ended_by == "caller")


@pytest.mark.parametrize("rate_hz", [0, 11025, 44100])
async def test_a_rate_that_is_not_supported_is_an_invalid_argument(client, calls, rate_hz):
    with pytest.raises(InvalidRequest, match="sample_rate"):
        async with client.converse(sample_rate_hz=rate_hz):
            pass
    assert not calls.calls


async def test_audio_before_the_configuration_is_an_invalid_argument(voice, calls):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{voice.port}") as channel:
        stream = voice_pb2_grpc.VoiceStub(channel).Converse(timeout=5)
        await stream.write(voice_pb2.ConverseRequest(audio=b"\0\0"))
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "configure" in await stream.details()
    assert not calls.calls


async def test_a_stream_that_never_configures_runs_into_a_deadline(calls):
    door = Door(hosts=["127.0.0.1"])
    async with (
        GrpcEdge(calls, door, EdgeSettings(first_message_s=0.05), host="127.0.0.1", port=0) as voice,
        grpc.aio.insecure_channel(f"127.0.0.1:{voice.port}") as channel,
    ):
        stream = voice_pb2_grpc.VoiceStub(channel).Converse(timeout=5)
        assert await stream.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (voice_pb2.ConverseRequest(audio=b"\0" * 321), "cut in half"),
        (voice_pb2.ConverseRequest(audio=b"\0" * 10_000), "at most 200 ms"),
        (voice_pb2.ConverseRequest(text=" "), "text must have"),
        (voice_pb2.ConverseRequest(), "does not know"),
        (voice_pb2.ConverseRequest(configure=voice_pb2.Configure(sample_rate=16000)), "only once"),
    ],
)
async def test_a_bad_message_is_answered_with_an_error_and_the_call_goes_on(voice, calls, request_, text):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{voice.port}") as channel:
        stream = voice_pb2_grpc.VoiceStub(channel).Converse(timeout=5)
        await stream.write(configure())
        await stream.read()
        before = counted("invalid")
        await stream.write(request_)
        answer = await stream.read()
        assert answer.error.code == common_pb2.ERROR_CODE_INVALID
        assert text in answer.error.message
        assert counted("invalid") == before + 1
        await stream.write(voice_pb2.ConverseRequest(audio=b"\0\0"))
        await eventually(lambda: calls.last.audio)


async def test_too_fast_is_answered_with_an_error_and_the_call_goes_on(client, calls):
    async with client.converse() as call:
        calls.last.failures["receive_audio"] = TooFast("more than real time")
        await call.send_audio(b"\0\0")
        error = await anext(aiter(call))
        assert error.code == common_pb2.ERROR_CODE_TOO_FAST
        assert calls.last.ended_by is None


async def test_ten_megabytes_in_one_message_end_that_call_only(voice, client, calls):
    async with client.converse() as other:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{voice.port}") as channel:
            stream = voice_pb2_grpc.VoiceStub(channel).Converse(timeout=5)
            await stream.write(configure())
            await stream.read()
            await stream.write(voice_pb2.ConverseRequest(audio=bytes(10_000_000)))
            assert await stream.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await eventually(lambda: calls.last.ended_by)
        await other.send_text("still here")
        await eventually(lambda: calls.calls[0].did("send_text"))


async def test_a_client_that_never_reads_is_cut_off_and_others_are_not(voice, client, calls):
    async with client.converse() as other, grpc.aio.insecure_channel(f"127.0.0.1:{voice.port}") as channel:
        stream = voice_pb2_grpc.VoiceStub(channel).Converse(timeout=20)
        await stream.write(configure())
        await eventually(lambda: len(calls.calls) == 2)
        stuck = calls.last
        stuck.emit(*(edge.AgentAudio(bytes(64_000), 0, 0, 32_000 * i) for i in range(400)))
        await eventually(lambda: stuck.ended_by == "caller")
        await eventually(lambda: REGISTRY.get_sample_value("halfbeat_edge_connections", {"edge": "grpc"}) == 1)
        await other.send_text("still here")
        await eventually(lambda: calls.calls[0].did("send_text"))
        stream.cancel()


async def test_without_a_free_slot_the_status_is_resource_exhausted_and_the_client_raises_at_capacity(client, calls):
    calls.refusal = AtCapacity("no worker has a free slot")
    with pytest.raises(AtCapacity, match="free slot"):
        async with client.converse():
            pass


async def test_a_call_that_fails_ends_with_its_error_and_its_status(voice, calls):
    error = common_pb2.Error(code=common_pb2.ERROR_CODE_UNAVAILABLE, message="asr is gone", retryable=True)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{voice.port}") as channel:
        stream = voice_pb2_grpc.VoiceStub(channel).Converse(timeout=5)
        await stream.write(configure())
        await stream.read()
        calls.last.emit(edge.Ended("router", error))
        assert (await stream.read()).error == error
        assert (await stream.read()).ended.by == "router"
        assert await stream.code() is grpc.StatusCode.UNAVAILABLE
        assert await stream.details() == "asr is gone"


async def test_a_wrong_key_is_permission_denied(calls):
    door = Door(hosts=["127.0.0.1"], api_keys=["right"])
    async with GrpcEdge(calls, door, SETTINGS, host="127.0.0.1", port=0) as voice:
        target = f"127.0.0.1:{voice.port}"
        with pytest.raises(Denied):
            async with VoiceClient(target, api_key="wrong") as client, client.converse():
                pass
        async with VoiceClient(target, api_key="right") as client, client.converse() as call:
            assert call.sid


async def test_who_has_no_key_and_says_nothing_does_not_hold_a_stream(calls):
    door, settings = Door(hosts=["127.0.0.1"], api_keys=["right"]), EdgeSettings(first_message_s=600.0)
    async with (
        asyncio.timeout(30),
        GrpcEdge(calls, door, settings, host="127.0.0.1", port=0) as voice,
        grpc.aio.insecure_channel(f"127.0.0.1:{voice.port}") as channel,
    ):
        assert await voice_pb2_grpc.VoiceStub(channel).Converse().code() is grpc.StatusCode.PERMISSION_DENIED


async def test_the_fourth_call_is_refused_when_three_are_allowed(client, calls):
    async with client.converse(), client.converse(), client.converse():
        with pytest.raises(AtCapacity):
            async with client.converse():
                pass
    async with client.converse():
        pass


async def test_health_says_serving_until_told_otherwise(voice):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{voice.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="halfbeat.v1.Voice")
        assert (await stub.Check(request, timeout=5)).status == health_pb2.HealthCheckResponse.SERVING
        await voice.set_serving(False)
        assert (await stub.Check(request, timeout=5)).status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_port_that_is_taken_is_a_clear_error(voice, calls):
    with pytest.raises(Exception, match="HALFBEAT_ROUTER_GRPC_PORT"):
        async with GrpcEdge(calls, Door(hosts=["127.0.0.1"]), SETTINGS, host="127.0.0.1", port=voice.port):
            pass


async def test_the_client_says_when_no_router_answers():
    with pytest.raises(Unavailable, match="no router answers"):
        async with VoiceClient("127.0.0.1:1", timeout_s=0.2):
            pass


async def test_the_client_gives_up_on_a_silent_router(client):
    async with client.converse(idle_timeout_s=0.05) as call:
        with pytest.raises(TimedOut, match="said nothing"):
            await anext(aiter(call))


def configure() -> voice_pb2.ConverseRequest:
    return voice_pb2.ConverseRequest(configure=voice_pb2.Configure(sample_rate=16000))


def counted(reason: str) -> float:
    return REGISTRY.get_sample_value("halfbeat_edge_bad_input_total", {"edge": "grpc", "reason": reason}) or 0.0
