"""The page about writing an application shows one that works."""

import re
from collections.abc import Iterable
from inspect import signature
from pathlib import Path
from typing import Any

from dialogue_bus import dialogue

from halfbeat.v1 import dialogue_pb2
from services.dialogue.engine import CallDelta, CallerSaid, Prompt
from services.dialogue.engines.scripted import Line, Scripted

PAGE = Path(__file__).parents[2] / "docs" / "writing-an-application.md"


def example() -> str:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found.group(1)


def script(prompt: Prompt) -> Iterable[Line]:
    said = prompt.items[-1]
    assert isinstance(said, CallerSaid)
    if "large" in said.text and any(tool.name == "order_pizza" for tool in prompt.open_tools):
        return [CallDelta("", "order_pizza", '{"size": "large"}')]
    return [CallDelta("", "end_call", "{}")] if "bye" in said.text else ["It takes 20 minutes."]


async def test_the_example_takes_an_order_answers_a_question_and_hangs_up() -> None:
    names: dict[str, Any] = {"__name__": "pizza"}
    exec(compile(example(), str(PAGE), "exec"), names)
    async with dialogue(Scripted(script), names["app"]) as router:
        await router.open()
        assert await router.say(0, "", is_prompted=True) == "Hi, this is Luigi's. Small or large?"
        assert await router.say(1, "a large one") == "Okay, one large pizza in 20 minutes."
        assert await router.say(2, "another large one, how long?") == "It takes 20 minutes."
        assert await router.say(3, "bye") == "Enjoy your meal. Goodbye!"
    assert router.of(dialogue_pb2.AnswerDone, 3)[0].hangs_up


def test_the_example_fits_into_twenty_lines() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 20


def test_every_part_of_the_page_exists() -> None:
    from halfbeat.application import Application, Call

    for name in re.findall(r"`@app\.(\w+)", PAGE.read_text()):
        assert hasattr(Application, name)
    parameters = {*signature(Application).parameters, *signature(Application.tool).parameters}
    for name in re.findall(r"`(?:Application\()?(\w+)=", PAGE.read_text()):
        assert name in parameters | {"say", "facts"}, name
    for name in ("sid", "caller", "said", "now", "data", "resources", "key", "hang_up"):
        assert hasattr(Call("s1"), name)
