"""`halfbeat trace` and `halfbeat replay` of a call whose answer was cut, from a real log."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from click.testing import CliRunner
from google.protobuf.message import Message
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from halfbeat import subjects
from halfbeat.bus.nats import NatsBus
from halfbeat.cli import main
from halfbeat.nats_server import EmbeddedServer
from halfbeat.settings import NatsSettings
from halfbeat.v1 import common_pb2, dialogue_pb2, session_pb2, turn_pb2

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SILENT = "silent 208 ms after the caller's first sound"


def stamp() -> common_pb2.Stamp:
    return common_pb2.Stamp(sid="s1", turn=1)


def messages() -> list[tuple[subjects.Kind, Message]]:
    """The caller asks, and speaks up when a second and a bit of the answer has sounded."""
    done = turn_pb2.TurnDone(
        stamp=stamp(), v2v_ms=480, is_interrupted=True, barge_in_ms=208, barge_in_hops_ms={"detect": 208}
    )
    done.trace_id = TRACE_ID
    return [
        (subjects.TURN_COMMIT, turn_pb2.TurnCommitted(stamp=stamp(), transcript="When?")),
        (subjects.DIALOGUE_CLAUSE, dialogue_pb2.Clause(stamp=stamp(), index=0, text="Okay,")),
        (subjects.DIALOGUE_CLAUSE, dialogue_pb2.Clause(stamp=stamp(), index=1, text="a truck comes tomorrow.")),
        (subjects.TURN_HEARD, turn_pb2.Heard(stamp=stamp(), clause=1, chars=7, played_ms=1240, is_cut=True)),
        (
            subjects.SESSION_EPOCH,
            session_pb2.EpochAdvanced(stamp=stamp(), cause=session_pb2.EPOCH_CAUSE_BARGE_IN),
        ),
        (subjects.TURN_DONE, done),
    ]


def spans() -> bytes:
    traces = TracesData()
    span = (
        traces.resource_spans.add()
        .scope_spans.add()
        .spans.add(name="turn", trace_id=bytes.fromhex(TRACE_ID), start_time_unix_nano=1, end_time_unix_nano=10**9)
    )
    span.attributes.add(key="halfbeat.turn").value.int_value = 1
    return traces.SerializeToString()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with EmbeddedServer() as server:
        async with NatsBus(NatsSettings(url=server.url)) as bus:  # type: ignore[call-arg]
            for kind, message in messages():
                await bus.publish(kind, message)
            await bus.publish_spans("s1", spans())
        yield server.url


async def run(*arguments: str) -> str:
    async with asyncio.timeout(30):
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


async def test_replay_shows_of_a_cut_answer_what_was_heard(url: str) -> None:
    assert (await run("replay", "s1", "--nats-url", url)).splitlines() == [
        "  caller  When?",
        "   agent  Okay,",
        "   agent  a truck-- (cut after 1.2 s)",
        "   floor  barge-in",
        f"turn 1: voice to voice 480 ms, cut after 1.2 s, {SILENT}",
    ]


async def test_trace_shows_that_an_answer_was_cut_after_what_and_how_fast(url: str) -> None:
    shown = await run("trace", "s1", "--nats-url", url)
    assert f"cut after 1.2 s, {SILENT}; heard: Okay, a truck" in " ".join(shown.split())
    [turn] = json.loads(await run("trace", "s1", "--json", "--nats-url", url))
    assert turn["cut"] == {
        "played_ms": 1240,
        "heard": "Okay, a truck",
        "barge_in_ms": 208,
        "barge_in_hops_ms": {"detect": 208},
    }
