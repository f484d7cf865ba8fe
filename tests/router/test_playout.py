"""The agent's voice in time: pacing, stalls, gaps, and what was heard. Time is an argument."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from halfbeat.clock import NS_PER_MS
from services.router.heard import HeardMark, Word
from services.router.playout import Began, ClauseBegan, Frame, Output, Playout, RanDry

KEY = (0, 1, 0)
TEXT = "Okay, a truck comes."


def tone(ms: int, lead_silence_ms: int = 0) -> bytes:
    t = np.arange(ms * 16)
    pcm = (8000 * np.sin(2 * np.pi * 250 * t / 16000)).astype("<i2")
    pcm[: lead_silence_ms * 16] = 0
    return pcm.tobytes()


@dataclass
class Deck:
    """A playout that is asked every ms; notes when what came."""

    rate_hz: int = 16000
    lead_ms: int = 60
    reports: bool = False
    log: list[tuple[int, Output]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.now_ms = 5000
        self.playout = Playout(self.rate_hz, lead_ms=self.lead_ms, reports=self.reports)
        self.playout.begin(*KEY)

    def run(self, ms: int) -> None:
        for _ in range(ms):
            self.turn_once()
            self.now_ms += 1

    def turn_once(self) -> None:
        self.log += [(self.now_ms, output) for output in self.playout.advance(self.now_ms * NS_PER_MS)]

    def say(self, index: int, ms: int, text: str = TEXT, *, is_last: bool = True, words: tuple[Word, ...] = ()) -> None:
        self.playout.add_clause(*KEY, index, text)
        self.playout.add_audio(*KEY, index, 0, tone(ms), is_last=is_last, words=words)

    def of(self, kind: type) -> list:
        return [output for _, output in self.log if isinstance(output, kind)]

    def times(self, kind: type = Frame) -> list[int]:
        return [at for at, output in self.log if isinstance(output, kind)]


def test_frames_leave_in_real_time_after_a_small_lead() -> None:
    deck = Deck()
    start = deck.now_ms
    deck.say(0, 1000)
    deck.run(1100)
    times = deck.times()
    assert len(times) == 50
    assert times[:3] == [start] * 3, "60 ms of lead leave at once"
    assert np.diff(times[2:]).tolist() == [20] * 47
    assert all(len(frame.pcm) == 640 for frame in deck.of(Frame))
    assert [frame.offset_samples for frame in deck.of(Frame)] == list(range(0, 16000, 320))


def test_the_audio_is_not_changed_on_the_way() -> None:
    deck = Deck()
    deck.say(0, 200)
    deck.run(300)
    assert b"".join(frame.pcm for frame in deck.of(Frame)) == tone(200)


def test_a_stall_of_ours_is_not_made_up_for_by_a_burst() -> None:
    deck = Deck()
    deck.say(0, 2000)
    deck.run(500)
    deck.now_ms += 700
    deck.log.clear()
    deck.run(100)
    at_once = [at for at in deck.times() if at == deck.times()[0]]
    assert len(at_once) == 3, "no more than the lead"
    assert [o.in_clause for o in deck.of(RanDry)] == [True]
    assert 600 <= deck.of(RanDry)[0].gap_ms <= 700


def test_a_late_engine_leaves_a_gap_and_no_silence_is_sent() -> None:
    deck = Deck()
    deck.say(0, 400)
    deck.run(900)
    frames = len(deck.of(Frame))
    assert frames == 20
    deck.say(1, 400)
    deck.run(10)
    assert [o.in_clause for o in deck.of(RanDry)] == [False]
    assert 490 <= deck.of(RanDry)[0].gap_ms <= 510


@pytest.mark.parametrize("rate_hz", [8000, 24000, 48000])
def test_other_rates_keep_their_length(rate_hz: int) -> None:
    deck = Deck(rate_hz)
    for index in range(3):
        deck.say(index, 330)
    deck.playout.finish(*KEY, 3)
    deck.run(1300)
    samples = sum(len(frame.pcm) // 2 for frame in deck.of(Frame))
    assert 990 <= samples * 1000 / rate_hz <= 1070
    assert all(len(frame.pcm) == rate_hz // 50 * 2 for frame in deck.of(Frame)), "whole frames only"


def test_the_first_audible_sample_is_found_behind_the_voices_own_silence() -> None:
    deck = Deck()
    start = deck.now_ms
    deck.playout.add_clause(*KEY, 0, TEXT)
    deck.playout.add_audio(*KEY, 0, 0, tone(400, lead_silence_ms=95), is_last=True)
    deck.run(500)
    (began,) = deck.of(Began)
    assert 95 <= began.audible_ns / NS_PER_MS - start <= 96


def test_clauses_are_played_in_order_whatever_order_they_came_in() -> None:
    deck = Deck()
    deck.say(1, 100, "second")
    deck.run(50)
    assert deck.of(Frame) == []
    deck.say(0, 100, "first")
    deck.run(300)
    assert [c.text for c in deck.of(ClauseBegan)] == ["first", "second"]


def test_audio_that_comes_twice_is_played_once() -> None:
    deck = Deck()
    deck.playout.add_clause(*KEY, 0, TEXT)
    assert deck.playout.add_audio(*KEY, 0, 0, tone(100))
    assert not deck.playout.add_audio(*KEY, 0, 0, tone(100))
    assert deck.playout.add_audio(*KEY, 0, 1600, tone(100), is_last=True)
    assert not deck.playout.add_audio(*KEY, 0, 3200, tone(100))
    deck.run(400)
    assert len(deck.of(Frame)) == 10


def test_lost_audio_is_replaced_by_silence_of_its_length() -> None:
    deck = Deck()
    deck.playout.add_clause(*KEY, 0, TEXT)
    deck.playout.add_audio(*KEY, 0, 0, tone(100))
    deck.playout.add_audio(*KEY, 0, 3200, tone(100), is_last=True)
    deck.run(500)
    assert len(deck.of(Frame)) == 15
    assert deck.of(Frame)[7].pcm == bytes(640)


@pytest.mark.parametrize("key", [(0, 0, 0), (1, 1, 0), (0, 1, 1), (0, 2, 0)])
def test_nothing_of_another_answer_is_taken(key: tuple[int, int, int]) -> None:
    deck = Deck()
    assert not deck.playout.add_clause(*key, 0, TEXT)
    assert not deck.playout.add_audio(*key, 0, 0, tone(100), is_last=True)
    deck.run(100)
    assert deck.log == []


def test_a_cut_silences_at_once_and_says_what_was_heard() -> None:
    deck = Deck()
    deck.say(0, 2000, "one two three four five six seven eight", is_last=True)
    deck.run(1000)
    mark = deck.playout.cut(deck.now_ms * NS_PER_MS)
    assert mark is not None
    assert mark.is_cut
    assert mark.played_ms == 1000
    assert mark.text == "one two three four", "half of the words, whole ones"
    deck.log.clear()
    deck.run(200)
    assert deck.log == []
    assert not deck.playout.add_audio(*KEY, 0, 32000, tone(100))


def test_word_timings_are_better_than_proportion() -> None:
    deck = Deck()
    words = (Word(0, 3, 0, 1600), Word(4, 7, 1600, 24000), Word(8, 13, 24000, 32000))
    deck.say(0, 2000, "one two three", words=words)
    deck.run(1000)
    mark = deck.playout.cut(deck.now_ms * NS_PER_MS)
    assert mark is not None
    assert mark.text == "one"


def test_heard_is_marked_on_the_way_at_clause_ends_and_at_the_end() -> None:
    deck = Deck()
    deck.say(0, 700, "first")
    deck.say(1, 700, "second")
    deck.playout.finish(*KEY, 2)
    deck.run(1600)
    marks = deck.of(HeardMark)
    assert [(m.clause, m.is_complete) for m in marks] == [(0, False), (1, False), (1, False), (1, True)]
    assert marks[-1].text == "first second"
    assert marks[-1].chars == len("second")
    assert marks[-1].played_ms == 1400
    assert 1400 <= deck.times(HeardMark)[-1] - 5000 <= 1425, (
        "complete when the caller has heard it, not when it was sent"
    )


def test_an_answer_is_not_complete_before_the_dialogue_says_so() -> None:
    deck = Deck()
    deck.say(0, 100)
    deck.run(1000)
    assert not any(m.is_complete for m in deck.of(HeardMark))
    deck.playout.finish(*KEY, 1)
    deck.turn_once()
    assert deck.of(HeardMark)[-1].is_complete


def test_an_answer_whose_clauses_all_failed_still_ends() -> None:
    deck = Deck()
    deck.playout.add_clause(*KEY, 0, TEXT)
    deck.playout.add_audio(*KEY, 0, 0, b"", is_last=True, is_failed=True)
    deck.playout.finish(*KEY, 1)
    deck.turn_once()
    assert deck.of(Frame) == []
    assert deck.of(HeardMark)[-1].is_complete
    assert deck.of(HeardMark)[-1].played_ms == 0


def test_a_failed_clause_is_passed_over() -> None:
    deck = Deck()
    deck.playout.add_clause(*KEY, 0, "lost")
    deck.playout.add_audio(*KEY, 0, 0, b"", is_last=True, is_failed=True)
    deck.say(1, 100, "spoken")
    deck.playout.finish(*KEY, 2)
    deck.run(200)
    assert [c.text for c in deck.of(ClauseBegan)] == ["spoken"]
    assert deck.of(HeardMark)[-1].text == "spoken"


def test_a_held_answer_waits_and_begins_at_once_when_released() -> None:
    deck = Deck()
    deck.playout.hold()
    deck.say(0, 400)
    deck.run(200)
    assert deck.log == []
    assert deck.playout.next_ns(deck.now_ms * NS_PER_MS) is None
    deck.playout.release()
    deck.turn_once()
    assert len(deck.of(Frame)) == 3


def test_a_hold_does_not_stop_what_sounds_already() -> None:
    deck = Deck()
    deck.say(0, 400)
    deck.run(100)
    deck.playout.hold()
    deck.run(500)
    assert len(deck.of(Frame)) == 20


def test_reports_of_the_edge_replace_the_simulation() -> None:
    deck = Deck(reports=True)
    deck.say(0, 2000, "one two three four five six seven eight")
    deck.run(1000)
    deck.playout.played(8000, deck.now_ms * NS_PER_MS)
    mark = deck.playout.cut(deck.now_ms * NS_PER_MS)
    assert mark is not None
    assert mark.played_ms == 500
    assert mark.text == "one two"


def test_a_report_beyond_what_was_sent_is_taken_as_all() -> None:
    deck = Deck(reports=True)
    deck.say(0, 200)
    deck.playout.finish(*KEY, 1)
    deck.run(100)
    deck.playout.played(10**12, deck.now_ms * NS_PER_MS)
    mark = deck.playout.cut(deck.now_ms * NS_PER_MS)
    assert mark is not None
    assert mark.played_ms == 140, "what has left: 80 ms and the lead"


def test_an_edge_that_promised_reports_and_sends_none_does_not_hang_the_turn() -> None:
    deck = Deck(reports=True)
    deck.say(0, 200)
    deck.playout.finish(*KEY, 1)
    deck.run(3500)
    assert deck.of(HeardMark)[-1].is_complete


def test_the_client_may_say_how_much_of_a_cut_answer_it_played() -> None:
    deck = Deck()
    deck.say(0, 2000, "one two three four five six seven eight")
    deck.run(1000)
    deck.playout.cut(deck.now_ms * NS_PER_MS)
    mark = deck.playout.truncated(1, 500)
    assert mark is not None
    assert (mark.played_ms, mark.is_cut, mark.text) == (500, True, "one two")
    assert deck.playout.truncated(7, 500) is None


def test_it_says_when_to_be_asked_again() -> None:
    deck = Deck()
    now = deck.now_ms * NS_PER_MS
    assert deck.playout.next_ns(now) is None
    deck.say(0, 200)
    assert deck.playout.next_ns(now) == now
    deck.playout.advance(now)
    assert deck.playout.next_ns(now) == now + 20 * NS_PER_MS


def test_an_endless_answer_is_cut_off() -> None:
    deck = Deck()
    deck.playout.add_clause(*KEY, 0, TEXT)
    for i in range(200):
        deck.playout.add_audio(*KEY, 0, i * 16000, bytes(32000))
    assert deck.playout.dropped_ms == 20_000
