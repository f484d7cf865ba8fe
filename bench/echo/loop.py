"""In the loop: whole calls in which the caller's loudspeaker is heard by the caller's microphone.

The real router, recogniser and voice; a dialogue that always says the same sentence. Every answer is followed by a
request for the next, so the agent speaks nearly all the time, and every third answer is interrupted by a caller.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.echo.cancellers import AEC3, CANCELLERS, LINEAR, NONE, Canceller
from bench.echo.scenes import room
from bench.turns.caller import ListeningCall
from bench.turns.speech import Clip, Line, make_speech
from bench.turns.stage import environment
from halfbeat.audio import RATE_HZ, Floats, Samples
from halfbeat.audio.linear import HOP
from halfbeat.caller.phone import FRAME_MS, Phone, last_audible
from halfbeat.caller.phone import Line as Spoken
from halfbeat.client import VoiceClient
from halfbeat.errors import HalfbeatError
from halfbeat.supervisor import Plan, everything
from halfbeat.v1 import session_pb2

#: The echo is this far below the agent's voice as it was sent.
ECHO_DB = -6.0
DELAYS_MS = (120, 200, 300, 400)
_INTERRUPTS_EVERY = 3
_WORDS = (
    "No wait, I meant Elm Street.",
    "Stop, that's not what I asked for.",
    "Excuse me, can I say something?",
    "Hold it, the address is wrong.",
)
#: An interruption that has not stopped the agent by then has failed; one that was not made by then was no interruption.
_PATIENCE_S = 3.0
_NEXT = "Go on."
_FRAME = RATE_HZ * FRAME_MS // 1000


@dataclass
class Loop:
    """What happened in the calls of one canceller."""

    agent_s: float = 0.0
    self_interruptions: int = 0
    answers: int = 0
    interruptions: int = 0
    stopped: int = 0
    silence_ms: list[float] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Returns it for the report; times in ms."""
        p50, p95 = np.percentile(self.silence_ms, (50, 95)) if self.silence_ms else (None, None)
        return {
            "agent_s": round(self.agent_s, 1),
            "answers": self.answers,
            "self_interruptions": self.self_interruptions,
            "interruptions": self.interruptions,
            "barge_in_recall": round(self.stopped / self.interruptions, 4) if self.interruptions else None,
            "time_to_silence_ms": {
                "p50": None if p50 is None else round(float(p50), 1),
                "p95": None if p95 is None else round(float(p95), 1),
            },
        }


