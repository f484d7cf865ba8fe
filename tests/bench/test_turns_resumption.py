import numpy as np
import pytest

from bench.turns.resumption import Resumption, resumption
from bench.turns.voice import clean_answer
from halfbeat.audio import RATE_HZ, Samples

CLAUSES = ("Sure,", "the regular collection on your street is always early in the day.")


def heard(stop_ms: int, silence_ms: int, resume_ms: int, level: float = 1.0) -> Resumption | None:
    """The answer until `stop_ms`, then silence, then the answer from `resume_ms` on."""
    clean, starts = clean_answer(CLAUSES)
    stop, resume = stop_ms * RATE_HZ // 1000, resume_ms * RATE_HZ // 1000
    before = clean[stop - RATE_HZ : stop].copy()
    before[-RATE_HZ // 10 :] = (before[-RATE_HZ // 10 :] * level).astype(np.int16)
    gap: Samples = np.zeros(silence_ms * RATE_HZ // 1000, np.int16)
    return resumption(np.concatenate([before, gap, clean[resume : resume + RATE_HZ]]), clean, starts)


def test_the_words_of_the_scripted_voice_begin_every_200_ms_and_a_clause_ends_with_a_pause() -> None:
    clean, starts = clean_answer(CLAUSES)
    assert [start * 1000 // RATE_HZ for start in starts[:4]] == [0, 300, 500, 700]
    assert len(starts) == 13
    assert len(clean) % (RATE_HZ // 50) == 0


def test_an_agent_that_goes_back_to_the_start_of_its_word_is_seen_to_do_so() -> None:
    found = heard(stop_ms=1450, silence_ms=400, resume_ms=1300)
    assert found is not None
    assert found.silence_ms == pytest.approx(400, abs=30)
    assert found.back_ms == pytest.approx(150, abs=15)
    assert found.is_at_word


def test_a_ducked_end_changes_nothing() -> None:
    found = heard(stop_ms=1450, silence_ms=400, resume_ms=1100, level=0.18)
    assert found is not None
    assert found.back_ms == pytest.approx(350, abs=15)
    assert found.is_at_word


def test_lost_words_are_seen() -> None:
    found = heard(stop_ms=1450, silence_ms=400, resume_ms=1900)
    assert found is not None
    assert found.back_ms < -400
    assert not found.is_at_word


def test_going_on_inside_a_word_is_seen() -> None:
    found = heard(stop_ms=1450, silence_ms=400, resume_ms=1400)
    assert found is not None
    assert abs(found.off_word_ms) >= 90
    assert not found.is_at_word


def test_an_agent_that_was_never_silent_went_on_all_the_time() -> None:
    clean, starts = clean_answer(CLAUSES)
    assert resumption(clean[8000:24000], clean, starts) is None
