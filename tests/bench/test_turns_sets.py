from collections import Counter
from collections.abc import Sequence

import pytest
from turn_scenes import clip

from bench.turns import bank, sets
from bench.turns.scenario import Role, Scenario
from bench.turns.speech import Clip, Line, plain
from bench.turns.truth import Truth, line_for
from services.dialogue.grounding import Grounding


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[Line]:
    """Clips of tones in place of speech; the lines that were asked for."""
    asked: list[Line] = []

    def make_speech(lines: Sequence[Line], **_: object) -> list[Clip]:
        asked.extend(lines)
        return [clip((0, 500), text=plain(line.text), kind=line.kind, name=line.name) for line in lines]

    monkeypatch.setattr(sets, "make_speech", make_speech)
    return asked


def scripted(turns: int = 60, seed: int = 1) -> list[Scenario]:
    return sets.scripted(turns, seed, lambda *_: None)


def shape(scenarios: list[Scenario]) -> list[tuple[str, Role, int | None]]:
    return [(step.clip.name, step.role, step.over_ms) for scenario in scenarios for step in scenario.steps]


def test_a_set_wants_at_least_the_answers_that_were_asked_for() -> None:
    assert sum(s.turns for s in scripted(300)) >= 300
    assert sum(s.turns for s in sets.city(60, 1, lambda *_: None)) >= 60


def test_the_same_seed_gives_the_same_calls_and_another_seed_others() -> None:
    assert shape(scripted(seed=1)) == shape(scripted(seed=1)) != shape(scripted(seed=2))


def test_the_scripted_set_holds_every_kind_of_turn_and_aside() -> None:
    kinds = Counter(step.clip.kind for scenario in scripted(300) for step in scenario.steps)
    turns = {"plain", "paused", "short", "spelled", "hesitant", "question", "interruption", "wait", "found"}
    assert turns | {"backchannel", "cough", "side_talk"} | set(bank.SOUNDS) <= set(kinds)


def test_what_is_said_over_the_agent_comes_after_a_turn_with_a_long_answer() -> None:
    for scenario in scripted():
        for before, step in zip(scenario.steps, scenario.steps[1:], strict=False):
            if step.over_ms is not None:
                assert before.clip.kind == "question" or before.role is Role.ASIDE
                spoken_ms = 200 * len(sets.answer_to(scenario.steps[0], "s").split()) + 5000
                assert step.over_ms < spoken_ms


def test_one_clip_has_one_name(made: list[Line]) -> None:
    scripted(300)
    assert max(Counter(line.name for line in made).values()) == 1


def test_the_scripted_answers_claim_nothing_that_dialogue_would_have_to_know() -> None:
    answers = {sets.answer_to(step, str(call)) for call in range(100) for step in scripted()[0].steps}
    assert len(answers) > 100
    assert {a for a in answers if Grounding().invented(a)} == set()


def test_the_recogniser_is_told_where_in_the_call_each_word_is_said() -> None:
    truth = Truth()
    truth.take(line_for("s1", [("Yes,", 0.0, 0.4), ("please.", 0.5, 1.0)], 16_000, "Okay."))
    assert truth.between("s1", 0, 16_000 * 3) == "Yes, please."
    assert truth.between("s1", 16_000, 16_000 + 8000) == "Yes,"
    assert truth.between("s2", 0, 1 << 30) == ""
    assert truth.answer("yes please") == "Okay."
    assert truth.answer("something else") != "Okay."
