"""When a turn is over: each source, their fusion, limits, learning, waiting."""

from dataclasses import replace

import pytest
from floor_driver import Driver, of
from hypothesis import given
from hypothesis import strategies as st

from services.router import floor_events as fe
from services.router.detector import Evidence, TurnEnd, Verdict
from services.router.endpoint import EndpointSettings
from services.router.pauses import Pauses

SETTINGS = EndpointSettings()
PAUSE = Evidence(
    silence_ms=200, turn_ms=2000, voice=0.0, audio=0.5, audio_at_ms=130, text="I want a new bin.", has_final=True
)
TEXTS = ("", "My address is", "Yes.", "Yes, please.", "I want to report a pothole on Main Street.", "Hold on.", "Um")
EVIDENCE = st.builds(
    Evidence,
    silence_ms=st.integers(0, 3000),
    turn_ms=st.integers(100, 40_000),
    voice=st.floats(0, 1),
    audio=st.none() | st.floats(0, 1),
    audio_at_ms=st.just(200),
    text=st.sampled_from(TEXTS),
    has_final=st.booleans(),
)
LESSONS = st.lists(st.tuples(st.booleans(), st.integers(0, 5000)), max_size=12)


def delay_ms(evidence: Evidence, turn_end: TurnEnd | None = None) -> int:
    """Silence at which the turn is over, if nothing else changes."""
    turn_end = turn_end or TurnEnd(SETTINGS)
    silence_ms = 0
    while not (verdict := turn_end.judge(replace(evidence, silence_ms=silence_ms))).cause:
        assert verdict.in_ms > 0
        silence_ms += verdict.in_ms
    return silence_ms


def taught(lessons: list[tuple[bool, int]]) -> TurnEnd:
    turn_end = TurnEnd(SETTINGS)
    for is_end, pause_ms in lessons:
        (turn_end.ended if is_end else turn_end.resumed)(pause_ms)
    return turn_end


def test_a_finished_question_is_answered_after_a_fifth_of_a_second() -> None:
    question = replace(PAUSE, text="Can you tell me when the next pickup is?", audio=0.95)
    assert SETTINGS.sure_ms <= delay_ms(question) < 200
    assert delay_ms(question, TurnEnd(replace(SETTINGS, hesitation_ms=0))) == SETTINGS.sure_ms


def test_who_is_only_just_sure_waits_for_longer_than_a_voice_pauses_between_sentences() -> None:
    just_sure = replace(PAUSE, text="That's all right.", audio=0.9)
    assert delay_ms(just_sure, TurnEnd(replace(SETTINGS, threshold=0.8))) > 300


def test_half_a_sentence_is_waited_for_to_the_longest_silence() -> None:
    assert delay_ms(replace(PAUSE, text="My address is", audio=0.1)) == SETTINGS.unsure_ms
    assert TurnEnd(SETTINGS).judge(replace(PAUSE, text="My address is", silence_ms=1500)).cause == "silence"


def test_between_them_the_delay_follows_the_evidence() -> None:
    delays = [delay_ms(replace(PAUSE, text="I want a new one today.", audio=p / 100)) for p in range(8, 96, 7)]
    assert delays == sorted(delays, reverse=True)
    assert len(set(delays)) > 10, "no steps"
    assert SETTINGS.sure_ms < delays[-1] < delays[0] < SETTINGS.unsure_ms


@given(EVIDENCE, LESSONS, st.integers(0, 2000))
def test_more_silence_never_lowers_the_probability(
    evidence: Evidence, lessons: list[tuple[bool, int]], more_ms: int
) -> None:
    turn_end = taught(lessons)
    later = replace(evidence, silence_ms=evidence.silence_ms + more_ms, turn_ms=evidence.turn_ms + more_ms)
    assert turn_end.judge(later).probability >= turn_end.judge(evidence).probability