class _Microphone:
    """What the caller's end sends: the caller, and the agent out of the loudspeaker a while ago."""

    def __init__(self, delay_ms: int, seed: int, canceller: Canceller | None) -> None:
        self._room = room(np.random.default_rng(seed)) * 10 ** (ECHO_DB / 20)
        self._tail = np.zeros(self._room.size - 1)
        self._late = [np.zeros(_FRAME)] * (delay_ms // FRAME_MS)
        self._canceller = canceller

    def hear(self, caller: Samples, agent: Samples) -> Samples:
        """Takes 20 ms of both; returns what is sent."""
        sound = np.concatenate((agent / 32768, np.zeros(max(0, _FRAME - agent.size))))
        self._late.append(sound)
        whole = np.convolve(self._late.pop(0), self._room)
        whole[: self._tail.size] += self._tail
        self._tail = whole[_FRAME:]
        heard: Floats = (caller / 32768 + whole[:_FRAME]).astype(np.float32)
        if self._canceller is not None:
            played = sound.astype(np.float32)
            heard = np.concatenate(
                [self._canceller.step(heard[i : i + HOP], played[i : i + HOP])[0] for i in range(0, _FRAME, HOP)]
            )
        return np.rint(np.clip(heard, -1, 1) * 32767).astype(np.int16)


async def in_the_loop(name: str, minutes: float, calls: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Holds calls until the agent has spoken for so many minutes in all; returns what happened."""
    clips = make_speech([Line(text, pitch=1.15, speed=1.0, level_dbfs=-22) for text in _WORDS])
    settings = {"dialogue.engine": "scripted", "silence_prompt_s": "0", "max_call_s": "1700"}
    settings |= {"cleaning": "nothing"} if name in (NONE, AEC3) else {"suppresses": str(name != LINEAR).lower()}
    loop = Loop()
    with tempfile.TemporaryDirectory(prefix="halfbeat-echo-") as folder:
        plan = Plan(
            Path(folder), http_port=0, grpc_port=0, drain_s=3, llm_url="http://127.0.0.1:9/v1",
            env=environment(settings),
        )  # fmt: skip
        async with everything(plan, lambda _, __: None) as running, asyncio.TaskGroup() as group:
            for i in range(calls):
                canceller = CANCELLERS[AEC3]() if name == AEC3 else None
                microphone = _Microphone(DELAYS_MS[i % len(DELAYS_MS)], i, canceller)
                group.create_task(_hold(running.grpc_target, microphone, clips, loop, minutes * 60, i))
            group.create_task(_show(name, loop, minutes * 60, tell))
    return loop.report()


async def _show(name: str, loop: Loop, seconds: float, tell: Callable[[str], None]) -> None:
    while loop.agent_s < seconds:
        await asyncio.sleep(10)
        tell(
            f"{name}: the agent has spoken for {loop.agent_s:.0f} of {seconds:.0f} s, stopped itself "
            f"{loop.self_interruptions} times, {loop.stopped} of {loop.interruptions} interruptions stopped it"
        )


async def _hold(target: str, microphone: _Microphone, clips: list[Clip], loop: Loop, seconds: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    phone = Phone(RATE_HZ)
    config = session_pb2.SessionConfig(caller_number="+15550100142", has_opening=True)
    async with (
        VoiceClient(target) as client,
        client.converse(config, sample_rate_hz=RATE_HZ, reports_playout=True) as conversation,
    ):
        call = ListeningCall(conversation, phone)
        listening = asyncio.create_task(call.listen())
        caller = _Caller(call, clips, loop, rng)
        due = time.monotonic()
        try:
            while loop.agent_s < seconds and not call.ended.is_set():
                sent = phone.tick()
                heard = phone.agent[-1]
                caller.hear(heard)
                await call.send(microphone.hear(sent, heard))
                if caller.wants_next():
                    await conversation.send_text(_NEXT)
                due += FRAME_MS / 1000
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        finally:
            await call.hang_up()
            try:
                async with asyncio.timeout(5):
                    await listening
            except (TimeoutError, HalfbeatError):
                listening.cancel()


class _Caller:
    """Asks on, interrupts, and counts who stopped the agent."""

    def __init__(self, call: ListeningCall, clips: list[Clip], loop: Loop, rng: np.random.Generator) -> None:
        self._call, self._clips, self._loop, self._rng = call, clips, loop, rng
        self._answers = self._seen = 0
        self._onset: int | None = None
        self._last_sound = 0
        self._began: int | None = None  # of the interruption that is judged
        self._asked = -RATE_HZ
        self._wait_s = 0.0
        self._is_waiting = False  # for the agent to be stopped

    def hear(self, agent: Samples) -> None:
        """Takes the 20 ms that were just played."""
        phone, loop = self._call.phone, self._loop
        now = phone.position
        loud = last_audible(agent)
        if loud:
            if now - self._last_sound > 0.5 * RATE_HZ and not self._is_judged(now):
                self._onset, self._answers = now, self._answers + 1
                self._wait_s = float(self._rng.uniform(0.6, 2.2))
                loop.answers += 1
            self._last_sound = now - _FRAME + loud
            loop.agent_s += FRAME_MS / 1000
        self._count_stops(now)
        if self._began is not None and now - self._began > _PATIENCE_S * RATE_HZ:
            self._began = None
        if self._began is not None and self._is_waiting and self._was_stopped(self._began):
            self._is_waiting = False
            loop.stopped += 1
            loop.silence_ms.append(max(0, self._last_sound - self._began) * 1000 / RATE_HZ)
        is_due = self._onset is not None and now - self._onset >= self._wait_s * RATE_HZ
        if is_due and self._answers % _INTERRUPTS_EVERY == 0 and now - self._last_sound < _FRAME * 2:
            self._onset = None
            clip = self._clips[self._answers // _INTERRUPTS_EVERY % len(self._clips)]
            phone.speak(Spoken(clip.text, clip.pcm))
            self._began, self._is_waiting = now, True
            loop.interruptions += 1

    def _was_stopped(self, began: int) -> bool:
        """Whether the agent was stopped for good; what it had said before was its last, muted or not."""
        return any(event.name == "interrupted" and event.position >= began for event in self._call.happened)

    def _count_stops(self, now: int) -> None:
        """Counts answers that stopped while nobody spoke; a request for the next one stops it, too, and is no echo."""
        happened = self._call.happened
        while self._seen < len(happened) and now - happened[self._seen].position > 0.2 * RATE_HZ:
            event = happened[self._seen]
            self._seen += 1
            if event.name != "interrupted" or self._is_judged(event.position):
                continue
            around = [h for h in happened if abs(h.position - event.position) <= 0.1 * RATE_HZ]
            if not any(h.name == "turn_committed" and _NEXT in h.detail for h in around):
                self._loop.self_interruptions += 1

    def wants_next(self) -> bool:
        """Whether the agent has been quiet for long enough to be asked for more."""
        now = self._call.phone.position
        is_quiet = now - self._last_sound > 0.6 * RATE_HZ and not self._call.phone.is_audio_waiting
        if not is_quiet or self._call.is_answering or self._began is not None or now - self._asked < 3 * RATE_HZ:
            return False
        self._asked = now
        return True

    def _is_judged(self, position: int) -> bool:
        return self._began is not None and position - self._began < _PATIENCE_S * RATE_HZ
