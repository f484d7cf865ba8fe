"""Whatever sizes an engine yields, the bus gets whole frames, each word once, and the end marked."""

import numpy as np
import pytest

from services.tts.engine import Chunk, WordTiming
from services.tts.framing import ClauseAudio, Piece


def framed(rate: int, sizes: list[int], words: list[WordTiming] | None = None) -> list[Piece]:
    audio = ClauseAudio(rate)
    t = np.arange(sum(sizes), dtype=np.float32) / rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * t).astype(np.float32)
    pieces: list[Piece] = []
    start = 0
    for size in sizes:
        own = tuple(w for w in words or [] if start <= w.start_samples < start + size)
        pieces += audio.push(Chunk(tone[start : start + size], own))
        start += size
    return pieces + audio.finish()


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 27_600])
def test_pieces_are_whole_frames_of_at_most_200_ms_without_gap_or_overlap(rate: int) -> None:
    pieces = framed(rate, [5000, 777, 16384, 1])
    offset = 0
    for piece in pieces:
        assert piece.offset_samples == offset
        assert len(piece.pcm) % 640 == 0
        assert len(piece.pcm) <= 6400
        offset += len(piece.pcm) // 2
    assert [p.is_last for p in pieces] == [False] * (len(pieces) - 1) + [True]
    assert offset / 16_000 == pytest.approx((5000 + 777 + 16384 + 1) / rate, abs=0.03)


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_the_sound_does_not_depend_on_how_the_engine_cut_it(rate: int) -> None:
    one = b"".join(p.pcm for p in framed(rate, [22_000]))
    many = b"".join(p.pcm for p in framed(rate, [4999, 1, 8000, 9000]))
    assert one == many


def test_a_tone_keeps_its_pitch_and_level() -> None:
    pcm = np.frombuffer(b"".join(p.pcm for p in framed(22_050, [22_050])), "<i2")[1600:14_400]
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    assert np.argmax(spectrum) * 16_000 / len(pcm) == pytest.approx(440, abs=2)
    assert np.max(np.abs(pcm)) == pytest.approx(0.5 * 32767, rel=0.02)


def test_every_word_is_told_once_with_the_piece_it_starts_in() -> None:
    words = [WordTiming(i, i + 1, i * 3000, i * 3000 + 2000) for i in range(8)]
    pieces = framed(22_050, [5000, 11_000, 8000], words)
    told = [(p, w) for p in pieces for w in p.words]
    assert [w.char_start for _, w in told] == list(range(8))
    for piece, word in told:
        assert piece.offset_samples <= word.start_samples
        assert word.start_samples < piece.offset_samples + len(piece.pcm) // 2
    assert told[3][1].start_samples == 9000 * 16_000 // 22_050


def test_loud_samples_are_clipped_and_not_wrapped() -> None:
    audio = ClauseAudio(16_000)
    (piece,) = [*audio.push(Chunk(np.full(320, 1.7, dtype=np.float32)))]
    assert np.frombuffer(piece.pcm, "<i2").min() == 32767


def test_a_clause_without_sound_still_ends() -> None:
    assert framed(16_000, []) == [Piece(0, b"", (), is_last=True)]
