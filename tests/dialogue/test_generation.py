"""What a session asks of the model: one thing at a time, and nothing that the next request makes superfluous."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from halfbeat.clock import run_virtual
from halfbeat.v1 import common_pb2
from services.dialogue.engine import CallerSaid, Prompt, Sampling
from services.dialogue.engines.scripted import Scripted
from services.dialogue.generation import Generation
from services.dialogue.outputs import AnswerKey, Ask

PROMPT = Prompt("You are an agent.", items=[CallerSaid("Hello.")])


def generation(engine: Scripted) -> Generation:
    def start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(work)

    return Generation(
        engine,
        start=start,
        on_delta=lambda key, delta: None,
        on_failure=lambda key, error: None,
        is_waiting=lambda key: False,
        trace_pii=False,
    )


def test_a_draft_that_comes_in_time_spares_reading_its_words_ahead() -> None:
    async def scene() -> None:
        engine = Scripted()
        asks = generation(engine)
        asks.read_ahead(PROMPT, 0.04)
        await asyncio.sleep(0.03)
        asks.ask(Ask(AnswerKey(0, 1, 0), PROMPT), Sampling(), common_pb2.Stamp(), {})
        await asyncio.sleep(1.0)
        assert engine.prefilled == []
        assert engine.prompts == [PROMPT]

    run_virtual(scene())


def test_without_a_draft_the_words_are_read_ahead() -> None:
    async def scene() -> None:
        engine = Scripted()
        generation(engine).read_ahead(PROMPT, 0.04)
        await asyncio.sleep(0.05)
        assert engine.prefilled == [PROMPT]

    run_virtual(scene())
