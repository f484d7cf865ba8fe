import pytest
from turn_scenes import Tape, clip

from bench.turns.scenario import Role, Step
from bench.turns.score import Answer, runs, score


def test_voice_to_voice_is_the_distance_from_the_labels_end_to_the_agents_first_sample() -> None:
    tape = Tape(6000).says(1000, clip((0, 800), (1400, 2000))).answers(3250, 5000)
    (turn,), asides = score(tape.recording())
    assert turn.v2v_ms == pytest.approx(250.0, abs=0.1)  # the clip ends at 3000
    assert (turn.is_unanswered, turn.cut_ins_ms, asides) == (False, (), [])
    assert turn.pauses_ms == ((800, 600),)


def test_a_quiet_beginning_of_the_agent_counts_only_from_minus_45_dbfs_on() -> None:
    tape = Tape(5000).says(0, clip((0, 1000))).answers(1100, 1500, level=0.004).answers(1500, 3000)
    (turn,), _ = score(tape.recording())
    assert turn.v2v_ms == pytest.approx(500.0, abs=0.1)


def test_an_answer_into_a_pause_is_a_cut_in_and_the_answer_after_the_end_still_counts() -> None:
    tape = Tape(8000).says(1000, clip((0, 500), (1500, 2500))).answers(1900, 2600).answers(4000, 5000)
    (turn,), _ = score(tape.recording())
    assert turn.cut_ins_ms == (900,)
    assert turn.v2v_ms == pytest.approx(500.0, abs=0.1)


def test_an_answer_that_was_formed_in_a_pause_and_comes_over_the_next_words_is_a_cut_in_too() -> None:
    tape = Tape(8000).says(0, clip((0, 500), (1000, 2500))).answers(1100, 1300).answers(3000, 4000)
    (turn,), _ = score(tape.recording())
    assert turn.cut_ins_ms == (1100,)


def test_a_pause_is_answered_into_at_most_once() -> None:
    tape = Tape(9000).says(0, clip((0, 500), (2500, 3000), (4000, 5000)))
    tape.answers(800, 1000).answers(1600, 1800).answers(3400, 3600).answers(5400, 6000)
    (turn,), _ = score(tape.recording())
    assert turn.cut_ins_ms == (800, 3400)
    assert len(turn.pauses_ms) == 2


def test_gaps_shorter_than_200_ms_are_no_pauses() -> None:
    (turn,), _ = score(Tape(4000).says(0, clip((0, 500), (650, 1000))).answers(1300, 2000).recording())
    assert turn.pauses_ms == ()


def test_a_turn_that_nobody_answers_before_the_next_one_is_unanswered() -> None:
    tape = Tape(9000).says(0, clip((0, 500))).says(6000, clip((0, 500))).answers(7000, 8000)
    (first, second), _ = score(tape.recording())
    assert (first.is_unanswered, first.v2v_ms) == (True, None)
    assert (second.is_unanswered, second.v2v_ms) == (False, pytest.approx(500.0, abs=0.1))


def test_an_agent_that_speaks_when_the_turn_ends_cut_in_but_left_nothing_unanswered() -> None:
    (turn,), _ = score(Tape(5000).says(0, clip((0, 500), (1500, 2500))).answers(1000, 4000).recording())
    assert (turn.v2v_ms, turn.is_unanswered, turn.cut_ins_ms) == (None, False, (1000,))


def test_time_to_silence_runs_from_the_first_voiced_sample_to_the_agents_last_one() -> None:
    tape = Tape(9000).answers(500, 3210).says(3000, clip((0, 1000)), Role.INTERRUPTION).answers(4400, 6000)
    (turn,), _ = score(tape.recording())
    assert turn.barge_in_ms == pytest.approx(210.0, abs=0.1)
    assert turn.v2v_ms == pytest.approx(400.0, abs=0.1)
    assert not turn.cut_ins_ms


def test_a_short_gap_in_the_agents_speech_is_not_yet_silence() -> None:
    tape = Tape(9000).answers(500, 3100).answers(3350, 3600)
    tape.says(3000, clip((0, 1000)), Role.INTERRUPTION).answers(4400, 6000)
    (turn,), _ = score(tape.recording())
    assert turn.barge_in_ms == pytest.approx(600.0, abs=0.1)


def test_an_interruption_that_the_agent_talks_over_is_not_heard() -> None:
    tape = Tape(9000).answers(500, 8000).says(1000, clip((0, 600)), Role.INTERRUPTION)
    (turn,), _ = score(tape.recording())
    assert (turn.is_deaf, turn.barge_in_ms, turn.v2v_ms) == (True, None, None)


