"""What was said before comes back sample for sample, with its words where the new text has them, within a bound."""

import pytest

from services.tts.cache import LONGEST_S, AudioCache, Saying
from services.tts.engine import WordTiming
from services.tts.framing import Piece


def saying(text: str, *, voice: str = "", speed: float = 1.0) -> Saying:
    return Saying.of(text, engine="e", voice=voice, speed=speed)


def pieces(*words: tuple[int, int], ms: int = 200) -> tuple[Piece, ...]:
    timed = tuple(WordTiming(a, b, 100 * i, 100 * i + 90) for i, (a, b) in enumerate(words))
    return Piece(0, b"\1" * 32 * ms, timed), Piece(16 * ms, b"\2" * 640, (), is_last=True)


def test_what_was_kept_comes_back_as_it_was() -> None:
    cache = AudioCache(1_000_000)
    made = pieces((0, 5))
    cache.put(saying("Okay,"), made)
    assert cache.get(saying("Okay,")) == made
    assert saying("Okay,") in cache


@pytest.mark.parametrize(
    "other",
    [saying("Okay."), saying("Okay, fine,"), saying("Okay,", voice="other"), saying("Okay,", speed=1.1)],
)
def test_another_text_voice_or_pace_is_another_clause(other: Saying) -> None:
    cache = AudioCache(1_000_000)
    cache.put(saying("Okay,"), pieces((0, 5)))
    assert cache.get(other) is None
    assert other not in cache


def test_the_same_words_written_otherwise_sound_the_same_and_are_told_by_their_own_characters() -> None:
    cache = AudioCache(1_000_000)
    cache.put(saying("At 7 AM."), pieces((0, 2), (3, 8)))
    found = cache.get(saying("At  7:00 AM."))
    assert found is not None
    assert [p.pcm for p in found] == [p.pcm for p in pieces()]
    assert [(w.char_start, w.char_end, w.start_samples) for w in found[0].words] == [(0, 2, 0), (4, 12, 100)]


def test_the_least_recently_used_goes_when_there_is_no_more_room() -> None:
    cache = AudioCache(25_000)  # room for three
    for text in ("One.", "Two.", "Three."):
        cache.put(saying(text), pieces())
    assert cache.get(saying("One.")) is not None
    cache.put(saying("Four."), pieces())
    assert [text for text in ("One.", "Two.", "Three.", "Four.") if saying(text) in cache] == [
        "One.",
        "Three.",
        "Four.",
    ]
    assert cache.bytes <= 25_000


def test_keeping_a_clause_twice_counts_once() -> None:
    cache = AudioCache(1_000_000)
    cache.put(saying("One."), pieces())
    once = cache.bytes
    cache.put(saying("One."), pieces())
    assert cache.bytes == once > 0


@pytest.mark.parametrize(
    ("text", "ms", "limit"), [("A long one.", int(LONGEST_S * 1000) + 100, 10**6), ("One.", 200, 0), ("…", 200, 10**6)]
)
def test_long_clauses_and_those_without_words_are_not_kept(text: str, ms: int, limit: int) -> None:
    cache = AudioCache(limit)
    cache.put(saying(text), pieces(ms=ms))
    assert saying(text) not in cache
    assert cache.bytes == 0
