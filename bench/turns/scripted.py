"""Workers with the timing of a GPU and perfect ears, in a process of their own.

    python -m bench.turns.scripted --nats-url nats://127.0.0.1:4222

asr gives the words that are really said by then (the caller tells them on standard input before it plays a clip),
dialogue and tts are the real services with their scripted engines. Ends with its standard input.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from bench.turns.truth import Truth
from bench.turns.voice import VOICE
from halfbeat import subjects
from halfbeat.application import Application
from halfbeat.audio import RATE_HZ
from halfbeat.bus import Bus, Delivery
from halfbeat.settings import NatsSettings
from halfbeat.subjects import Kind
from halfbeat.v1 import asr_pb2, audio_pb2, common_pb2, session_pb2
from halfbeat.worker import Worker
from services.dialogue.config import DialogueSettings
from services.dialogue.engine import CallerSaid, Prompt
from services.dialogue.engines.scripted import Scripted
from services.dialogue.service import DialogueService
from services.tts.config import TtsSettings
from services.tts.engines.scripted import ScriptedEngine
from services.tts.service import TtsService

SLOTS = 64
FLUSH_S, PARTIAL_S = 0.040, 0.040
PARTIAL_EVERY_MS = 300
FIRST_TOKEN_S, TOKEN_S = 0.100, 1 / 60
#: Audio after the flush's mark that still belongs to the last word.
_TAIL = RATE_HZ // 10


class ScriptedAsr:
    """One call's recogniser. Implements `halfbeat.worker.Session`."""

    subjects: Sequence[Kind] = (subjects.ASR_AUDIO, subjects.ASR_CONTROL)

    def __init__(self, bus: Bus, sid: str, truth: Truth) -> None:
        self._bus, self._sid, self._truth = bus, sid, truth
        self._stamp = common_pb2.Stamp(sid=sid)
        self._begin: int | None = None
        self._forgotten = 0
        self._is_speaking = False
        self._position = self._shown_at = 0
        self._shown = ""
        self._flushing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle(self, delivery: Delivery) -> None:
        """Takes audio or a control."""
        match delivery.message:
            case audio_pb2.AudioFrame() as frame:
                self._position = frame.offset_samples + len(frame.pcm) // 2
                if self._is_speaking and self._position - self._shown_at >= PARTIAL_EVERY_MS * RATE_HZ // 1000:
                    self._show()
            case asr_pb2.AsrControl() as control:
                self._control(control)

    async def aclose(self) -> None:
        """Forgets the call."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._truth.words.pop(self._sid, None)

    def _control(self, control: asr_pb2.AsrControl) -> None:
        stamp, is_new_turn = control.stamp, control.stamp.turn != self._stamp.turn
        if self._flushing is not None:
            self._flushing.cancel()
        match control.WhichOneof("command"):
            case "speech_started":
                if self._begin is None or is_new_turn:
                    self._begin = max(control.speech_started.offset_samples, self._forgotten)
                self._stamp, self._is_speaking, self._shown_at = stamp, True, self._position
            case "flush":
                if self._begin is None or (is_new_turn and not self._is_speaking):
                    self._begin = control.flush.offset_samples
                self._stamp, self._is_speaking = stamp, False
                self._flushing = self._start(self._final(stamp, self._begin, control.flush.offset_samples + _TAIL))
            case "reset":
                self._begin, self._is_speaking, self._shown = None, False, ""
                self._forgotten = self._position

    def _show(self) -> None:
        self._shown_at = self._position
        begin, heard = self._begin or 0, self._position
        text = self._truth.between(self._sid, begin, heard)
        if text != self._shown:
            self._shown = text
            self._start(self._publish(PARTIAL_S, subjects.ASR_PARTIAL, self._stamp, text, begin, heard))

    async def _final(self, stamp: common_pb2.Stamp, begin: int, end: int) -> None:
        text = self._truth.between(self._sid, begin, end)
        await self._publish(FLUSH_S, subjects.ASR_FINAL, stamp, text, begin, end)

    async def _publish(
        self, after_s: float, kind: Kind, stamp: common_pb2.Stamp, text: str, begin: int, end: int
    ) -> None:
        await asyncio.sleep(after_s)
        is_final = kind is subjects.ASR_FINAL
        transcript = asr_pb2.Transcript(
            stamp=stamp, is_final=is_final, start_samples=begin, end_samples=end, confidence=1.0, stable=text
        )
        if is_final:
            transcript.stamp.residence.append(common_pb2.Residence(hop="asr", work_us=int(FLUSH_S * 1e6)))
        await self._bus.publish(kind, transcript)

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


@asynccontextmanager
async def workers(bus: Bus, truth: Truth) -> AsyncIterator[None]:
    """Serves asr, dialogue and tts on this bus."""
    application = Application("bench", "You answer in one or two sentences.")

    async def open_asr(request: session_pb2.OpenRequest) -> ScriptedAsr:
        return ScriptedAsr(bus, request.stamp.sid, truth)

    dialogue = DialogueSettings(name="bench", engine="scripted", slots=SLOTS)
    tts = TtsSettings(name="bench", engine="scripted", slots=SLOTS, workers=SLOTS)

    def answer(prompt: Prompt) -> list[str]:
        said = next((item.text for item in reversed(prompt.items) if isinstance(item, CallerSaid)), "")
        return [truth.answer(said)]

    model = Scripted(answer, first_token_s=FIRST_TOKEN_S, token_s=TOKEN_S)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(Worker(bus, "asr", open_asr, name="bench", slots=SLOTS))
        await stack.enter_async_context(TtsService(tts, bus, ScriptedEngine(VOICE)))
        await stack.enter_async_context(DialogueService(dialogue, bus, model, application))
        yield


async def _main(nats_url: str) -> int:
    from halfbeat.bus.nats import NatsBus

    truth = Truth()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with NatsBus(NatsSettings(url=nats_url), name="bench-workers") as bus, workers(bus, truth):
        print("ready", flush=True)
        while line := await reader.readline():
            truth.take(line.decode())
    return 0


if __name__ == "__main__":
    from halfbeat.service import run_loop

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nats-url", required=True)
    raise SystemExit(run_loop(_main(parser.parse_args().nats_url)))