def test_who_speaks_when_the_agent_has_finished_interrupts_nobody() -> None:
    tape = Tape(9000).answers(500, 2000).says(2100, clip((0, 600)), Role.INTERRUPTION).answers(3000, 4000)
    (turn,), _ = score(tape.recording())
    assert turn.barge_in_ms is None
    assert turn.v2v_ms == pytest.approx(300.0, abs=0.1)


@pytest.mark.parametrize(
    ("event", "detail", "is_stopped"),
    [
        ("interrupted", {}, True),
        ("answer_done", {"is_cut": True}, True),
        ("answer_done", {"is_cut": False}, False),
        ("turn_done", {"is_interrupted": True}, False),
    ],
)
def test_an_aside_has_stopped_the_agent_when_its_answer_was_given_up(
    event: str, detail: dict[str, object], is_stopped: bool
) -> None:
    tape = Tape(9000).says(0, clip((0, 500))).answers(800, 6000)
    tape.says(2000, clip((0, 300), kind="cough"), Role.ASIDE).tells(2600, event, **detail)
    (turn,), (aside,) = score(tape.recording())
    assert (aside.kind, aside.is_stopped) == ("cough", is_stopped)
    assert turn.v2v_ms == pytest.approx(300.0, abs=0.1)


def test_an_aside_after_the_answers_end_is_not_scored() -> None:
    tape = Tape(9000).says(0, clip((0, 500))).answers(800, 2000).says(2500, clip((0, 300)), Role.ASIDE)
    assert score(tape.recording())[1] == []


def test_how_long_the_agent_was_muted_by_an_aside_is_told() -> None:
    tape = Tape(9000).says(0, clip((0, 500))).answers(800, 2300).answers(2550, 6000)
    tape.says(2000, clip((0, 300)), Role.ASIDE)
    _, (aside,) = score(tape.recording())
    assert (aside.muted_ms, aside.is_stopped) == (250, False)


@pytest.mark.parametrize(("answer_ms", "is_answered"), [((1500, 2000), True), ((5200, 6000), False)])
def test_an_agent_that_was_asked_to_wait_should_be_quiet_until_the_caller_goes_on(
    answer_ms: tuple[int, int], is_answered: bool
) -> None:
    tape = Tape(9000).says(0, clip((0, 1000)), Role.WAIT).says(4000, clip((0, 1000))).answers(*answer_ms)
    wait, _ = score(tape.recording())[0]
    assert wait.is_wait_answered is is_answered
    assert (wait.v2v_ms, wait.is_unanswered) == (None, False)


def test_what_the_router_says_of_the_same_answer_stands_beside_what_the_caller_heard() -> None:
    tape = Tape(6000).says(0, clip((0, 1000))).answers(1400, 3000)
    tape.tells(400, "answer_started", turn=1, v2v_ms=111).tells(1390, "answer_started", turn=2, v2v_ms=375)
    tape.tells(1390, "agent_said", turn=2, text="Okay,").tells(1900, "agent_said", turn=2, text="it is done.")
    tape.tells(3100, "turn_done", turn=2, hops_ms={"endpoint": 200})
    (turn,), _ = score(tape.recording())
    assert turn.v2v_ms == pytest.approx(400.0, abs=0.1)
    assert turn.answer == Answer(2, "Okay, it is done.", 375, {"endpoint": 200})


def test_an_opener_with_nothing_after_it_for_a_while_is_a_stall() -> None:
    tape = Tape(9000).says(0, clip((0, 1000))).answers(1400, 1700).answers(3100, 4000).answers(4350, 5000)
    turn = score(tape.says(7000, clip((0, 500))).recording())[0][0]
    assert turn.v2v_ms == pytest.approx(400.0, abs=0.1)
    assert turn.stall_ms == pytest.approx(1400.0, abs=0.1)


def test_silences_of_300_ms_part_the_agents_runs() -> None:
    agent = Tape(5000).answers(100, 1000).answers(1290, 2000).answers(2310, 3000).agent
    assert [(round(r.start / 16), round(r.end / 16)) for r in runs(agent)] == [(100, 2000), (2310, 3000)]


def test_only_what_is_said_over_the_agent_has_a_moment_in_its_speech() -> None:
    with pytest.raises(ValueError, match="over the agent"):
        Step(clip((0, 100)), Role.TURN, over_ms=100)
    with pytest.raises(ValueError, match="over the agent"):
        Step(clip((0, 100)), Role.ASIDE)
