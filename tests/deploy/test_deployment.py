"""What `halfbeat doctor` says of a running deployment."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner
from nats_users import bus_of, guarded, settings

from halfbeat import deployment, presence
from halfbeat.cli import main
from halfbeat.doctor import Finding
from halfbeat.nats_server import EmbeddedServer
from halfbeat.presence import Present
from halfbeat.settings import NatsSettings
from services.router import lease

SERVICES = ("router", "asr", "dialogue", "tts")


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    async with guarded() as started:
        yield started


@pytest.fixture
async def running(server: EmbeddedServer) -> EmbeddedServer:
    """All four services have announced themselves."""
    async with bus_of(server.url, "router") as router:
        await lease.prepare(router)
        for name in SERVICES:
            async with bus_of(server.url, name) as bus:
                value = json.dumps({"name": f"{name}-0", "version": "0.1.0", "facts": {"slots": 8, "http_port": 1}})
                await (await bus.key_value(presence.BUCKET, ttl_s=15)).put(f"{name}.{name}-0", value.encode())
    return server


async def test_a_complete_deployment_lacks_nothing(running: EmbeddedServer) -> None:
    found = by_subject(await deployment.examine(settings(running.url, "cli")))
    assert {f.state for f in found.values()} == {"ok"}, found
    assert "as cli, nats-server 2." in found["bus"].detail
    assert found["asr"].detail == "1: asr-0 (0.1.0, slots 8)"
    assert found["calls"].detail.startswith("8 at once")
    assert "0 messages, 0.0 of 537 MB" in found["stream TURNS"].detail
    assert {f"bucket {name}" for name in ("presence", "owners", "sessions", "dialogue")} <= set(found)


async def test_a_service_that_is_not_there_is_missing_and_the_way_to_look_is_said(running: EmbeddedServer) -> None:
    async with bus_of(running.url, "tts") as bus:
        await (await bus.key_value(presence.BUCKET)).delete("tts.tts-0")
    found = by_subject(await deployment.examine(settings(running.url, "cli")))
    assert [name for name, f in found.items() if f.state == "missing"] == ["tts"]
    assert "/readyz" in found["tts"].remedy


async def test_before_any_router_ran_streams_buckets_and_services_are_missing(server: EmbeddedServer) -> None:
    found = by_subject(await deployment.examine(settings(server.url, "cli")))
    assert found["bus"].state == "ok"
    missing = {name for name, f in found.items() if f.state == "missing"}
    assert {"stream TURNS", "bucket presence", *SERVICES} <= missing
    assert "the router makes it" in found["stream TURNS"].remedy


async def test_a_wrong_password_a_wrong_user_and_no_server_are_told_apart(running: EmbeddedServer) -> None:
    wrong = NatsSettings(url=running.url, user="cli", password="no")  # type: ignore[arg-type,call-arg]
    [bus] = await deployment.examine(wrong)
    assert (bus.state, "credentials" in bus.detail) == ("missing", True)
    assert "HALFBEAT_NATS_USER=cli" in bus.remedy
    last = (await deployment.examine(settings(running.url, "tts")))[-1]
    assert (last.state, "NATS refuses" in last.detail) == ("missing", True)


async def test_no_server_is_told_without_the_password_of_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halfbeat.bus.connection.CONNECT_S", 0.3)
    [bus] = await deployment.examine(NatsSettings(url="nats://ann:secret@127.0.0.1:1"))  # type: ignore[call-arg]
    assert bus.state == "missing"
    assert "network policy" in bus.remedy
    assert "secret" not in bus.detail


async def test_a_bus_without_users_is_noted() -> None:
    async with EmbeddedServer() as open_to_all:
        found = by_subject(await deployment.examine(NatsSettings(url=open_to_all.url)))  # type: ignore[call-arg]
    assert found["bus"].state == "note"
    assert "halfbeat nats-auth" in found["bus"].remedy


def test_two_versions_are_noted_and_the_fewest_slots_decide_how_many_calls_there_may_be() -> None:
    def one(service: str, name: str, version: str, slots: int) -> Present:
        return Present(service, name, version, {"slots": slots})

    here = [one("router", "r", "0.1.0", 100), one("dialogue", "d", "0.1.0", 8)]
    here += [one("asr", "a", "0.2.0", 8), one("asr", "b", "0.2.0", 8), one("tts", "t", "0.1.0", 4)]
    found = by_subject(deployment.who_is_there(here))
    assert (found["versions"].state, found["versions"].detail) == ("note", "0.1.0, 0.2.0")
    assert found["calls"].detail == "4 at once, as many as tts has slots for (router 100, asr 16, dialogue 8, tts 4)"


async def page(text: str, status: int = 200, **headers: str) -> TestServer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, status=status, headers=headers)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    return server


async def of(text: str, what: str, status: int = 200, **headers: str) -> dict[str, Finding]:
    async with await page(text, status, **headers) as server:
        given: dict[str, Any] = {what: str(server.make_url("/"))}
        return by_subject(await deployment.examine(None, **given))


async def test_a_router_is_ready_or_says_why_not() -> None:
    assert (await of("ready\n", "router_url"))["router's /readyz"].state == "ok"
    draining = (await of("draining\n", "router_url", 503))["router's /readyz"]
    assert (draining.state, "503 draining" in draining.detail) == ("missing", True)
    gone = by_subject(await deployment.examine(None, router_url="http://127.0.0.1:1"))
    assert gone["router's /readyz"].state == "missing"


async def test_clocks_that_differ_are_noted() -> None:
    assert (await of("ready", "router_url"))["clocks"].state == "ok"
    fast = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    clocks = (await of("ready", "router_url", Date=fast))["clocks"]
    assert clocks.state == "note"
    assert "NTP" in clocks.remedy


async def test_a_language_model_is_named_or_missing() -> None:
    models = json.dumps({"data": [{"id": "qwen"}]})
    assert (await of(models, "llm_url"))["language model"].detail.endswith(": qwen")
    for text, status in (("nothing", 200), ("{}", 200), ("not found", 404)):
        found = (await of(text, "llm_url", status))["language model"]
        assert (found.state, "/v1" in found.remedy) == ("missing", True), text
    assert (await of("no", "llm_url", 401))["language model"].state == "note"


async def test_the_command_exits_with_1_when_something_is_missing_and_looks_at_nothing_of_this_machine(
    running: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALFBEAT_NATS_USER", "cli")
    monkeypatch.setenv("HALFBEAT_NATS_PASSWORD", "secret-of-cli")
    arguments = ["doctor", "--nats-url", running.url]
    good = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert good.exit_code == 0, good.output
    assert "everything that a call needs is here" in good.stdout
    assert "Python" not in good.stdout
    bad = await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "--router", "http://127.0.0.1:1", "--json"])
    assert (bad.exit_code, json.loads(bad.stdout)["healthy"]) == (1, False)
