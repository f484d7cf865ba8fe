"""The other side of the tts service on an in-memory bus, and an engine that the test drives piece by piece."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import numpy as np

from halfbeat import subjects
from halfbeat.bus.memory import MemoryBroker, MemoryBus
from halfbeat.v1 import common_pb2, dialogue_pb2, session_pb2, tts_pb2, turn_pb2
from services.tts.config import TtsSettings
from services.tts.engine import Chunk, TtsEngine
from services.tts.engines.scripted import Script, ScriptedEngine
from services.tts.service import TtsService


class GatedEngine:
    """Yields a piece each time the test opens the gate."""

    name = "gated"
    sample_rate = 16_000

    def __init__(self, *, pieces: int = 3, piece_s: float = 0.2) -> None:
        self.hurried: list[bool] = []
        self._pieces, self._piece = pieces, np.full(int(16_000 * piece_s), 0.5, dtype=np.float32)
        self.gate = threading.Semaphore(0)
        self.made: list[str] = []
        self.closed: list[str] = []

    def load(self) -> None:
        """Nothing to load."""

    def synthesize(
        self, text: str, *, voice: str = "", speed: float = 1.0, is_hurried: bool = False
    ) -> Iterator[Chunk]:
        self.hurried.append(is_hurried)
        try:
            for _ in range(self._pieces):
                assert self.gate.acquire(timeout=10)
                self.made.append(text)
                yield Chunk(self._piece)
        finally:
            self.closed.append(text)


class Router:
    """The other side: opens sessions, sends clauses, keeps the audio."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.audio: list[tts_pb2.SpeechAudio] = []
        self._grown = asyncio.Event()
        self._seq = 0

    async def listen(self) -> None:
        subscription = await self.bus.subscribe([subjects.TTS_AUDIO.all])

        async def keep() -> None:
            async for delivery in subscription:
                assert isinstance(delivery.message, tts_pb2.SpeechAudio)
                self.audio.append(delivery.message)
                self._grown.set()

        self._task = asyncio.create_task(keep())

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def open(self, sid: str, *, epoch: int = 1) -> session_pb2.OpenReply:
        request = session_pb2.OpenRequest(stamp=common_pb2.Stamp(sid=sid, epoch=epoch))
        return await self.bus.request(subjects.TTS_OPEN, request, session_pb2.OpenReply, timeout_s=2)

    async def close(self, sid: str) -> None:
        closed = session_pb2.SessionClosed(stamp=common_pb2.Stamp(sid=sid), by="caller")
        await self.bus.publish(subjects.SESSION_CLOSE, closed)

    async def say(
        self,
        sid: str,
        text: str,
        index: int = 0,
        *,
        epoch: int = 1,
        turn: int = 1,
        revision: int = 0,
        budget_left_ms: int = 0,
    ) -> None:
        stamp = common_pb2.Stamp(sid=sid, epoch=epoch, turn=turn, revision=revision, seq=self._seq)
        stamp.residence.add(hop="dialogue", work_us=1000)
        self._seq += 1
        clause = dialogue_pb2.Clause(stamp=stamp, index=index, text=text, budget_left_ms=budget_left_ms)
        await self.bus.publish(subjects.DIALOGUE_CLAUSE, clause)

    async def advance(self, sid: str, epoch: int) -> None:
        message = session_pb2.EpochAdvanced(stamp=common_pb2.Stamp(sid=sid, epoch=epoch))
        await self.bus.publish(subjects.SESSION_EPOCH, message)

    async def resume(self, sid: str, *, turn: int, revision: int) -> None:
        stamp = common_pb2.Stamp(sid=sid, epoch=1, turn=turn, revision=revision)
        resumed = turn_pb2.Endpoint(stamp=stamp, kind=turn_pb2.ENDPOINT_KIND_RESUMED)
        await self.bus.publish(subjects.TURN_ENDPOINT, resumed)

    async def prepare(self, sid: str, *texts: str) -> None:
        message = tts_pb2.PrepareSpeech(stamp=common_pb2.Stamp(sid=sid, epoch=1), texts=texts)
        await self.bus.publish(subjects.TTS_PREPARE, message)

    async def until(self, condition: Callable[[], object], *, within_s: float = 10) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                self._grown.clear()
                await self._grown.wait()

    def ended(self, sid: str) -> list[int]:
        return [m.clause for m in self.audio if m.stamp.sid == sid and m.is_last]


@asynccontextmanager
async def running(engine: TtsEngine, **settings: object) -> AsyncIterator[Router]:
    """The service and a router on one broker."""
    broker = MemoryBroker()
    chosen = TtsSettings.model_validate({"name": "t", "prepare": [], **settings})
    async with broker.connect() as ours, broker.connect() as theirs:
        router = Router(theirs)
        await router.listen()
        async with TtsService(chosen, ours, engine):
            yield router
        await router.aclose()
    assert broker.interests == 0


def quick() -> ScriptedEngine:
    return ScriptedEngine(Script(word_ms=300, pause_ms=100), sleep=lambda _: None)


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens on a thread or in a metric
            await asyncio.sleep(0.002)