@given(EVIDENCE, LESSONS, st.floats(0, 1))
def test_a_higher_opinion_of_the_audio_never_lowers_it(
    evidence: Evidence, lessons: list[tuple[bool, int]], audio: float
) -> None:
    turn_end = taught(lessons)
    low, high = sorted((audio, evidence.audio or 0.0))
    probabilities = [turn_end.judge(replace(evidence, audio=p)).probability for p in (low, high)]
    assert probabilities[0] <= probabilities[1]


@given(EVIDENCE)
def test_a_finished_text_never_delays(evidence: Evidence) -> None:
    finished = replace(evidence, text="I want to report a pothole on Main Street.", has_final=True)
    assert delay_ms(finished) <= delay_ms(replace(evidence, text="", has_final=True))
    assert delay_ms(finished) <= delay_ms(replace(evidence, text="I want to report a pothole on", has_final=True))


@given(EVIDENCE, LESSONS)
def test_a_turn_is_over_by_the_limit_and_never_too_early(evidence: Evidence, lessons: list[tuple[bool, int]]) -> None:
    verdict = taught(lessons).judge(evidence)
    if evidence.turn_ms >= SETTINGS.max_turn_ms:
        assert verdict.cause == "limit"
    elif evidence.silence_ms >= SETTINGS.unsure_ms and not verdict.is_wait:
        assert verdict.cause == "silence"
    elif verdict.cause:
        assert evidence.silence_ms >= SETTINGS.sure_ms >= 120
    else:
        assert verdict.in_ms > 0, "or nobody looks again"


@given(EVIDENCE, LESSONS)
def test_a_verdict_holds_until_the_time_it_says_and_changes_then(
    evidence: Evidence, lessons: list[tuple[bool, int]]
) -> None:
    turn_end = taught(lessons)
    verdict = turn_end.judge(evidence)
    if verdict.cause or verdict.is_wait:
        return
    short = replace(evidence, turn_ms=0)
    assert not turn_end.judge(replace(short, silence_ms=evidence.silence_ms + verdict.in_ms - 2)).cause
    assert turn_end.judge(replace(short, silence_ms=evidence.silence_ms + verdict.in_ms)).cause


def test_a_newest_window_that_may_be_voice_speaks_against_the_end() -> None:
    quiet, rustle = (TurnEnd(SETTINGS).judge(replace(PAUSE, voice=voice)).probability for voice in (0.0, 0.3))
    assert rustle < quiet


def test_partial_words_count_less_than_final_ones() -> None:
    none, partial, final = (
        TurnEnd(SETTINGS).judge(replace(PAUSE, text=text, has_final=has_final)).probability
        for text, has_final in (("", False), ("My address is", False), ("My address is", True))
    )
    assert final < partial < none


def test_a_caller_who_pauses_long_is_given_more_time_after_a_few_pauses() -> None:
    slow = taught([(False, 1400), (False, 1200), (False, 1600)])
    unsure = replace(PAUSE, text="I want it.", audio=0.3)
    assert delay_ms(unsure, slow) > delay_ms(unsure) + 150


def test_a_caller_who_never_pauses_is_answered_sooner() -> None:
    quick = taught([(True, 300)] * 4)
    unsure = replace(PAUSE, text="I want it.", audio=0.3)
    assert delay_ms(unsure, quick) < delay_ms(unsure) - 150


@given(LESSONS)
def test_what_is_learnt_stays_within_bounds(lessons: list[tuple[bool, int]]) -> None:
    pauses = Pauses()
    for is_end, pause_ms in lessons * 20:
        (pauses.ended if is_end else pauses.resumed)(pause_ms)
    assert 350 <= pauses.mean_ms <= 850
    assert -0.5 <= pauses.end_odds <= 0.5


def test_one_long_search_is_no_habit() -> None:
    once, usual = Pauses(), Pauses()
    once.resumed(9000)
    assert usual.mean_ms < once.mean_ms < usual.mean_ms * 1.5


