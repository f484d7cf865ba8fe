"""The labels of made speech are exact: sound within the spans, silence in the pauses, words where they sound."""

from pathlib import Path

import numpy as np
import pytest

from bench.turns import speech
from bench.turns.lines import caller_lines, half_of
from bench.turns.sounds import SOUNDS
from bench.turns.speech import PAUSES, Clip, Line, make_speech, plain, voiced_spans
from halfbeat.audio import AUDIBLE_DBFS, RATE_HZ, level_dbfs

_HOP = 256


class Toneless:
    """A voice of noise: 200 ms a word, 150 ms of silence at a comma, as the studio asks of the real one."""

    sample_rate = 22_050
    calls = 0

    def _phonemizer(self) -> "Toneless":
        return self

    def phonemise(self, items: tuple[object, ...]) -> tuple[object, ...]:
        return items

    def _encode(self, items: tuple[object, ...], speed: float) -> tuple[np.ndarray, np.ndarray, list[int]]:
        self.calls += 1
        durations, owners, voiced = [4.0], [-1], [0.0]
        for i, item in enumerate(items):
            for frames, owner in ((round(17 / speed), i), (13 if item.pause else 1, -1)):
                durations.append(frames)
                owners.append(owner)
                voiced.append(float(owner >= 0))
        prior = np.repeat(np.array(voiced), np.array(durations, int))[None, None, :]
        return prior.astype(np.float32), np.array(durations, np.float32), owners

    def whole(self, prior: np.ndarray) -> np.ndarray:
        gain = np.repeat(prior.reshape(-1), _HOP)
        return (gain * np.random.default_rng(1).normal(0, 0.1, len(gain))).astype(np.float32)


@pytest.fixture
def voice(monkeypatch: pytest.MonkeyPatch) -> Toneless:
    engine = Toneless()
    monkeypatch.setattr(speech._Studio, "_load", lambda self: engine)
    return engine


def made(line: Line, tmp_path: Path) -> Clip:
    (clip,) = make_speech([line], cache=tmp_path)
    return clip


def level(clip: Clip, start_s: float, end_s: float) -> float:
    return level_dbfs(clip.pcm[int(start_s * RATE_HZ) : int(end_s * RATE_HZ)])


def test_a_marked_pause_is_silent_for_as_long_as_was_asked(voice: Toneless, tmp_path: Path) -> None:
    clip = made(Line("My address is [0.8] 12 Oak Street.", pitch=1, speed=1), tmp_path)
    ((start, end),) = clip.pauses
    assert end - start == pytest.approx(0.8, abs=0.03)
    assert level(clip, start + 0.035, end - 0.015) == -120
    assert all(level(clip, a, b) > AUDIBLE_DBFS + 10 for a, b in clip.spans)


def test_a_clip_begins_and_ends_with_its_voice(voice: Toneless, tmp_path: Path) -> None:
    clip = made(Line("I called. [1.2] And nobody came."), tmp_path)
    assert clip.spans[0][0] == 0
    assert clip.spans[-1][1] == pytest.approx(clip.seconds, abs=1 / RATE_HZ)
    assert level(clip, 0, 0.008) > AUDIBLE_DBFS
    assert level(clip, clip.seconds - 0.008, clip.seconds) > AUDIBLE_DBFS


def test_words_lie_on_their_side_of_each_pause(voice: Toneless, tmp_path: Path) -> None:
    clip = made(Line("It's 555 [0.6] 867 [0.4] 5309.", pitch=1.2, speed=1), tmp_path)
    assert [word.text.rstrip(",.") for word in clip.words] == ["It's", "555", "867", "5309"]
    (first, second) = clip.pauses
    assert clip.words[1].end_s <= first[0] + 0.03
    assert clip.words[2].start_s >= first[1] - 0.03
    assert clip.words[2].end_s <= second[0] + 0.03
    assert clip.words[3].start_s >= second[1] - 0.03
    assert clip.words[-1].end_s <= clip.seconds + 1e-9


def test_noise_and_telephone_leave_the_labels_as_they_are(voice: Toneless, tmp_path: Path) -> None:
    clean = made(Line("Well. [0.5] No.", pitch=1, speed=1), tmp_path)
    noisy = made(Line("Well. [0.5] No.", pitch=1, speed=1, is_phone=True, snr_db=20), tmp_path)
    assert np.allclose(noisy.spans, clean.spans, atol=0.1)
    assert len(noisy.pcm) == pytest.approx(len(clean.pcm), abs=0.1 * RATE_HZ)
    ((start, end),) = noisy.pauses
    assert -60 < level(noisy, start + 0.05, end - 0.05) < AUDIBLE_DBFS + 10
    assert level_dbfs(noisy.room) == pytest.approx(level(noisy, start + 0.05, end - 0.05), abs=3)


def test_a_clip_that_was_made_is_not_made_again(voice: Toneless, tmp_path: Path) -> None:
    first = made(Line("Good morning. [~] My light is out."), tmp_path)
    calls = voice.calls
    again = made(Line("Good morning. [~] My light is out."), tmp_path)
    assert voice.calls == calls
    assert np.array_equal(first.pcm, again.pcm)
    assert (first.words, first.spans) == (again.words, again.spans)


@pytest.mark.parametrize("kind", sorted(SOUNDS))
def test_a_sound_is_loud_without_words_and_the_same_each_time(kind: str, tmp_path: Path) -> None:
    clip = made(Line(kind=kind), tmp_path / "a")
    assert clip.words == ()
    assert level_dbfs(clip.pcm) > AUDIBLE_DBFS + 5
    assert np.array_equal(clip.pcm, made(Line(kind=kind), tmp_path / "b").pcm)


def test_spans_join_over_short_gaps_and_break_at_long_ones() -> None:
    tone = np.full(RATE_HZ // 5, 3000, np.int16)
    gap = np.zeros(RATE_HZ // 100 * 12, np.int16)
    pause = np.zeros(RATE_HZ // 5, np.int16)
    assert len(voiced_spans(np.concatenate([tone, gap, tone]))) == 1
    assert voiced_spans(np.concatenate([tone, pause, tone])) == ((0.0, 0.2), (0.4, 0.6))
    assert voiced_spans(gap) == ()


def test_drawn_pauses_are_as_long_as_those_of_public_recordings() -> None:
    rng = np.random.default_rng(3)
    drawn = np.array([speech._drawn(rng) for _ in range(4000)])
    for seconds, longer in ((0.3, 0.556), (0.6, 0.217), (1.0, 0.10), (1.6, 0.05)):
        assert np.mean(drawn > seconds) == pytest.approx(longer, abs=0.03)
    assert drawn.min() >= PAUSES[0][1]


def test_the_halves_do_not_share_a_text_and_do_not_change() -> None:
    lines = caller_lines(takes=2)
    halves = {plain(line.text): half_of(line.text) for line in lines}
    assert half_of("My address is [~] 12 Oak Street.") == half_of("My address is 12 Oak Street.") == "tune"
    assert half_of("Yes.") == "tune"
    assert half_of("My trash wasn't picked up this morning.") == half_of("Correct.") == "report"
    share = sum(half == "tune" for half in halves.values()) / len(halves)
    assert 0.4 < share < 0.6
    assert len(lines) == 2 * len(halves)


def test_takes_of_a_line_are_different_clips() -> None:
    first, second = caller_lines(["wait"], takes=2)[0], caller_lines(["wait"], takes=2)[10]
    assert first.text == second.text
    assert speech._key(first, 1) != speech._key(second, 1)
