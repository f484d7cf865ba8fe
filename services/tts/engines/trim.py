"""What every VITS voice's audio needs at its ends, and when its words sound."""

import math
from collections.abc import Iterator

import numpy as np

from services.tts.engine import Chunk, Samples, WordTiming

_SILENCE = 0.012  # peak of what counts as silence; the voice's noise floor lies near 0.003
_ONSET_MS = 8  # kept before the first sound, so that a soft consonant is not clipped
_PAUSE_MS = {"": 40, ",": 140, ";": 180, ":": 180, ".": 280, "?": 280, "!": 280}


def word_timings(
    durations: Samples, owners: list[int], spans: list[tuple[int, int]], hop_samples: int
) -> list[WordTiming]:
    """Turns frames per phoneme id into the samples of each written word, from the untrimmed audio's start."""
    ends = np.cumsum(durations.astype(np.int64)) * hop_samples
    words = []
    for item, (char_start, char_end) in enumerate(spans):
        at = [k for k, owner in enumerate(owners) if owner == item]
        if at:
            start = int(ends[at[0] - 1]) if at[0] else 0
            words.append(WordTiming(char_start, char_end, start, int(ends[at[-1]])))
    return words


def onset(piece: Samples, rate: int) -> int:
    """Returns where to begin so that nothing silent comes first; the piece's length when all of it is silent."""
    loud = np.flatnonzero(np.abs(piece) > _SILENCE)
    return max(0, int(loud[0]) - _ONSET_MS * rate // 1000) if len(loud) else len(piece)


def without_lead(pieces: Iterator[Samples], rate: int) -> Iterator[Samples]:
    """Drops leading silence, for voices that do not know when their words sound."""
    is_started = False
    for piece in pieces:
        sounding = piece if is_started else piece[onset(piece, rate) :]
        is_started = is_started or len(sounding) > 0
        if len(sounding):
            yield sounding


def trimmed(pieces: Iterator[tuple[Samples, bool]], words: list[WordTiming], rate: int, pause: str) -> Iterator[Chunk]:
    """Drops leading silence, gives the end the pause its punctuation asks for, and hands each piece its words."""
    wanted = math.ceil(_PAUSE_MS[pause] * rate / 1000)
    dropped = sent = quiet = 0  # samples: cut at the start; handed on; silent at the end of what was handed on
    is_started = False

    def chunk(samples: Samples) -> Chunk:
        nonlocal sent, quiet
        mine = tuple(
            WordTiming(w.char_start, w.char_end, max(0, w.start_samples - dropped), w.end_samples - dropped)
            for w in words
            if sent <= max(0, w.start_samples - dropped) < sent + len(samples)
        )
        sent += len(samples)
        loud = np.flatnonzero(np.abs(samples) > _SILENCE)
        quiet = len(samples) - 1 - int(loud[-1]) if len(loud) else quiet + len(samples)
        return Chunk(samples, mine)

    for piece, is_last in pieces:
        loud = np.flatnonzero(np.abs(piece) > _SILENCE)
        if is_last:
            already = 0 if len(loud) else quiet
            end = (int(loud[-1]) + 1 if len(loud) else 0) + max(0, wanted - already)
            piece = piece[:end]
        if not is_started:
            silent = onset(piece, rate)
            dropped += silent
            piece = piece[silent:]
            is_started = len(piece) > 0
        if is_started and len(piece):
            yield chunk(piece)
    if is_started and quiet < wanted:
        yield Chunk(np.zeros(wanted - quiet, dtype=np.float32))
