"""A caller who says nothing is asked, asked again, and bid goodbye."""

import pytest
from floor_driver import Driver, Patience, of
from scene import Scene, Script

from halfbeat.clock import run_virtual
from halfbeat.v1 import turn_pb2
from services.router import edge
from services.router import floor_events as fe


def made(fmt: edge.EdgeFormat | None = None) -> Driver:
    """A floor on which a turn ends after 200 ms of silence."""
    return Driver(fmt=fmt or edge.EdgeFormat(), turn_end=Patience(200))


@pytest.fixture
def call() -> Driver:
    driver = made()
    driver.feed(fe.CallBegan(has_opening=True))
    driver.answer()
    driver.played_out()
    return driver


def prompts(call: Driver) -> list[str]:
    return [c.prompt_cause for c in call.all(fe.Commit)]


def test_the_greeting_has_a_cause_of_its_own(call: Driver) -> None:
    assert prompts(call) == ["opening"]


def test_a_silent_caller_is_asked_asked_again_and_bid_goodbye(call: Driver) -> None:
    call.wait(6_800)
    assert prompts(call) == ["opening"]
    (asked,) = of(call.wait(400), fe.Commit)
    assert (asked.prompt_cause, asked.is_prompted, asked.transcript, asked.turn) == ("silence", True, "", 1)
    call.answer()
    call.wait(3_000)
    call.played_out()
    call.wait(6_800)
    assert len(prompts(call)) == 2, "counted from the end of the question"
    call.wait(400)
    call.answer()
    call.played_out()
    call.wait(7_200)
    assert prompts(call) == ["opening", "silence", "silence_again", "goodbye"]
    call.answer(hangs_up=True)
    assert [o.by for o in of(call.played_out(), fe.EndCall)] == ["agent"]


def test_the_opening_must_have_been_heard() -> None:
    call = made()
    call.feed(fe.CallBegan(has_opening=True))
    call.wait(15_000)
    assert prompts(call) == ["opening"]


def test_who_speaks_first_is_not_asked_before_he_was_answered() -> None:
    call = made()
    call.feed(fe.CallBegan(has_opening=False))
    call.wait(30_000)
    assert prompts(call) == []
    call.turn()
    call.answer()
    call.played_out()
    call.wait(7_200)
    assert prompts(call) == ["", "silence"]


def test_whoever_says_something_begins_anew(call: Driver) -> None:
    call.wait(7_200)
    call.answer()
    call.played_out()
    call.turn("I am here.")
    call.answer()
    call.played_out()
    call.wait(7_200)
    assert prompts(call) == ["opening", "silence", "", "silence"]


def test_a_noise_is_not_something_said(call: Driver) -> None:
    call.wait(7_200)
    call.answer()
    call.played_out()
    call.voice(256)
    call.quiet(256)
    call.words("")
    call.quiet(416)
    call.wait(7_200)
    assert prompts(call) == ["opening", "silence", "silence_again"]


def test_nobody_is_asked_while_speaking_or_waiting_for_an_answer(call: Driver) -> None:
    call.wait(6_000)
    call.voice(3_000)
    assert prompts(call) == ["opening"]


def test_who_asked_for_time_has_it() -> None:
    call = Driver()
    call.feed(fe.CallBegan(has_opening=True))
    call.answer()
    call.played_out()
    call.voice(800)
    call.quiet(256)
    call.words("Hold on, let me look.")
    call.judge(0.9)
    call.quiet(8_000)
    assert prompts(call) == ["opening"]
    assert call.floor.utterance is not None, "the turn stays open"


@pytest.mark.parametrize(
    "fmt",
    [
        edge.EdgeFormat(has_turn_detection=False, creates_response=False, interrupts_response=False),
        edge.EdgeFormat(asks_silent_caller=False),
    ],
)
def test_a_client_that_minds_its_turns_itself_is_not_asked(fmt: edge.EdgeFormat) -> None:
    call = made(fmt=fmt)
    call.feed(fe.CallBegan(has_opening=True))
    call.answer()
    call.played_out()
    call.wait(30_000)
    assert prompts(call) == ["opening"]


def test_a_client_that_asks_for_an_answer_is_the_cause_of_it(call: Driver) -> None:
    call.feed(fe.AnswerRequested())
    assert prompts(call)[-1] == "client"


def test_a_goodbye_that_does_not_hang_up_leaves_it_to_the_last_resort(call: Driver) -> None:
    for _ in range(3):
        call.wait(7_200)
        call.answer()
        call.played_out()
    assert of(call.wait(74_000), fe.EndCall) == []
    assert [o.by for o in of(call.wait(2_000), fe.EndCall)] == ["timeout"]
    assert prompts(call) == ["opening", "silence", "silence_again", "goodbye"]


def test_a_silent_caller_who_interrupts_the_goodbye_goes_on(call: Driver) -> None:
    for _ in range(2):
        call.wait(7_200)
        call.answer()
        call.played_out()
    call.wait(7_200)
    call.answer(hangs_up=True)
    call.quiet(416)
    call.voice(160)
    call.words("No stop", is_final=False)
    call.quiet(300)
    call.words("No, stop.")
    call.quiet(1600)
    assert not call.all(fe.EndCall)
    assert prompts(call)[-1] == ""


def test_dialogue_is_told_the_cause_and_the_goodbye_hangs_up() -> None:
    script = Script(opening=["Hi, how can I help?"], answers=[["Hello?"], ["Is anybody there?"], ["Goodbye."]])
    script.hangs_up_after = 3

    async def run() -> list[tuple[int, bool]]:
        async with Scene(script) as scene:
            line = await scene.dial(has_opening=True)
            began_s = line.clock.now_ns() / 1e9
            ended = await line.until(edge.Ended, 60_000)
            assert ended == edge.Ended("agent")
            assert 21 <= line.clock.now_ns() / 1e9 - began_s <= 30
            return [(c.prompt_cause, c.is_prompted) for c in scene.dialogue[0].commits]

    assert run_virtual(run()) == [
        (turn_pb2.PROMPT_CAUSE_OPENING, True),
        (turn_pb2.PROMPT_CAUSE_SILENCE, True),
        (turn_pb2.PROMPT_CAUSE_SILENCE_AGAIN, True),
        (turn_pb2.PROMPT_CAUSE_GOODBYE, True),
    ]
