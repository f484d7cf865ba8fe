"""A second site: its workers serve calls of the hub's router through a leaf node, and may do no more than that."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg
from nats_users import bus_of, checked_in, eventually, password, passwords, raw, settings, started

from halfbeat import nats_auth, presence, subjects
from halfbeat.bus import Delivery
from halfbeat.bus.nats import NatsBus
from halfbeat.errors import HalfbeatError
from halfbeat.v1 import asr_pb2, audio_pb2, common_pb2, session_pb2
from services.router import lease

STAMP = common_pb2.Stamp(sid="s1")
LEAF_USERS = nats_auth.as_conf(nats_auth.LEAF_SERVICES, domain="hub")


def varz(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/varz", timeout=5) as response:
        return dict(json.load(response))


@asynccontextmanager
async def two_sites(folder: Path, leaf_users: str = LEAF_USERS) -> AsyncIterator[tuple[str, str]]:
    """Runs `hub.conf` and `leaf.conf` as they are checked in; yields where clients of each connect."""
    hub, leaf = folder / "hub", folder / "leaf"
    for site, file, users in (
        (hub, "auth.conf", nats_auth.as_conf(nats_auth.ALL_USERS)),
        (leaf, "leaf-auth.conf", leaf_users),
    ):
        site.mkdir()
        checked_in(site)
        (site / file).write_text(users)
    async with AsyncExitStack() as stack:
        told = await stack.enter_async_context(started(hub / "hub.conf", hub, passwords()))
        port = (await asyncio.to_thread(varz, told["monitoring"][0]))["leaf"]["port"]
        url = f"nats-leaf://leaf:{password('leaf')}@127.0.0.1:{port}"
        env = {**passwords(), "HALFBEAT_NATS_HUB_URL": url}
        there = await stack.enter_async_context(started(leaf / "leaf.conf", leaf, env))
        async with bus_of(told["nats"][0], "router") as router:
            await lease.prepare(router)
        yield told["nats"][0], there["nats"][0]


def at_leaf(url: str, name: str) -> NatsBus:
    return NatsBus(settings(url, name, jetstream_domain="hub"), name=name, makes_storage=False)


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    async with two_sites(tmp_path) as urls:
        yield urls


async def test_a_worker_at_the_leaf_serves_a_call_of_the_hub(sites: tuple[str, str]) -> None:
    async def answer(delivery: Delivery) -> session_pb2.OpenReply:
        return session_pb2.OpenReply(worker="far")

    async with bus_of(sites[0], "router") as router, at_leaf(sites[1], "asr") as asr:
        await asr.serve(subjects.ASR_OPEN.all, answer, queue="asr")
        request = session_pb2.OpenRequest(stamp=STAMP)

        async def is_answered() -> bool:
            try:
                reply = await router.request(subjects.ASR_OPEN, request, session_pb2.OpenReply, timeout_s=0.5)
            except HalfbeatError:
                return False
            return reply.worker == "far"

        await eventually(is_answered)
        assert all([await is_answered() for _ in range(20)])

        frames = await asr.subscribe([subjects.ASR_AUDIO.of("s1")])
        words = await router.subscribe([subjects.ASR_PARTIAL.of("s1")])
        await asyncio.sleep(0.2)  # who listens travels between the sites
        await router.publish(subjects.ASR_AUDIO, audio_pb2.AudioFrame(stamp=STAMP, pcm=bytes(640)))
        await asr.publish(subjects.ASR_PARTIAL, asr_pb2.Transcript(stamp=STAMP, stable="hello"))
        async with asyncio.timeout(5):
            assert (await anext(aiter(frames))).sid == "s1"
            assert (await anext(aiter(words))).sid == "s1"

        async with bus_of(sites[0], "cli") as cli:

            async def is_logged() -> bool:
                return len([d async for d in cli.log("s1")]) == 1

            await eventually(is_logged)
        assert asr.fatal_error is None


async def test_a_worker_at_the_leaf_is_seen_at_the_hub(sites: tuple[str, str]) -> None:
    async with bus_of(sites[0], "router") as router, at_leaf(sites[1], "tts") as tts:
        announcing = asyncio.create_task(presence.announce(tts, "tts", "far", {"slots": 4}))

        async def is_seen() -> bool:
            return [one.name for one in await presence.present(router)] == ["far"]

        await eventually(is_seen)
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)


def test_what_the_leaf_may_do_is_what_its_services_may_and_answer_the_router() -> None:
    leaf = nats_auth.user("leaf")
    three = [nats_auth.user(name) for name in nats_auth.LEAF_SERVICES]
    keys = {f"$JS.hub.API.$KV.presence.{name}.*" for name in nats_auth.LEAF_SERVICES} | {"$JS.hub.API.$KV.dialogue.*"}
    messages = {p for one in three for p in one.publish if p.startswith("hb.")}
    assert set(leaf.publish) == messages | keys | {"_INBOX_router.>"}
    assert set(leaf.subscribe) == {s.partition(" ")[0] for one in three for s in one.subscribe}


async def test_a_leaf_whose_own_users_may_do_everything_gets_no_more_through(tmp_path: Path) -> None:
    heard: list[str] = []

    async def on_message(message: Msg) -> None:
        heard.append(message.subject)

    own = "authorization { user: boss, password: pw }"
    async with two_sites(tmp_path, own) as (at_hub, at_leaf), raw(at_hub, "router") as router:
        boss = await nats.connect(at_leaf, user="boss", password="pw")
        async with raw(at_hub, "tts") as tts, raw(at_hub, "dialogue") as dialogue:
            await boss.subscribe("hb.v1.>", cb=on_message)
            for kind in (subjects.TTS_AUDIO, subjects.ASR_AUDIO):
                await boss.subscribe(kind.of("s1"), cb=on_message)
            for kind in (subjects.TURN_COMMIT, subjects.ASR_FINAL):
                await dialogue.client.subscribe(kind.of("s1"), cb=on_message)
            await dialogue.client.flush()
            await asyncio.sleep(0.3)
            await tts.client.publish(subjects.TTS_AUDIO.of("s1"), b"")
            await router.client.publish(subjects.ASR_AUDIO.of("s1"), b"")
            await eventually(lambda: heard)
            await asyncio.sleep(0.2)
            assert set(heard) == {subjects.ASR_AUDIO.of("s1")}
            heard.clear()
            for kind in (subjects.TURN_COMMIT, subjects.ASR_FINAL):
                await boss.publish(kind.of("s1"), b"")
            await eventually(lambda: heard)
            await asyncio.sleep(0.2)
        await boss.close()
    # What boss itself hears of its own site does not count.
    assert heard.count(subjects.ASR_FINAL.of("s1")) - heard.count(subjects.TURN_COMMIT.of("s1")) == 1
