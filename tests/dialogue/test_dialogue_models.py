"""A short 311 conversation in text with the real model on the bundled server."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from dialogue_bus import dialogue

from apps.city311.city import open_city
from apps.city311.config import City311Settings
from halfbeat.v1 import dialogue_pb2
from services.dialogue.config import DialogueSettings
from services.dialogue.engines import make_engine
from services.dialogue.loading import load_application

pytestmark = [pytest.mark.models, pytest.mark.timeout(400)]


@asynccontextmanager
async def llama_server() -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.dialogue.llama_server", "--port", "0", stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        port = 0
        async for line in process.stderr:
            if b'"ready"' in line:
                port = json.loads(line)["http_port"]
                break
        assert port, "the server did not become ready"
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        async with asyncio.timeout(20):
            await process.communicate()


async def test_a_caller_books_a_truck_gets_a_text_and_says_goodbye(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALFBEAT_STATE", str(tmp_path))
    async with llama_server() as url:
        settings = DialogueSettings(llm_url=url, first_token_s=60, gap_s=60)
        app = load_application("apps.city311")
        async with dialogue(make_engine(settings), app) as router:
            assert not (await router.open(caller_number="+15550100142")).HasField("error")
            opening = await router.say(0, "", is_prompted=True, limit_s=60)
            assert opening == "Hi, I see you're calling from Oak Street. Are you reporting today's missed trash pickup?"
            assert "Shall I book it?" in await router.say(1, "Yes, nobody came this morning.", limit_s=60)
            booked = await router.say(2, "Can you send somebody tomorrow?", limit_s=60)
            assert booked.startswith("Okay, a truck comes to Oak Street tomorrow")
            assert "sent a text" in await router.say(3, "Will I get a confirmation text?", limit_s=60)
            assert "truck" not in await router.say(4, "Who won the game last night?", limit_s=60)
            assert "Goodbye" in await router.say(5, "No, that's all, thanks. Bye!", limit_s=60)
            assert [done.hangs_up for done in router.of(dialogue_pb2.AnswerDone)] == [False] * 5 + [True]
    async with open_city(City311Settings()) as city:
        assert len(await city.bookings()) == 1
        assert len(await city.texts()) == 1
