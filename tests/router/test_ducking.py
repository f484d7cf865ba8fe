"""The agent ducked, muted and taken back: what leaves, where it goes on, and what counts as heard."""

import numpy as np
import pytest
from test_playout import KEY, Deck, tone

from halfbeat.audio import level_dbfs, samples_of
from halfbeat.clock import NS_PER_MS
from services.router.ducking import Fader, Level
from services.router.heard import HeardMark, Word
from services.router.playout import Frame, RanDry

TEXT = "one two three four five six seven eight"
#: Eight words of 250 ms.
WORDS = tuple(
    Word(TEXT.index(word), TEXT.index(word) + len(word), i * 4000, (i + 1) * 4000)
    for i, word in enumerate(TEXT.split())
)


def numbered(ms: int) -> bytes:
    """Audio of which each 20 ms frame has a level of its own, so that it can be told which one it is."""
    return np.repeat(np.arange(ms // 20) * 20 + 4000, 320).astype("<i2").tobytes()


def number_of(frame: Frame) -> int:
    """Which 20 ms it is, told by its end, which no ramp changes."""
    return (int(samples_of(frame.pcm)[-1]) - 4000) // 20


def speaking(ms: int = 1000, *, words: tuple[Word, ...] = WORDS, reports: bool = False) -> Deck:
    """An answer of 2 s that has sounded for a while."""
    deck = Deck(reports=reports)
    deck.playout.add_clause(*KEY, 0, TEXT)
    deck.playout.add_audio(*KEY, 0, 0, numbered(2000), is_last=True, words=words)
    deck.playout.finish(*KEY, 1)
    deck.run(ms)
    return deck


def test_a_ducked_agent_is_15_db_quieter_from_the_next_frame_on() -> None:
    deck = speaking()
    deck.playout.duck()
    before = len(deck.of(Frame))
    deck.run(40)
    first, second = deck.of(Frame)[before : before + 2]
    original = numbered(2000)[before * 640 : (before + 2) * 640]
    drop_db = level_dbfs(samples_of(original[640:])) - level_dbfs(samples_of(second.pcm))
    assert drop_db == pytest.approx(15, abs=0.1)
    quiet = samples_of(original[:640])[-1] * 10 ** (-15 / 20)
    assert samples_of(first.pcm)[160:] == pytest.approx(quiet, abs=1), "quiet after a ramp of 10 ms"


@pytest.mark.parametrize("levels", [(Level.DUCKED,), (Level.DUCKED, Level.MUTED, Level.FULL), (Level.MUTED,)])
def test_no_change_of_level_clicks(levels: tuple[Level, ...]) -> None:
    fader = Fader(16000, duck_db=15)
    steady = np.full(320, 10_000, dtype="<i2").tobytes()
    out = fader.apply(steady)
    for level in levels:
        fader.level = level
        out += fader.apply(steady)
    steps = np.abs(np.diff(samples_of(out).astype(int)))
    assert steps.max() <= 64, "a ramp over 10 ms, no step"


def test_what_is_not_ducked_is_not_touched() -> None:
    fader = Fader(16000, duck_db=15)
    fader.level = Level.MUTED
    fader.apply(tone(20))
    fader.level = Level.FULL
    fader.apply(tone(20))
    assert fader.apply(tone(20)) == tone(20)


def test_only_ducked_it_goes_on_at_full_level_and_repeats_nothing() -> None:
    deck = speaking()
    deck.playout.duck()
    deck.run(100)
    deck.playout.unduck()
    deck.run(1500)
    frames = deck.of(Frame)
    assert len(frames) == 100
    assert b"".join(f.pcm for f in frames[60:]) == numbered(2000)[60 * 640 :]
    assert deck.of(RanDry) == []
    mark = deck.of(HeardMark)[-1]
    assert (mark.text, mark.is_complete, mark.played_ms) == (TEXT, True, 2000)


def test_a_muted_agent_fades_out_within_a_frame_and_holds_its_place() -> None:
    deck = speaking()
    deck.playout.duck()
    deck.run(100)
    sent = len(deck.of(Frame))
    deck.playout.mute()
    deck.run(600)
    assert deck.playout.is_muted
    (last,) = deck.of(Frame)[sent:]
    assert samples_of(last.pcm)[160:].max() == 0, "silent after 10 ms"
    assert deck.playout.next_ns(deck.now_ms * NS_PER_MS) is None, "nothing to do until it goes on"
    assert not any(m.is_complete for m in deck.of(HeardMark))


def test_muted_it_goes_back_to_the_start_of_the_word_at_which_the_ducking_began() -> None:
    deck = speaking()
    # 1,000 ms have sounded, 1,040 ms have left: the fifth word, from 1,000 ms on.
    deck.playout.duck()
    deck.run(120)
    deck.playout.mute()
    deck.run(500)
    sent = len(deck.of(Frame))
    deck.playout.unduck()
    deck.run(2000)
    again = deck.of(Frame)[sent:]
    assert [number_of(f) for f in again] == list(range(1000 // 20, 2000 // 20))
    assert b"".join(f.pcm for f in again[1:]) == numbered(2000)[(1000 // 20 + 1) * 640 :], "at full level"
    assert deck.of(RanDry) == [], "a pause that was meant is no underrun"
    mark = deck.of(HeardMark)[-1]
    assert (mark.text, mark.is_complete, mark.played_ms) == (TEXT, True, 2000), "what was repeated counts once"


def test_without_word_timings_it_goes_back_to_the_sample() -> None:
    deck = speaking(words=())
    deck.playout.duck()
    first = len(deck.of(Frame))
    deck.run(120)
    deck.playout.mute()
    deck.run(300)
    sent = len(deck.of(Frame))
    deck.playout.unduck()
    deck.run(100)
    assert number_of(deck.of(Frame)[sent]) == first


def test_between_two_words_nothing_is_repeated() -> None:
    words = (Word(0, 3, 0, 8000), Word(4, 7, 24000, 32000))
    deck = speaking(words=words)
    deck.playout.duck()
    first = len(deck.of(Frame))
    deck.run(60)
    deck.playout.mute()
    deck.run(300)
    sent = len(deck.of(Frame))
    deck.playout.unduck()
    deck.run(100)
    assert number_of(deck.of(Frame)[sent]) == first


def test_the_calls_timeline_never_goes_back() -> None:
    deck = speaking()
    for _ in range(3):
        deck.playout.duck()
        deck.run(100)
        deck.playout.mute()
        deck.run(200)
        deck.playout.unduck()
        deck.run(130)
    deck.run(2000)
    assert [f.offset_samples for f in deck.of(Frame)] == list(range(0, 320 * len(deck.of(Frame)), 320))
    marks = deck.of(HeardMark)
    assert [m.played_ms for m in marks] == sorted(m.played_ms for m in marks)
    assert marks[-1].text == TEXT


def test_after_a_barge_in_the_mark_ends_where_the_ducking_began() -> None:
    for mutes in (False, True):
        deck = speaking()
        deck.playout.duck()
        deck.run(300)
        if mutes:
            deck.playout.mute()
            deck.run(300)
        mark = deck.playout.cut(deck.now_ms * NS_PER_MS)
        assert mark is not None
        assert (mark.text, mark.is_cut, mark.played_ms) == ("one two three four", True, 1040)


def test_while_it_is_not_known_what_the_sound_means_the_marks_do_not_run_ahead() -> None:
    deck = speaking()
    deck.playout.duck()
    deck.run(600)
    assert max(m.played_ms for m in deck.of(HeardMark)) <= 1040
    deck.playout.unduck()
    deck.run(200)
    assert max(m.played_ms for m in deck.of(HeardMark)) >= 1500


def test_a_barge_in_into_repeated_words_keeps_what_was_heard_before() -> None:
    deck = speaking(words=())
    deck.playout.duck()
    deck.run(100)
    deck.playout.mute()
    deck.run(300)
    deck.playout.unduck()
    deck.run(20)
    mark = deck.playout.cut(deck.now_ms * NS_PER_MS)
    assert mark is not None
    assert 1040 <= mark.played_ms <= 1080


def test_the_last_words_are_heard_even_when_they_were_ducked() -> None:
    deck = speaking(1900)
    deck.playout.duck()
    deck.run(60)
    deck.playout.mute()
    deck.run(200)
    mark = deck.of(HeardMark)[-1]
    assert (mark.text, mark.is_complete) == (TEXT, True), "all had left before it could be muted"


def test_a_clause_that_comes_while_it_is_muted_is_not_heard_even_for_a_moment() -> None:
    deck = Deck()
    deck.say(0, 400)
    deck.run(600)  # it waits for its next clause in silence
    deck.playout.duck()
    deck.playout.mute()
    sent = len(deck.of(Frame))
    deck.say(1, 400)
    deck.run(300)
    assert len(deck.of(Frame)) == sent
    deck.playout.unduck()
    deck.run(600)
    assert b"".join(f.pcm for f in deck.of(Frame)[sent + 1 :]) == tone(400)[640:]


def test_an_answer_muted_before_its_end_waits_and_is_complete_after_the_rest() -> None:
    deck = speaking(1700)
    deck.playout.mute()
    deck.run(1000)
    assert not any(m.is_complete for m in deck.of(HeardMark))
    deck.playout.unduck()
    deck.run(600)
    assert deck.of(HeardMark)[-1].is_complete


def test_an_edge_that_reports_is_believed_across_repeated_words() -> None:
    deck = speaking(reports=True)
    deck.playout.duck()
    deck.run(100)
    deck.playout.mute()
    deck.run(200)
    deck.playout.unduck()
    deck.run(500)
    # The client has played up to where it was muted, nothing of what was repeated.
    muted_at = 1040 + 100
    deck.playout.played(muted_at * 16, deck.now_ms * NS_PER_MS)
    mark = deck.playout.cut(deck.now_ms * NS_PER_MS)
    assert mark is not None
    assert mark.played_ms == 1040, "ducked and then muted away: not heard"


def test_a_clients_truncation_counts_repeated_words_once() -> None:
    deck = speaking()
    deck.playout.duck()
    deck.run(100)
    deck.playout.mute()
    deck.run(200)
    sent = deck.of(Frame)[-1].offset_samples + 320
    deck.playout.unduck()
    deck.run(600)
    deck.playout.cut(deck.now_ms * NS_PER_MS)
    mark = deck.playout.truncated(1, sent // 16 + 300)
    assert mark is not None
    assert mark.played_ms == 1000 + 300


def test_the_next_answer_begins_at_full_level() -> None:
    deck = speaking()
    deck.playout.duck()
    deck.playout.mute()
    deck.run(100)
    deck.playout.cut(deck.now_ms * NS_PER_MS)
    deck.playout.begin(1, 2, 0)
    deck.log.clear()
    deck.playout.add_clause(1, 2, 0, 0, TEXT)
    deck.playout.add_audio(1, 2, 0, 0, 0, tone(100), is_last=True)
    deck.run(200)
    assert b"".join(f.pcm for f in deck.of(Frame)) == tone(100)


def test_nothing_happens_to_an_agent_that_has_not_begun() -> None:
    deck = Deck()
    deck.playout.duck()
    deck.playout.mute()
    deck.say(0, 100)
    deck.run(200)
    assert len(deck.of(Frame)) == 5
