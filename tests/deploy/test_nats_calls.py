"""Whole calls by services that are each their own user, and what they really asked of the server.

The server writes down every PUB and SUB. What a user may do and never did is listed here with its reason, so that a
permission that nothing needs is noticed; one that is missing ends its process.
"""

import asyncio
import json
import re
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from nats_users import ROOT, bus_of, guarded, password
from scene import Detector, FakeModels, Line

from halfbeat import nats_auth, presence, subjects
from halfbeat.application import Application, Call, ToolResult
from halfbeat.bus.nats import NatsBus
from halfbeat.caller.tap import tapped
from halfbeat.client import VoiceClient
from halfbeat.clock import LoopClock
from halfbeat.nats_server import EmbeddedServer
from halfbeat.supervisor import start, stop, wait_ready
from halfbeat.v1 import session_pb2, voice_pb2
from services.asr.config import AsrSettings
from services.asr.service import AsrService
from services.dialogue.config import DialogueSettings
from services.dialogue.engine import CallDelta, CallerSaid, Prompt, ToolRan
from services.dialogue.engines.scripted import Line as Answer
from services.dialogue.engines.scripted import Scripted
from services.dialogue.service import DialogueService
from services.router import edge
from services.router.config import RouterSettings
from services.router.service import RouterService
from services.tts.config import TtsSettings
from services.tts.service import TtsService

pytestmark = pytest.mark.asyncio(loop_scope="module")
LONG = "Well, this is a story. It goes on and on. And on for a very long while. Until nobody listens any more. " * 3


def script(prompt: Prompt) -> Iterable[Answer]:
    last = prompt.items[-1]
    if isinstance(last, ToolRan):
        return ["It is done."]
    said = last.text.lower() if isinstance(last, CallerSaid) else ""
    return [CallDelta("", "book", "{}")] if "book" in said else [LONG]


def desk() -> Application:
    app = Application("desk", "You help.", apology="Oh dear.", fallback="No idea.")

    @app.tool(filler="One moment.")
    async def book(call: Call) -> ToolResult:
        """The caller books."""
        return ToolResult(say="It is booked.")

    return app


@dataclass
class Deployment:
    """The four services in this process, each with a connection as its own user."""

    url: str
    models: FakeModels = field(default_factory=lambda: FakeModels(Detector(0.95)))
    buses: dict[str, NatsBus] = field(default_factory=dict)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> "Deployment":
        for name in subjects.EVERYBODY:
            self.buses[name] = await self.stack.enter_async_context(bus_of(self.url, name))
        heard = ["book it please", "tell me a story"]
        asr = AsrSettings(name="asr-1", engine="scripted", scripted_texts=heard, scripted_words_per_s=5)
        tts = TtsSettings(name="tts-1", engine="scripted")
        dialogue = DialogueSettings(name="dialogue-1", engine="scripted", dialect="native")
        quick = {"pause_ms": 96, "turn_threshold": 0.5, "hesitation_ms": 0, "lease_s": 3.0}
        self.router = RouterService(
            RouterSettings(name="router-1", grpc_port=0, **quick), self.buses["router"], models=self.models
        )
        services = {
            "asr": AsrService(asr, self.buses["asr"]),
            "tts": TtsService(tts, self.buses["tts"]),
            "dialogue": DialogueService(dialogue, self.buses["dialogue"], Scripted(script), desk()),
            "router": self.router,
        }
        for name, service in services.items():
            await self.stack.enter_async_context(service)
            announcing = asyncio.create_task(presence.announce(self.buses[name], name, f"{name}-1", {}))
            self.stack.push_async_callback(ended, announcing)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stack.aclose()

    async def dial(self, config: session_pb2.SessionConfig) -> Line:
        call = await self.router.open(config, edge.EdgeFormat(), edge="test")
        return Line(call, edge.EdgeFormat(), LoopClock())  # type: ignore[arg-type]


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def say(line: Line) -> None:
    """Says a turn of four syllables: a steady sound is no speech to asr."""
    for _ in range(4):
        await line.speak(240)
        await line.pause(60)


