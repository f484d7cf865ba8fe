"""The default voice: decoded in windows it sounds as decoded whole, early, with true word times."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from halfbeat import models
from halfbeat.errors import EngineFailed
from services.tts.engines.trim import word_timings
from services.tts.engines.vits import FIRST_FRAMES, HOP_SAMPLES, HURRIED_FRAMES, VitsEngine
from services.tts.engines.vits_graph import split
from services.tts.framing import ClauseAudio

UNHEARD = 1e-3
"""60 dB below full scale. Forty draws of the random prior came to 5e-5 at most, 1.5e-4 behind a hurried first piece;
six frames too little context come to 5e-3 and more."""
TEXT = "A truck will pick up your trash tomorrow between 7 and 11 AM, at 12 Oak St."


@pytest.fixture(scope="module")
def engine() -> VitsEngine:
    engine = VitsEngine(models.path("piper-en-us-joe-medium"))
    engine.load()
    return engine


@pytest.mark.models
def test_windows_are_the_whole_decode_cut_in_pieces(engine: VitsEngine) -> None:
    prior = engine.encode(TEXT)
    whole = engine.whole(prior)
    pieces = list(engine.windows(prior))
    assert len(pieces) >= 4
    assert len(pieces[0]) == FIRST_FRAMES * HOP_SAMPLES
    assert np.abs(np.concatenate(pieces) - whole).max() < UNHEARD
    assert np.abs(whole).max() > 0.1


@pytest.mark.models
def test_a_hurried_first_piece_is_shorter_and_what_follows_joins_it_unheard(engine: VitsEngine) -> None:
    prior = engine.encode(TEXT)
    pieces = list(engine.windows(prior, is_hurried=True))
    assert len(pieces[0]) == HURRIED_FRAMES * HOP_SAMPLES
    difference = np.abs(np.concatenate(pieces) - engine.whole(prior))
    assert difference.max() < 5e-3
    assert difference[len(pieces[0]) :].max() < UNHEARD


@pytest.mark.models
@pytest.mark.parametrize("is_hurried", [False, True])
@pytest.mark.parametrize("text", ["Okay,", "Sure, I can help.", "A truck comes tomorrow.", "She said seven."])
def test_the_first_piece_sounds_from_its_first_hundredth_of_a_second(
    engine: VitsEngine, text: str, is_hurried: bool
) -> None:
    audio = ClauseAudio(engine.sample_rate)
    first = audio.push(next(engine.synthesize(text, is_hurried=is_hurried)))
    pcm = np.frombuffer(b"".join(p.pcm for p in first), "<i2").astype(float) / 32768
    assert len(pcm) >= 0.04 * 16_000
    assert np.flatnonzero(np.abs(pcm) > 10 ** (-45 / 20))[0] <= 0.012 * 16_000


@pytest.mark.models
@pytest.mark.parametrize("text", ["Okay,", "Yes.", "Okay, one moment."])
def test_a_short_clause_is_whole_too(engine: VitsEngine, text: str) -> None:
    prior = engine.encode(text)
    assert np.abs(np.concatenate(list(engine.windows(prior))) - engine.whole(prior)).max() < UNHEARD


@pytest.mark.models
def test_words_sound_in_order_and_within_the_audio(engine: VitsEngine) -> None:
    chunks = list(engine.synthesize(TEXT))
    words = [w for c in chunks for w in c.words]
    assert [TEXT[w.char_start : w.char_end] for w in words] == [
        "A", "truck", "will", "pick", "up", "your", "trash", "tomorrow", "between", "7", "and", "11 AM,", "at", "12",
        "Oak", "St.",
    ]  # fmt: skip
    assert all(w.start_samples < w.end_samples for w in words)
    assert all(a.end_samples <= b.start_samples for a, b in pairwise(words))
    assert words[-1].end_samples <= sum(len(c.samples) for c in chunks)
    start = 0
    for chunk in chunks:
        assert all(start <= w.start_samples < start + len(chunk.samples) for w in chunk.words)
        start += len(chunk.samples)


@pytest.mark.models
def test_a_word_is_loud_where_its_time_says_and_the_pause_after_a_comma_is_not(engine: VitsEngine) -> None:
    text = "Tomorrow, seven."
    chunks = list(engine.synthesize(text))
    audio = np.concatenate([c.samples for c in chunks])
    first, second = (w for c in chunks for w in c.words)
    loudness = [np.sqrt(np.mean(audio[w.start_samples : w.end_samples] ** 2)) for w in (first, second)]
    middle = (first.end_samples + second.start_samples) // 2
    pause = np.sqrt(np.mean(audio[middle - 800 : middle + 800] ** 2))
    assert min(loudness) > 8 * pause


@pytest.mark.models
def test_a_word_starts_where_its_sound_does(engine: VitsEngine) -> None:
    """A word that is said again from its start after a duck must neither lose its consonant nor begin in a pause."""
    text = "Tomorrow, perhaps, Tuesday, maybe, ten."  # pauses between them, so that the sound itself tells
    chunks = list(engine.synthesize(text))
    audio = np.concatenate([c.samples for c in chunks])
    words = [w for c in chunks for w in c.words]
    assert len(words) == 5
    size = engine.sample_rate // 100
    loud = np.array([np.sqrt(np.mean(b**2)) > 0.01 for b in audio[: len(audio) // size * size].reshape(-1, size)])
    for before, word in pairwise(words):
        middle = (before.end_samples + word.start_samples) // 2 // size
        quiet = [i for i in range(before.start_samples // size, middle + 8) if not loud[i]]
        sounds_ms = 10 * (next(i for i in range(quiet[-1], len(loud)) if loud[i]))
        assert abs(word.start_samples * 1000 / engine.sample_rate - sounds_ms) <= 60


@pytest.mark.models
def test_no_silence_is_sent_first_and_a_natural_pause_last(engine: VitsEngine) -> None:
    audio = np.concatenate([c.samples for c in engine.synthesize("Your truck comes tomorrow.")])
    loud = np.flatnonzero(np.abs(audio) > 0.012)
    assert loud[0] <= 0.015 * engine.sample_rate
    assert 0.25 <= (len(audio) - loud[-1]) / engine.sample_rate <= 0.31


@pytest.mark.models
def test_a_generator_closed_early_decodes_no_further_window(
    engine: VitsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    decode = engine._decode
    monkeypatch.setattr(engine, "_decode", lambda z: decoded.append(z.shape[2]) or decode(z))
    pieces = engine.synthesize(TEXT)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert len(decoded) == 1


@pytest.mark.models
def test_faster_speech_is_shorter(engine: VitsEngine) -> None:
    slow, fast = (sum(len(c.samples) for c in engine.synthesize(TEXT, speed=s)) for s in (0.8, 1.25))
    assert fast < 0.85 * slow  # not 0.64: no phoneme is shorter than one frame


@pytest.mark.models
def test_nothing_to_say_makes_no_sound(engine: VitsEngine) -> None:
    assert list(engine.synthesize("… —")) == []


@pytest.mark.models
def test_the_graph_is_cut_once_and_in_memory_where_the_folder_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = models.path("piper-en-us-joe-medium")
    model = Path(shutil.copy(source / "en_US-joe-medium.onnx", tmp_path))
    monkeypatch.setattr("services.tts.engines.vits_graph._write_whole", _read_only)
    assert isinstance(split(model).decoder, bytes)
    monkeypatch.undo()
    first = split(model)
    assert isinstance(first.decoder, str)
    written = Path(first.decoder).stat().st_mtime_ns
    assert split(model) == first
    assert Path(first.decoder).stat().st_mtime_ns == written
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".onnx"] * 4  # no half-written file


def _read_only(path: Path, content: bytes) -> None:
    raise PermissionError(f"read-only: {path}")


@pytest.mark.parametrize("broken", ["empty", "no config", "not onnx", "bad config"])
def test_files_that_are_no_voice_are_refused_by_name(tmp_path: Path, broken: str) -> None:
    config = {"phoneme_id_map": {"_": [0]}, "inference": {"noise_scale": 1, "length_scale": 1, "noise_w": 1}}
    if broken != "empty":
        (tmp_path / "v.onnx").write_bytes(b"not a model")
    if broken == "not onnx":
        (tmp_path / "v.onnx.json").write_text(json.dumps(config | {"audio": {"sample_rate": 22_050}}))
    if broken == "bad config":
        (tmp_path / "v.onnx.json").write_text(json.dumps(config))
    with pytest.raises(EngineFailed, match=r"v\.onnx|no voice"):
        VitsEngine(tmp_path).load()


def test_word_times_are_the_sums_of_frames() -> None:
    durations = np.array([2, 1, 3, 1, 2, 2, 4, 1], dtype=np.float32)
    owners = [-1, -1, 0, 0, -1, 1, 1, -1]
    first, second = word_timings(durations, owners, [(0, 3), (4, 7)], HOP_SAMPLES)
    assert (first.start_samples, first.end_samples) == (3 * HOP_SAMPLES, 7 * HOP_SAMPLES)
    assert (second.start_samples, second.end_samples) == (9 * HOP_SAMPLES, 15 * HOP_SAMPLES)
