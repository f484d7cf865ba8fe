"""A few short calls through a real NATS server, a router and the scripted workers, all in this process."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from scene import FakeModels
from turn_scenes import clip

from bench.turns.playing import listening, play
from bench.turns.scenario import Role, Scenario, Step
from bench.turns.scripted import workers
from bench.turns.stage import Stage
from bench.turns.tally import Run, over_runs
from bench.turns.truth import Truth, line_for
from bench.turns.voice import clean_answer
from halfbeat.bus.nats import NatsBus
from halfbeat.nats_server import EmbeddedServer
from halfbeat.settings import NatsSettings
from services.router.config import RouterSettings
from services.router.service import RouterService

pytestmark = pytest.mark.asyncio(loop_scope="module")
LONG = "Sure, the regular collection on your street is always early, and the recycling follows after that."

CALLS = [
    Scenario(
        "plain",
        (
            Step(clip((0, 600), text="where is my truck", kind="question", name="q")),
            Step(clip((0, 900), text="stop I meant the other one", name="i"), Role.INTERRUPTION, over_ms=900),
        ),
    ),
    Scenario(
        "aside",
        (
            Step(clip((0, 600), text="how does it work", kind="question", name="q")),
            Step(clip((0, 60), kind="cough", name="c"), Role.ASIDE, over_ms=900),
        ),
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def held() -> AsyncIterator[tuple[Run, list[float]]]:
    lags_ms: list[float] = []
    truth = Truth()

    def tell(sid: str, step: Step, at: int) -> None:
        words = [(w.text, w.start_s, w.end_s) for w in step.clip.words]
        truth.take(line_for(sid, words, at, LONG if step.clip.kind == "question" else ""))

    async with (
        EmbeddedServer() as server,
        NatsBus(NatsSettings(url=server.url), name="w") as bus,
        workers(bus, truth),
        NatsBus(NatsSettings(url=server.url), name="r") as routers,
        RouterService(RouterSettings(name="r", grpc_port=0), routers, models=FakeModels()) as router,
    ):
        stages = {"real": Stage(server.url, f"127.0.0.1:{router.describe()['grpc_port']}", tell, {})}
        async with listening(stages) as listeners:
            runs = await play(
                stages,
                listeners,
                [("real", call) for call in CALLS],
                at_a_time=2,
                lags_ms=lags_ms,
                done=lambda *_: None,
                clean=clean_answer,
            )
    yield runs["real"], lags_ms


async def test_every_turn_is_answered_and_measured_by_both_ends(held: tuple[Run, list[float]]) -> None:
    run, lags_ms = held
    assert [(t.clip, t.is_unanswered) for t in run.turns if t.clip != "i"] == [("q", False), ("q", False)]
    assert all(t.v2v_ms is not None and 200 < t.v2v_ms < 4000 for t in run.turns)
    # The router's own figure and the caller's: frames and the loopback lie between them.
    assert len(run.bus.hops_ms) >= 2
    seen = sorted(t.v2v_ms or 0 for t in run.turns)
    told = sorted(sum(hops.values()) for hops in run.bus.hops_ms)
    assert abs(seen[0] - told[0]) < 150
    assert lags_ms


async def test_an_interruption_silences_the_agent_and_the_time_is_taken(held: tuple[Run, list[float]]) -> None:
    (turn,) = [t for t in held[0].turns if t.role is Role.INTERRUPTION]
    assert turn.barge_in_ms is not None
    assert 0 < turn.barge_in_ms < 1500
    assert not turn.is_deaf


async def test_a_cough_of_60_ms_does_not_stop_the_agent(held: tuple[Run, list[float]]) -> None:
    (aside,) = held[0].asides
    assert (aside.kind, aside.is_stopped) == ("cough", False)


async def test_the_report_of_a_real_run_is_json(held: tuple[Run, list[float]]) -> None:
    report = json.loads(json.dumps(over_runs([held[0]])))
    assert report["n"] == 3
    assert report["unanswered"] == 0
    assert report["errors"] == {}