async def call_the_application(deployment: Deployment) -> list[object]:
    """The caller has a tool run, hears a story and breaks in; returns what happened."""
    line = await deployment.dial(session_pb2.SessionConfig(caller_number="+15550100"))
    await say(line)
    await line.until(edge.AnswerDone, 8000)
    await say(line)
    await line.until(edge.AnswerStarted, 8000, count=2)
    await line.pause(600)
    await line.speak(1500)
    await line.until(edge.Interrupted)
    await line.hang_up()
    return [event for _, event in line.events]


async def call_as_a_client(deployment: Deployment) -> list[object]:
    """A client runs the tool, and gives other instructions while a draft waits; returns what happened."""
    tool = session_pb2.ClientTool(name="book", description="Books.", parameters_json='{"type": "object"}')
    config = session_pb2.SessionConfig(instructions="You are Bob.", client_tools=[tool])
    line = await deployment.dial(config)
    await say(line)
    called = await line.until(edge.ToolCalled)
    assert isinstance(called, edge.ToolCalled)
    assert called.is_client
    line.call.return_tool(called.call_id, json.dumps({"ref": "B1"}))
    await line.until(edge.AnswerDone, 8000)
    assert deployment.models.turn_detector is not None
    deployment.models.turn_detector.opinions = [0.3]  # a draft, and a long wait for more
    async with bus_of(deployment.url, "cli") as cli:
        drafts = await cli.subscribe([kind.of(line.call.sid) for kind in (subjects.DIALOGUE_CLAUSE,)])
        voids = await cli.subscribe([subjects.DIALOGUE_VOID.of(line.call.sid)])
        await say(line)
        pausing = asyncio.create_task(line.pause(1400))
        async with asyncio.timeout(5):
            await anext(aiter(drafts))
            changed = session_pb2.SessionConfig(instructions="You are Ann.", client_tools=[tool])
            line.call.update(changed, edge.EdgeFormat())
            await anext(aiter(voids))
        await pausing
    await line.hang_up()
    return [event for _, event in line.events]


@dataclass
class Seen:
    """What the calls were, and every subject that each user published or subscribed."""

    application: list[object]
    client: list[object]
    processes: dict[str, str]
    published: dict[str, set[str]]
    subscribed: dict[str, set[str]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Seen]:
    folder = tmp_path_factory.mktemp("nats")
    async with guarded(folder, more="\ntrace: true\nmax_traced_msg_len: 1\n") as server:
        async with Deployment(server.url) as deployment:
            application = await call_the_application(deployment)
            client = await call_as_a_client(deployment)
            for name, bus in deployment.buses.items():
                assert bus.fatal_error is None, name
        processes = await by_processes(server, folder)
    published, subscribed = read_trace((folder / "server.log").read_text(errors="replace"))
    yield Seen(application, client, processes, published, subscribed)


async def by_processes(server: EmbeddedServer, folder: Path) -> dict[str, str]:
    """Starts the services as processes, holds a call in writing, and looks at it with the command line's tools."""
    common = {
        "HALFBEAT_NATS_URL": server.url,
        "HALFBEAT_STATE": str(folder),
        "HALFBEAT_ROUTER_GRPC_PORT": "0",
        "HALFBEAT_ROUTER_TURN_DETECTOR": "none",
        "HALFBEAT_ROUTER_CLEANING": "nothing",
        **{f"HALFBEAT_{name}_ENGINE": "scripted" for name in ("ASR", "DIALOGUE", "TTS")},
    }

    def env(name: str) -> dict[str, str]:
        return {**common, "HALFBEAT_NATS_USER": name, "HALFBEAT_NATS_PASSWORD": password(name)}

    told: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        children = {}
        for name in ("asr", "tts", "dialogue", "router"):
            children[name] = await start(name, [sys.executable, "-m", f"services.{name}"], env(name), folder)
            stack.push_async_callback(stop, children[name], 5)
        ready = {name: await wait_ready(child, 60) for name, child in children.items()}
        target = f"127.0.0.1:{ready['router']['grpc_port']}"
        with pytest.MonkeyPatch.context() as patch:
            for key, value in env("cli").items():
                patch.setenv(key, value)
            async with tapped(server.url, None) as tap:
                assert tap is not None
                async with VoiceClient(target) as client, client.converse() as call:
                    await call.send_text("Hello there.")
                    async for event in call:
                        if isinstance(event, voice_pb2.AgentAudio) and event.turn == 1:
                            break
                await tap.settle()
        told["sid"] = tap.sid
        await asyncio.sleep(0.3)  # the last spans
        addresses = ("--router", children["router"].http)
        for command in (("trace", tap.sid), ("replay", tap.sid), ("doctor", *addresses)):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "halfbeat.cli", *command, "--nats-url", server.url),
                env={"PATH": "/usr/bin:/bin", **env("cli")},
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
            assert process.returncode == 0, (command, out.decode(), err.decode())
            told[command[0]] = out.decode()
    return told


