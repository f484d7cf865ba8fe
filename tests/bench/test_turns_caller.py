from dataclasses import replace

import numpy as np
from turn_scenes import clip, tone

from bench.turns.caller import Caller
from bench.turns.scenario import Role, Scenario, Step
from halfbeat.audio import RATE_HZ
from halfbeat.caller.phone import Phone


class Line:
    """A caller whose agent says what the test puts on the line."""

    def __init__(self, *steps: Step, **scenario: object) -> None:
        self.phone = Phone(RATE_HZ)
        self.told: list[tuple[str, int]] = []
        self.caller = Caller(Scenario("call", steps, **scenario), self.phone, self._told)  # type: ignore[arg-type]

    def _told(self, step: Step, start: int) -> None:
        self.told.append((step.clip.name, start * 1000 // RATE_HZ))

    def run(self, ms: int) -> "Line":
        for _ in range(ms // 20):
            self.caller.tick()
        return self

    def agent(self, ms: int) -> "Line":
        self.phone.receive(tone(ms))
        return self


def test_the_caller_speaks_when_the_agent_has_answered_and_been_quiet() -> None:
    line = Line(Step(clip((0, 400), name="a")), Step(clip((0, 400), name="b")))
    line.run(1200).agent(600).run(2000)
    assert line.told == [("a", 500), ("b", 2300)]  # 1200 + 600 + 500 of patience


def test_nobody_talks_into_an_answer_that_only_pauses() -> None:
    line = Line(Step(clip((0, 400), name="a")), Step(clip((0, 400), name="b")))
    is_answering = False
    line.caller.is_answering = lambda: is_answering
    line.run(1200)
    is_answering = True
    line.agent(300).run(3000)  # "Well," and then nothing for a while
    assert [name for name, _ in line.told] == ["a"]
    line.agent(1000).run(1100)
    is_answering = False
    line.run(1000)
    assert line.told[1] == ("b", 5700)


def test_the_caller_waits_for_the_greeting_when_there_is_one() -> None:
    line = Line(Step(clip((0, 400), name="a")), has_opening=True).run(1000)
    assert not line.told
    line.agent(1000).run(2000)
    assert line.told == [("a", 2500)]


def test_an_interruption_begins_so_long_after_the_agent_began_to_sound() -> None:
    line = Line(Step(clip((0, 400), name="a")), Step(clip((0, 400), name="b"), Role.INTERRUPTION, over_ms=700))
    line.run(1200).agent(3000).run(2000)
    assert line.told[1] == ("b", 1900)


def test_the_moment_in_an_answer_counts_from_its_beginning_although_it_pauses_between_clauses() -> None:
    line = Line(Step(clip((0, 400), name="a")), Step(clip((0, 400), name="b"), Role.INTERRUPTION, over_ms=1300))
    line.run(1200).agent(600).run(1000).agent(2000).run(2000)  # 400 ms of silence after the first clause
    assert line.told[1] == ("b", 2500)


def test_an_interruption_of_an_answer_that_is_over_is_left_out_and_counted() -> None:
    line = Line(
        Step(clip((0, 400), name="a")),
        Step(clip((0, 400), name="b"), Role.INTERRUPTION, over_ms=2000),
        Step(clip((0, 400), name="c")),
    )
    line.run(1200).agent(500).run(3000)
    assert [name for name, _ in line.told] == ["a", "c"]
    assert [step.clip.name for step in line.caller.skipped] == ["b"]


def test_after_hold_on_the_caller_goes_on_by_the_clock() -> None:
    line = Line(Step(clip((0, 400), name="a"), Role.WAIT), Step(clip((0, 400), name="b"), gap_ms=1500))
    line.run(4000)
    assert line.told == [("a", 500), ("b", 2400)]


def test_a_caller_gives_an_answer_up_that_never_comes_and_one_who_has_said_all_is_finished() -> None:
    line = Line(Step(clip((0, 400), name="a")), Step(clip((0, 400), name="b")), give_up_ms=2000).run(3200)
    assert line.told == [("a", 500), ("b", 2900)]
    assert not line.caller.is_finished
    assert line.run(2500).caller.is_finished


def test_what_is_sent_is_the_clip_sample_for_sample() -> None:
    made = clip((0, 400), (600, 900))
    line = Line(Step(made)).run(2000)
    sent = np.concatenate(line.phone.caller)
    (played,) = line.caller.played
    assert np.array_equal(sent[played.start : played.end], made.pcm)


def test_the_noise_around_a_clip_goes_on_after_it() -> None:
    room = np.full(3 * RATE_HZ, 50, np.int16)
    made = replace(clip((0, 410)), room=room)
    line = Line(Step(made)).run(2000)
    sent = np.concatenate(line.phone.caller)
    (played,) = line.caller.played
    assert not sent[: played.start].any()
    assert (sent[played.end + 320 :] == 50).all()
    assert np.array_equal(sent[played.start : played.end], made.pcm)
