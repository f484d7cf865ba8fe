"""Places the calls of a run, several at a time, on one stage or several in turn, and collects what came of them."""

import asyncio
import logging
import random
import time
import wave
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.turns.caller import hold
from bench.turns.scenario import Scenario
from bench.turns.score import AsideScore, Clean, Recording, TurnScore, score
from bench.turns.stage import Stage
from bench.turns.tally import Bus, Run
from halfbeat import subjects
from halfbeat.audio import RATE_HZ
from halfbeat.bus.nats import NatsBus
from halfbeat.errors import HalfbeatError
from halfbeat.settings import NatsSettings
from halfbeat.v1 import common_pb2, dialogue_pb2, session_pb2, turn_pb2

log = logging.getLogger(__name__)

#: Every how many ms the event loop's lateness is looked at.
LAG_EVERY_MS = 10
#: Told of every call that has ended: label, scenario, recording, scores.
Done = Callable[[str, Scenario, Recording, Sequence[TurnScore | AsideScore]], None]


@dataclass(frozen=True)
class Decided:
    """A turn that the router committed: why, how sure, how long after the last voice, and the words.

    Attributes:
        voice_end: the last voiced sample as the router heard it, in samples of the call.
    """

    turn: int
    revision: int
    voice_end: int
    silence_ms: int
    probability: float | None
    cause: str
    words: str = ""


class Listener:
    """Reads along on a stage's bus; `bus` is where it counts, `decided` what was committed in each session."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.decided: dict[str, list[Decided]] = {}

    async def follow(self, nats_url: str, ready: asyncio.Event) -> None:
        """Listens until cancelled."""
        kinds = (
            subjects.TURN_DONE,
            subjects.TURN_ENDPOINT,
            subjects.TURN_COMMIT,
            subjects.DIALOGUE_DONE,
            *subjects.STATUS.values(),
        )
        async with NatsBus(NatsSettings(url=nats_url), name="bench") as connection:
            subscription = await connection.subscribe([kind.all for kind in kinds], ring_messages=4096)
            ready.set()
            async for delivery in subscription:
                match delivery.message:
                    case turn_pb2.TurnDone() as done:
                        self._on_turn(done)
                    case turn_pb2.Endpoint(kind=turn_pb2.ENDPOINT_KIND_COMMITTED) as endpoint:
                        self._on_endpoint(endpoint)
                    case turn_pb2.TurnCommitted() as commit:
                        self._on_commit(commit)
                    case dialogue_pb2.AnswerDone() as answer:
                        self.bus.wasted_tokens += answer.wasted_tokens
                    case session_pb2.WorkerStatus() as status if status.HasField("error"):
                        self.bus.errors[f"{status.service} {common_pb2.ErrorCode.Name(status.error.code)}"] += 1

    def _on_endpoint(self, endpoint: turn_pb2.Endpoint) -> None:
        stamp = endpoint.stamp
        made = Decided(
            stamp.turn,
            stamp.revision,
            endpoint.speech_end_samples,
            endpoint.silence_ms,
            round(endpoint.probability, 3) if endpoint.HasField("probability") else None,
            endpoint.cause,
        )
        self.decided.setdefault(stamp.sid, []).append(made)

    def _on_commit(self, commit: turn_pb2.TurnCommitted) -> None:
        stamp = commit.stamp
        decided = self.decided.get(stamp.sid, [])
        for i, made in enumerate(decided):
            if (made.turn, made.revision) == (stamp.turn, stamp.revision):
                decided[i] = replace(made, words=commit.transcript)

    def _on_turn(self, done: turn_pb2.TurnDone) -> None:
        if done.HasField("v2v_ms"):
            self.bus.hops_ms.append(dict(done.hops_ms))
        self.bus.drafts += done.drafts
        self.bus.hits += done.is_draft_adopted
        self.bus.over_budget.update(done.over_budget)


@asynccontextmanager
async def listening(stages: Mapping[str, Stage]) -> AsyncIterator[Mapping[str, Listener]]:
    """Reads along on every stage."""
    async with AsyncExitStack() as stack:
        listeners = {}
        for label, stage in stages.items():
            listeners[label], ready = Listener(), asyncio.Event()
            task = asyncio.create_task(listeners[label].follow(stage.nats_url, ready), name=f"listener-{label}")
            stack.push_async_callback(_stop, task)
            async with asyncio.timeout(10):
                await ready.wait()
        yield listeners


async def play(
    stages: Mapping[str, Stage],
    listeners: Mapping[str, Listener],
    calls: Sequence[tuple[str, Scenario]],
    *,
    at_a_time: int,
    lags_ms: list[float],
    done: Done,
    clean: Clean | None = None,
) -> dict[str, Run]:
    """Holds the calls in order, so many at a time.

    Args:
        stages: by label.
        listeners: of the same labels.
        calls: label and scenario.
        at_a_time: how many calls go on at the same time.
        lags_ms: takes how late the event loop was.
        done: is told of every call that has ended.
        clean: the agent's voice, where it is known.

    Returns:
        What came of them, by label.
    """
    runs = {label: Run() for label in stages}
    for label, run in runs.items():
        listeners[label].bus = run.bus
    waiting = list(reversed(calls))
    rng = random.Random(1)

    async def line() -> None:
        await asyncio.sleep(rng.uniform(0, 1.0))  # callers do not dial in step
        while waiting:
            label, scenario = waiting.pop()
            stage, run = stages[label], runs[label]
            try:
                recording = await hold(stage.grpc_target, scenario, stage.tell, lags_ms.append)
            except HalfbeatError as e:
                log.warning("%s was not held to its end: %s", scenario.name, e)
                run.bus.errors[f"call {type(e).__name__}"] += 1
                run.missed += len(scenario.steps)
                continue
            turns, asides = score(recording, clean)
            run.turns += turns
            run.asides += asides
            run.calls += 1
            run.missed += recording.missed
            done(label, scenario, recording, (*turns, *asides))

    watching = asyncio.create_task(watch_lag(lags_ms))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_a_time, len(calls))):
                group.create_task(line())
        await asyncio.sleep(0.5)  # the last turns' lines are still on their way
    finally:
        await _stop(watching)
    return runs


async def watch_lag(lags_ms: list[float]) -> None:
    """Notes how late the loop wakes up, until cancelled."""
    while True:
        due = time.monotonic() + LAG_EVERY_MS / 1000
        await asyncio.sleep(LAG_EVERY_MS / 1000)
        lags_ms.append(max(0.0, (time.monotonic() - due) * 1000))


def write_wav(recording: Recording, path: Path) -> None:
    """Writes a call, caller left, agent right."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.stack([recording.caller, recording.agent], axis=1).astype("<i2").tobytes())


async def _stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