def read_trace(text: str) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Returns what each user published, and what it subscribed, "SUBJECT GROUP" as a member."""
    published: dict[str, set[str]] = defaultdict(set)
    subscribed: dict[str, set[str]] = defaultdict(set)
    for user, verb, rest in re.findall(r'/user:([\w-]+)" - <<- \[(H?PUB|SUB) ([^\n]*)\]$', text, re.MULTILINE):
        subject, *more = rest.split()
        if verb == "SUB":  # SUBJECT [GROUP] ID
            subscribed[user].add(" ".join([subject, *more[:-1]]))
        else:
            published[user].add(subject)
    return published, subscribed


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject, or a pattern that somebody subscribed, lies within a pattern."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return len(given) >= len(wanted) and all(w in ("*", g) for w, g in zip(wanted[:-1], given, strict=False))
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))


def unused(allowed: Iterable[str], used: set[str]) -> set[str]:
    """Returns the patterns under which nothing was done; with a queue group, nothing as its member."""
    found = set()
    for one in allowed:
        pattern, _, group = one.partition(" ")
        done = [u.partition(" ") for u in used]
        if not any(matches(pattern, subject) and group == g for subject, _, g in done):
            found.add(one)
    return found


def kv_reading(bucket: str) -> set[str]:
    return set(nats_auth._reading(f"KV_{bucket}"))


async def test_a_caller_has_a_tool_run_and_breaks_into_a_story(seen: Seen) -> None:
    kinds = [type(event) for event in seen.application]
    assert edge.ToolCalled in kinds
    assert edge.Interrupted in kinds
    assert not [e for e in seen.application if isinstance(e, edge.Failed) or getattr(e, "error", None)]


async def test_a_client_runs_its_own_tool_and_changes_the_session(seen: Seen) -> None:
    heard = [e.text_heard for e in seen.client if isinstance(e, edge.AnswerDone)]
    assert "It is done." in heard[0]
    assert not [e for e in seen.client if isinstance(e, edge.Failed) or getattr(e, "error", None)]


async def test_the_command_line_reads_a_call_of_the_four_processes(seen: Seen) -> None:
    assert "Hello there." in seen.processes["replay"]
    assert "llm.first_token" in seen.processes["trace"]
    for name in subjects.EVERYBODY:
        assert re.search(rf"^ok +{name} +1: ", seen.processes["doctor"], re.MULTILINE), seen.processes["doctor"]


#: What may be done and was not in these calls.
UNUSED = {
    "router": {
        # A stream that is there with other limits, or that lacks a subject, after an upgrade.
        *(f"$JS.API.STREAM.{verb}.{stream}" for verb in ("INFO", "UPDATE") for stream in ("TURNS", "TRACES")),
        # A reader may read in any way: a takeover watches owners and sessions, this router only its calls' own keys.
        *kv_reading("owners"),
        *kv_reading("sessions"),
        "$JS.API.STREAM.INFO.KV_presence",
        "$JS.API.DIRECT.GET.KV_presence.$KV.presence.>",
    },
    # Its spans are of speech, and the call of the processes is held in writing.
    "asr": {f"{subjects.TRACE_SPANS}.*"},
    "dialogue": set(),
    "tts": set(),
    # `doctor` gets the keys; the router's page watches them.
    "cli": kv_reading("presence") - {"$JS.API.STREAM.INFO.KV_presence"},
}


@pytest.mark.parametrize("name", nats_auth.USERS)
async def test_nothing_may_be_published_that_nobody_publishes(seen: Seen, name: str) -> None:
    assert unused(nats_auth.user(name).publish, seen.published[name]) == UNUSED[name]


@pytest.mark.parametrize("name", nats_auth.USERS)
async def test_nothing_may_be_subscribed_that_nobody_subscribes(seen: Seen, name: str) -> None:
    assert unused(nats_auth.user(name).subscribe, seen.subscribed[name]) == set()
