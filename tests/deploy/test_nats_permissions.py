"""What the server lets each user do is what the table of subjects says: not less, and not more."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from nats.aio.msg import Msg
from nats_users import Raw, bus_of, eventually, guarded, raw

from halfbeat import nats_auth, subjects
from halfbeat.bus import Delivery
from halfbeat.errors import Unavailable
from halfbeat.nats_server import EmbeddedServer
from halfbeat.v1 import common_pb2, session_pb2
from services.router import lease

pytestmark = pytest.mark.asyncio(loop_scope="module")
SERVICES = subjects.EVERYBODY
STREAMS = ("TURNS", "TRACES", "KV_presence", "KV_owners", "KV_sessions", "KV_dialogue")
# Every verb of JetStream's API that takes a stream, and those that take none.
STREAM_VERBS = ("CREATE", "UPDATE", "INFO", "DELETE", "PURGE", "SNAPSHOT", "RESTORE", "MSG.GET", "MSG.DELETE")
CONSUMER_VERBS = ("CREATE", "NAMES", "LIST")
CONSUMER_NAME_VERBS = ("INFO", "DELETE", "MSG.NEXT", "DURABLE.CREATE", "CREATE", "PAUSE")
BARE = ("INFO", "STREAM.NAMES", "STREAM.LIST", "STREAM.CREATE.OTHER", "STREAM.TEMPLATE.CREATE.OTHER")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[EmbeddedServer]:
    async with guarded() as started:
        async with bus_of(started.url, "router") as bus:
            await lease.prepare(bus)
        yield started


@pytest_asyncio.fixture(params=nats_auth.USERS, loop_scope="module")
async def user(request: pytest.FixtureRequest, server: EmbeddedServer) -> AsyncIterator[tuple[str, Raw]]:
    async with raw(server.url, request.param) as client:
        yield request.param, client


async def test_a_user_publishes_its_own_kinds_and_no_other(user: tuple[str, Raw]) -> None:
    name, client = user
    mine = {kind.of("s1") for kind in subjects.KINDS if name in kind.publishers}
    others = {kind.of("s1") for kind in subjects.KINDS} - mine
    assert await client.refusals("publish", sorted(mine | others)) == others


async def test_a_user_subscribes_to_what_it_takes_and_nothing_else(user: tuple[str, Raw]) -> None:
    name, client = user
    for form in (lambda kind: kind.of("s1"), lambda kind: kind.all):
        # Requests are taken as a member of the queue group alone.
        mine = {form(k) for k in subjects.KINDS if name in k.subscribers and k not in subjects.OPEN.values()}
        mine |= {form(kind) for kind in subjects.KINDS if name == "cli" and kind.is_logged}
        others = {form(kind) for kind in subjects.KINDS} - mine
        assert await client.refusals("subscribe", sorted(mine | others)) == others


async def test_a_request_is_taken_only_as_a_member_of_the_services_own_queue_group(user: tuple[str, Raw]) -> None:
    name, client = user
    wanted = {f"{kind.all} {group}" for kind in subjects.OPEN.values() for group in (*SERVICES, "stray")}
    mine = {f"{subjects.OPEN[name].all} {name}"} if name in subjects.OPEN else set()
    assert await client.refusals("subscribe", sorted(wanted)) == wanted - mine


async def test_nobody_hears_more_than_one_kind_at_once(user: tuple[str, Raw]) -> None:
    _, client = user
    wanted = {">", "*", "hb.>", "hb.v1.>", "hb.v1.*.*.s1", "hb.v1.asr.>", "hb.v1.*.open.*", "$KV.>", "$JS.>", "$SYS.>"}
    wanted |= {"*.>", "_INBOX.>", "$JS.EVENT.>", *(f"$KV.{bucket.name}.>" for bucket in subjects.BUCKETS)}
    assert await client.refusals("subscribe", sorted(wanted)) == wanted


async def test_replies_to_others_are_neither_read_nor_forged(user: tuple[str, Raw]) -> None:
    name, client = user
    inboxes = {f"_INBOX_{other}.>" for other in nats_auth.ALL_USERS}
    assert await client.refusals("subscribe", sorted(inboxes)) == inboxes - {f"_INBOX_{name}.>"}
    forged = {f"_INBOX_{other}.x.y" for other in nats_auth.ALL_USERS}
    assert await client.refusals("publish", sorted(forged)) == forged


async def test_spans_come_from_every_service_and_are_read_from_their_stream_alone(user: tuple[str, Raw]) -> None:
    name, client = user
    spans = f"{subjects.TRACE_SPANS}.s1"
    assert await client.refusals("publish", [spans]) == (set() if name in SERVICES else {spans})
    assert await client.refusals("subscribe", [spans]) == {spans}


async def test_a_user_writes_its_own_keys(user: tuple[str, Raw]) -> None:
    name, client = user
    presence = {f"$KV.presence.{other}.box" for other in SERVICES}
    wanted = presence | {"$KV.owners.s1", "$KV.sessions.s1", "$KV.dialogue.s1", "$KV.other.s1", "$KV.presence.x"}
    mine = {f"$KV.presence.{name}.box"} & wanted
    mine |= {"$KV.owners.s1", "$KV.sessions.s1"} if name == "router" else set()
    mine |= {"$KV.dialogue.s1"} if name == "dialogue" else set()
    assert await client.refusals("publish", sorted(wanted)) == wanted - mine


def reading(*streams: str) -> set[str]:
    """The calls that read a stream."""
    return {
        f"$JS.API.{call}"
        for s in streams
        for call in (f"STREAM.INFO.{s}", f"CONSUMER.CREATE.{s}", f"CONSUMER.MSG.NEXT.{s}.c", f"CONSUMER.DELETE.{s}.c")
    }


def direct(*buckets: str) -> set[str]:
    return {f"$JS.API.DIRECT.GET.KV_{b}.$KV.{b}.a.b" for b in buckets}


# By hand, so that a permission that slips into the generator is noticed here.
API: dict[str, set[str]] = {
    "router": {
        "$JS.API.INFO",
        *(f"$JS.API.STREAM.{verb}.{s}" for verb in ("CREATE", "INFO", "UPDATE") for s in ("TURNS", "TRACES")),
        *(f"$JS.API.STREAM.CREATE.{s}" for s in STREAMS),
        *reading("KV_presence", "KV_owners", "KV_sessions"),
        *direct("presence", "owners", "sessions"),
    },
    "asr": set(),
    "dialogue": set(),
    "tts": set(),
    "cli": {
        *(f"$JS.API.STREAM.INFO.{s}" for s in STREAMS),
        *reading("TURNS", "TRACES", "KV_presence"),
        *direct("presence"),
    },
}


async def test_a_user_asks_of_jetstream_what_it_needs(user: tuple[str, Raw]) -> None:
    name, client = user
    calls = {f"$JS.API.{one}" for one in BARE}
    for stream in STREAMS:
        calls |= {f"$JS.API.STREAM.{verb}.{stream}" for verb in STREAM_VERBS}
        calls |= {f"$JS.API.CONSUMER.{verb}.{stream}" for verb in CONSUMER_VERBS}
        calls |= {f"$JS.API.CONSUMER.{verb}.{stream}.c" for verb in CONSUMER_NAME_VERBS}
        calls |= {f"$JS.API.DIRECT.GET.{stream}", f"$JS.ACK.{stream}.c.1.1.1.1.0"}
    calls |= direct("presence", "owners", "sessions", "dialogue")
    calls |= {"$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO", "$JS.FC.TURNS.c.x", "$JSC.CI.x", "$NRG.AE.x"}
    # Deleting a stream that somebody may delete would spoil the other tests, and is never allowed.
    assert API[name] <= calls
    assert await client.refusals("publish", sorted(calls)) == calls - API[name]


async def test_a_worker_answers_each_request_once_and_nobody_unasked(server: EmbeddedServer) -> None:
    async with raw(server.url, "router") as router, raw(server.url, "asr") as asr:
        asked: list[Msg] = []

        async def on_request(message: Msg) -> None:
            asked.append(message)
            await message.respond(b"yes")

        await asr.client.subscribe(subjects.ASR_OPEN.all, queue="asr", cb=on_request)
        await asr.client.flush()
        await asr.client.flush()
        answered = await router.client.request(subjects.ASR_OPEN.of("s1"), b"", timeout=2)
        assert answered.data == b"yes"
        assert await asr.refusals("publish", [asked[0].reply]) == {asked[0].reply}


async def test_who_may_not_make_streams_does_not_try(server: EmbeddedServer) -> None:
    for name in ("asr", "dialogue", "tts", "cli"):
        async with bus_of(server.url, name) as bus:
            await bus.key_value("presence")
            await asyncio.sleep(0.05)
            assert bus.fatal_error is None


async def test_a_key_without_its_bucket_is_a_clear_error_and_no_refusal() -> None:
    async with guarded() as fresh, bus_of(fresh.url, "asr") as asr:
        bucket = await asr.key_value("presence", ttl_s=15)
        with pytest.raises(Unavailable, match="JetStream does not answer"):
            await bucket.put("asr.box", b"1")
        assert asr.fatal_error is None
        async with bus_of(fresh.url, "router") as router:
            await lease.prepare(router)
        assert await bucket.put("asr.box", b"1") > 0


async def test_a_stream_cannot_be_made_to_deliver_to_the_subjects_that_it_captures(server: EmbeddedServer) -> None:
    """Permissions cannot keep a reader of a log from having it sent elsewhere; the server stops the worst of it."""
    async with raw(server.url, "cli") as cli:
        config = {"deliver_subject": subjects.TURN_COMMIT.of("s1"), "ack_policy": "none"}
        asked = json.dumps({"stream_name": "TURNS", "config": config}).encode()
        told = await cli.client.request("$JS.API.CONSUMER.CREATE.TURNS", asked, timeout=2)
        assert "cycle" in json.loads(told.data)["error"]["description"]


async def test_a_request_of_the_router_reaches_a_worker_and_its_answer_the_router(server: EmbeddedServer) -> None:
    async def answer(delivery: Delivery) -> session_pb2.OpenReply:
        return session_pb2.OpenReply(worker="w1")

    request = session_pb2.OpenRequest(stamp=common_pb2.Stamp(sid="s1"))
    async with bus_of(server.url, "router") as router:
        for service in subjects.OPEN:
            async with bus_of(server.url, service) as worker:
                await worker.serve(subjects.OPEN[service].all, answer, queue=service)
                reply = await router.request(subjects.OPEN[service], request, session_pb2.OpenReply, timeout_s=2)
                assert reply.worker == "w1"
                await eventually(lambda worker=worker: worker.fatal_error is None)
