"""Whole calls, in virtual time, of a caller whose loudspeaker is heard by his microphone."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest
from scene import Scene, Script

from halfbeat.audio import samples_of
from halfbeat.audio.echo import EchoCanceller
from halfbeat.clock import run_virtual
from halfbeat.errors import Unavailable
from halfbeat.v1 import tts_pb2
from services.router import edge
from services.router.cleaner import Cleaner

#: Of 20 ms, between what is played and what is heard of it.
LATE_FRAMES = 6


class AtOnce(Executor):
    """In place of the thread: virtual time does not wait for one."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as e:
            done.set_exception(e)
        return done


def cleaner_of(canceller: EchoCanceller) -> Cleaner:
    cleaner = Cleaner(canceller)
    cleaner.close()
    cleaner._thread = AtOnce()  # type: ignore[assignment]
    return cleaner


def hiss(text: str) -> tuple[bytes, list[tts_pb2.WordTiming]]:
    """Four seconds of noise: a voice to this scene's detector, and what a filter learns from at once."""
    noise = np.random.default_rng(1).standard_normal(4 * 16_000) * 3000
    return noise.clip(-32768, 32767).astype("<i2").tobytes(), []


async def call_over_a_loudspeaker(cleaner: Cleaner | None, *, reports: bool) -> list[edge.CallEvent]:
    scene = Scene(Script(opening=["Hello."], voice=hiss))
    scene.models.cleaner = cleaner
    async with scene:
        fmt = edge.EdgeFormat(reports_playout=reports)
        line = await scene.dial(fmt, has_opening=True)
        air = [np.zeros(320)] * LATE_FRAMES
        played = taken = 0
        for _ in range(260):
            await asyncio.sleep(0.02)
            sound = np.zeros(320)
            if played < len(line.audio()):
                frame = line.audio()[played][1]
                sound, taken = samples_of(frame.pcm).astype(float), frame.offset_samples + 320
                played += 1
            air.append(sound)
            line.call.receive_audio((0.5 * air.pop(0)).astype("<i2").tobytes())
            if reports:
                line.call.played(taken)
        await line.hang_up()
        return [event for _, event in line.events]


@pytest.mark.parametrize("reports", [False, True])
def test_an_agent_whose_echo_is_cancelled_says_all_it_has_to_say(reports: bool) -> None:
    cleaner = cleaner_of(EchoCanceller(2, suppresses=False))
    events = run_virtual(call_over_a_loudspeaker(cleaner, reports=reports))
    assert not [e for e in events if isinstance(e, edge.Interrupted)]
    (answer,) = [e for e in events if isinstance(e, edge.AnswerDone)]
    assert not answer.is_cut


def test_without_cancelling_the_same_call_stops_its_agent() -> None:
    events = run_virtual(call_over_a_loudspeaker(None, reports=False))
    assert [e for e in events if isinstance(e, edge.Interrupted)]


async def test_a_client_that_cancels_echo_itself_gets_no_canceller() -> None:
    scene = Scene(Script())
    scene.models.cleaner = Cleaner(EchoCanceller(1, suppresses=False))
    async with scene:
        own = await scene.dial(edge.EdgeFormat(cleaning=edge.Cleaning.NOTHING))
        other = await scene.dial()
        assert own.call.line is None
        assert other.call.line is not None
        await own.hang_up()
        await other.hang_up()


async def test_a_refused_call_gives_its_canceller_back() -> None:
    scene = Scene(Script())
    scene.models.cleaner = Cleaner(EchoCanceller(1, suppresses=False))
    async with scene:
        await scene.workers["tts"].drain()
        for _ in range(3):
            with pytest.raises(Unavailable, match="tts"):
                await scene.dial()
            await asyncio.sleep(0.05)


async def test_a_canceller_that_breaks_does_not_end_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    canceller = EchoCanceller(1, suppresses=False)
    scene = Scene(Script())
    scene.models.cleaner = Cleaner(canceller)
    async with scene:
        line = await scene.dial()
        monkeypatch.setattr(canceller, "step", lambda *_: 1 / 0)
        await line.speak(400)
        await line.pause(600)
        await line.until(edge.AnswerDone)
        assert line.call.line is None
        assert canceller.open() == 0, "its row is free"
        await line.hang_up()
