"""The JetStream streams: what they capture, how they are made, and reading them through trouble."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, cast

import nats
import pytest
from bus_messages import eventually, frame, take, transcript
from bus_net import Proxy
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import api

from halfbeat import subjects
from halfbeat.bus.connection import Connection
from halfbeat.bus.nats import NatsBus
from halfbeat.bus.streams import TRACES, TURNS, _Reader
from halfbeat.errors import InvalidRequest, Unavailable
from halfbeat.nats_server import EmbeddedServer
from halfbeat.settings import NatsSettings


def bus_at(url: str) -> NatsBus:
    return NatsBus(NatsSettings(url=url))  # type: ignore[call-arg]


@pytest.fixture
async def client(server: EmbeddedServer) -> AsyncIterator[Client]:
    connected = await nats.connect(server.url)
    yield connected
    await connected.close()


async def test_turns_captures_exactly_the_logged_kinds(server: EmbeddedServer, client: Client) -> None:
    async with bus_at(server.url):
        info = await client.jetstream().stream_info(TURNS.name)
    assert sorted(info.config.subjects or []) == sorted(k.all for k in subjects.KINDS if k.is_logged)
    assert "hb.v1.asr.audio.*" not in (info.config.subjects or [])
    assert info.config.max_age == 7 * 24 * 3600
    assert (info.config.max_bytes or 0) > 0
    assert info.config.storage == "file"
    assert info.config.discard == "old"


async def test_how_long_turns_are_kept_is_a_setting(server: EmbeddedServer, client: Client) -> None:
    async with NatsBus(NatsSettings(url=server.url, turns_max_age_s=3600)):  # type: ignore[call-arg]
        info = await client.jetstream().stream_info(TURNS.name)
    assert info.config.max_age == 3600


async def test_traces_are_kept_for_a_day(server: EmbeddedServer, client: Client) -> None:
    async with bus_at(server.url):
        info = await client.jetstream().stream_info(TRACES.name)
    assert info.config.subjects == ["hb.v1.trace.spans.*"]
    assert info.config.max_age == 24 * 3600


async def test_many_services_may_start_at_once(server: EmbeddedServer) -> None:
    async def start() -> None:
        async with bus_at(server.url):
            pass

    await asyncio.gather(*(start() for _ in range(8)))


async def test_an_existing_stream_gets_the_subjects_it_lacks_and_keeps_its_limits(
    server: EmbeddedServer, client: Client
) -> None:
    js = client.jetstream()
    await js.add_stream(name="TURNS", subjects=["hb.v1.asr.final.*", "hb.v1.future.kind.*"], max_age=3600)
    async with bus_at(server.url):
        config = (await js.stream_info("TURNS")).config
    assert set(config.subjects or []) == {"hb.v1.future.kind.*", *TURNS.subjects}
    assert config.max_age == 3600


async def test_a_stream_that_is_not_ours_is_a_clear_error(server: EmbeddedServer, client: Client) -> None:
    await client.jetstream().add_stream(name="OTHER", subjects=["hb.v1.asr.>"])
    with pytest.raises(InvalidRequest, match="TURNS"):
        async with bus_at(server.url):
            pass


async def test_a_server_without_jetstream_is_a_clear_error() -> None:
    async with EmbeddedServer(extra_config="jetstream: disabled") as server:
        with pytest.raises(Unavailable, match="JetStream"):
            async with bus_at(server.url):
                pass


async def test_publishing_is_captured_without_waiting_for_the_stream(server: EmbeddedServer) -> None:
    async with bus_at(server.url) as bus:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(0.2):
                await bus.publish(subjects.ASR_PARTIAL, transcript())
        finally:
            os.kill(server.pid, signal.SIGCONT)

        async def is_stored() -> bool:
            return len([d async for d in bus.log("s1")]) == 1

        await eventually(is_stored)


async def test_following_goes_on_after_the_connection_was_lost(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halfbeat.bus.streams._HEARTBEAT_S", 0.3)
    async with Proxy(server) as proxy, bus_at(server.url) as sender, bus_at(proxy.url) as reader:
        await sender.publish(subjects.ASR_PARTIAL, transcript(0))
        async with aclosing(reader.log("s1", follow=True)) as log:
            assert [d.message.stamp.seq for d in await take(log, 1)] == [0]
            proxy.cut()
            await eventually(lambda: not reader.is_connected)
            await sender.publish(subjects.ASR_PARTIAL, transcript(1))
            proxy.mend()
            await eventually(lambda: reader.is_connected)
            await sender.publish(subjects.ASR_PARTIAL, transcript(2))
            assert [d.message.stamp.seq for d in await take(log, 2, within_s=15)] == [1, 2]


async def test_following_goes_on_when_the_server_forgot_its_consumer(server: EmbeddedServer, client: Client) -> None:
    js = client.jetstream()
    async with bus_at(server.url) as bus:
        await bus.publish(subjects.ASR_PARTIAL, transcript(0))
        async with aclosing(bus.log("s1", follow=True)) as log:
            assert [d.message.stamp.seq for d in await take(log, 1)] == [0]
            for consumer in await js.consumers_info(TURNS.name):
                await js.delete_consumer(TURNS.name, consumer.name)
            await bus.publish(subjects.ASR_PARTIAL, transcript(1))
            assert [d.message.stamp.seq for d in await take(log, 1, within_s=15)] == [1]


async def test_a_gap_in_what_the_consumer_delivers_is_read_again(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client's own queue holds fewer messages than one batch, so some are lost on the way to the reader.
    async with bus_at(server.url) as sender:
        for i in range(100):
            await sender.publish(subjects.ASR_PARTIAL, transcript(i))

        async def is_stored() -> bool:
            return len([d async for d in sender.log("s1")]) == 100

        await eventually(is_stored)
        monkeypatch.setattr("halfbeat.bus.connection.CLIENT_QUEUE_MESSAGES", 30)
        monkeypatch.setattr("halfbeat.bus.streams._HEARTBEAT_S", 0.3)
        async with bus_at(server.url) as reader, asyncio.timeout(20):
            assert [d.message.stamp.seq async for d in reader.log("s1")] == list(range(100))


async def test_a_message_missing_in_the_middle_is_read_again(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen, lost = Connection.listen, []

    async def lossy(self: Connection, subject: str, callback: Callable[[Msg], Awaitable[None]], **more: Any) -> Any:
        seen = 0

        async def some(message: Msg) -> None:
            nonlocal seen
            seen += 1
            if seen == 5 and not lost:
                lost.append(message)
            else:
                await callback(message)

        return await listen(self, subject, some, **more)

    async with bus_at(server.url) as bus:
        for i in range(10):
            await bus.publish(subjects.ASR_PARTIAL, transcript(i))

        async def is_stored() -> bool:
            return len([d async for d in bus.log("s1")]) == 10

        await eventually(is_stored)
        monkeypatch.setattr(Connection, "listen", lossy)
        assert [d.message.stamp.seq async for d in bus.log("s1")] == list(range(10))
        assert lost


async def test_a_log_ends_at_what_was_last_when_it_was_asked_for(server: EmbeddedServer) -> None:
    async with bus_at(server.url) as bus:
        for i in range(10):
            await bus.publish(subjects.ASR_PARTIAL, transcript(i))
        await bus.publish(subjects.ASR_PARTIAL, transcript(0, "other"))  # the stream's last is not this session's

        async def is_stored() -> bool:
            return len([d async for d in bus.log("other")]) == 1

        await eventually(is_stored)
        got = []
        async for delivery in bus.log("s1"):
            got.append(delivery.message.stamp.seq)
            await bus.publish(subjects.ASR_PARTIAL, transcript(100 + len(got)))  # a live session never stops talking
            await asyncio.sleep(0.01)
        assert got == list(range(10))


async def test_what_came_between_the_question_and_the_answer_is_not_told(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bus_at(server.url) as bus:
        for i in range(4):
            await bus.publish(subjects.ASR_PARTIAL, transcript(i))
            await bus.publish(subjects.ASR_PARTIAL, transcript(i, "other"))

        async def is_stored() -> bool:
            return len([d async for d in bus.log("other")]) == 4

        await eventually(is_stored)

        async def fourth(connection: object, stream: str) -> int:
            return 4

        monkeypatch.setattr("halfbeat.bus.streams.last_sequence", fourth)
        assert [d.sequence async for d in bus.log("s1")] == [1, 3]


async def test_reading_leaves_no_consumer_behind(server: EmbeddedServer, client: Client) -> None:
    async with bus_at(server.url) as bus:
        await bus.publish(subjects.ASR_PARTIAL, transcript())
        async with aclosing(bus.log("s1", follow=True)) as log:
            await take(log, 1)
            assert len(await client.jetstream().consumers_info(TURNS.name)) == 1
        assert [d async for d in bus.log("other")] == []
        assert await client.jetstream().consumers_info(TURNS.name) == []


async def test_audio_is_in_no_stream(server: EmbeddedServer, client: Client) -> None:
    async with bus_at(server.url) as bus:
        await bus.publish(subjects.ASR_AUDIO, frame())
        await bus.publish(subjects.ASR_FINAL, transcript())
        await eventually(lambda: _messages(client, 1))
        stored = await client.jetstream().get_msg(TURNS.name, seq=1)
        assert stored.subject == "hb.v1.asr.final.s1"


async def _messages(client: Client, count: int) -> bool:
    info: api.StreamInfo = await client.jetstream().stream_info(TURNS.name)
    return info.state.messages == count


async def test_keys_that_are_gone_leave_nothing_behind(
    server: EmbeddedServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halfbeat.bus.nats_kv.MARKER_S", 1.0)
    async with bus_at(server.url) as bus:
        kv = await bus.key_value("sessions")
        await kv.put("deleted", b"1")
        await kv.delete("deleted")
        await kv.put("expired", b"1", ttl_s=1)

        async def is_empty() -> bool:
            return (await client.jetstream().stream_info("KV_sessions")).state.messages == 0

        await eventually(is_empty, within_s=10)


@pytest.mark.parametrize("turns_of_the_loop", range(6))
async def test_a_reader_that_is_cancelled_just_as_a_message_comes_ends(turns_of_the_loop: int) -> None:
    """Renewed keys come every few ms; a cancellation that met one was swallowed, and its task never ended."""

    class Open:
        api = "$JS.API"

        async def send(self, subject: str, payload: bytes, *, reply: str) -> None:
            pass

    reader = _Reader(cast(Connection, Open()), "S", ">")
    reader._inbox = "inbox"

    async def follow() -> None:
        async for _ in reader.messages():
            pass

    following = asyncio.create_task(follow())
    await asyncio.sleep(0.01)
    heartbeat = Msg(Client(), subject="inbox", headers={"Status": "100"})
    reader._arrived.put_nowait(heartbeat)
    for _ in range(turns_of_the_loop):
        await asyncio.sleep(0)
    following.cancel()
    await asyncio.wait({following}, timeout=1)
    assert following.cancelled()