def test_a_caller_who_asks_for_time_gets_it_and_no_more() -> None:
    wait = replace(PAUSE, text="Hold on, let me look.", audio=0.99, silence_ms=3000)
    assert TurnEnd(SETTINGS).judge(wait) == Verdict("", 0.0, 7000, is_wait=True)
    assert TurnEnd(SETTINGS).judge(replace(wait, silence_ms=10_000)).cause == "silence"
    assert TurnEnd(SETTINGS).judge(replace(wait, text="Hold on, let me look. It's Oak Street.")).cause


def test_a_wish_for_time_has_an_end_by_the_length_of_the_turn_too() -> None:
    wait = replace(PAUSE, text="Hold on.", turn_ms=SETTINGS.max_turn_ms)
    assert TurnEnd(SETTINGS).judge(wait).cause == "limit"


def test_words_of_an_unknown_language_leave_it_to_sound_and_silence() -> None:
    german = TurnEnd(SETTINGS, "de")
    open_text, wish = replace(PAUSE, text="my address is"), replace(PAUSE, text="hold on")
    assert german.judge(open_text) == german.judge(wish) == german.judge(replace(PAUSE, text=""))


@pytest.mark.parametrize("probability", [0.6, 0.95])
def test_the_threshold_moves_the_delay(probability: float) -> None:
    unsure = replace(PAUSE, text="I want it.")
    other = TurnEnd(replace(SETTINGS, threshold=probability))
    assert (delay_ms(unsure, other) < delay_ms(unsure)) == (probability < SETTINGS.threshold)


def waiting() -> Driver:
    """A caller has asked for time."""
    call = Driver()
    call.voice(800)
    call.quiet(224)
    call.judge(0.95)
    call.words("Hold on, let me look.")
    return call


def test_a_call_stays_quiet_while_its_caller_looks_and_what_comes_then_continues_the_turn() -> None:
    call = waiting()
    assert of(call.quiet(8000), fe.Commit) == []
    assert call.all(fe.Draft) == [], "nothing to answer"
    assert call.floor.utterance is not None
    call.voice(600)
    call.quiet(224)
    call.judge(0.95)
    (commit,) = of(call.words("Hold on, let me look. It's on 12 Oak Street.") + call.quiet(1500), fe.Commit)
    assert (commit.turn, commit.transcript) == (1, "Hold on, let me look. It's on 12 Oak Street.")
    assert commit.revision > 0


def test_who_asked_for_time_and_says_nothing_is_answered_in_the_end() -> None:
    call = waiting()
    assert of(call.quiet(9700), fe.Commit) == []
    (commit,) = of(call.quiet(300), fe.Commit)
    assert (commit.turn, commit.transcript) == (1, "Hold on, let me look.")
    assert of(call.said, fe.Announce)[-1].cause == "silence"


def test_who_asked_for_time_and_sends_no_more_audio_is_answered_in_the_end() -> None:
    call = waiting()
    assert len(of(call.wait(10_500), fe.Commit)) == 1


def silence_of_the_commit(pauses: int) -> int:
    """A turn in which the caller pauses so often."""
    call = Driver(endpoint=SETTINGS)
    for _ in range(pauses):
        call.voice(600)
        call.quiet(1000)
        call.words("My address is")
    call.voice(600)
    call.quiet(160)
    call.words("My address is Oak Street.")
    call.quiet(1600)
    return int(of(call.said, fe.Announce)[-1].silence_ms)


def test_a_call_learns_from_its_own_pauses() -> None:
    assert silence_of_the_commit(0) < silence_of_the_commit(1) < silence_of_the_commit(3)


def test_a_turn_that_was_committed_too_early_teaches_patience() -> None:
    call = Driver()
    before = call.floor._turn_end.judge(PAUSE).probability
    call.turn()
    call.quiet(320)
    call.voice(320)
    assert of(call.said, fe.Announce)[-1].kind == "resumed"
    assert call.floor._turn_end.judge(PAUSE).probability < before
