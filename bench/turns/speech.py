"""Labelled speech: callers' turns made by the project's own voice, with exact times of words, voice and pauses.

A line is text with marks: "My address is [0.8] 12 Oak Street." pauses for 0.8 s after "is". What comes before a pause
is not spoken as a finished sentence: the whole sentence is rendered at once with a comma there, and the silence is put
where the voice itself paused, so the melody goes on; the syllable before it is drawn out, more or less, as people do
who will go on. Between sentences each is rendered for itself, as finished as the last. One voice becomes many by pitch
(played at another rate, formants included) and pace.

Labels come from the sound itself: a span begins and ends with the first and last 4 ms block above -45 dBFS, gaps under
150 ms belong to it, and what is not in a span is faded to digital silence. Noise and the telephone band are put on top.
"""

import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from bench.turns.sounds import RATE_HZ, SOUNDS, Floats, street
from halfbeat.audio import AUDIBLE_DBFS, MU_LAW, Samples

#: Resolution of the labels.
BLOCK = 64
#: Length of a clip's room.
ROOM_S = 3
#: Shorter gaps are stops and breaths inside words and phrases, not pauses.
MIN_GAP_S = 0.15
_RECIPE = 8  # raise when the making changes: what is cached under another number is not used
_FADE_IN_S, _FADE_OUT_S = 0.012, 0.03
#: How far the last syllable before a pause within a sentence is drawn out, and how much of a word that is (12 ms each).
_STRETCH, _SYLLABLE_FRAMES = (1.0, 2.2), 22
_MARK = re.compile(r"\s*\[(~|\d+(?:\.\d+)?)\]\s*")
#: Quantiles of the pauses that "[~]" draws, in seconds, as recordings of people who talk to agents have them: eot-bench
#: (LiveKit; 705 English pauses of 200 ms and more) prints for silence alone 55.6 % cut-offs at 300 ms, 21.7 % at
#: 600 ms, 10 % at 1,000 ms and 5 % at 1,600 ms. None is longer than 2 s here.
PAUSES = ((0.0, 0.2), (0.444, 0.3), (0.783, 0.6), (0.9, 1.0), (0.95, 1.6), (1.0, 2.0))
#: Pitch and pace of the callers: one voice, from a low to a high one, slow and fast.
CALLERS = ((0.84, 0.95), (0.9, 1.1), (0.96, 1.0), (1.0, 0.88), (1.06, 1.12), (1.14, 1.0), (1.22, 0.93), (1.28, 1.05))


@dataclass(frozen=True)
class Line:
    """A recipe.

    Attributes:
        text: what is said, with pauses in brackets ("[0.8]" seconds, "[~]" drawn from `PAUSES`); nothing for a sound.
        kind: a word of the set's own ("turn", "pause", ...); one of `SOUNDS` makes that sound.
        name: of the clip; empty makes one of kind and text.
        pitch: 1.2 is three semitones up; 0 draws a caller of `CALLERS` by the text.
        speed: 1.1 is a tenth faster; 0 takes the drawn caller's.
        level_dbfs: RMS of the voiced parts.
        is_phone: 300-3400 Hz at 8 kHz mu-law, and back.
        snr_db: street noise this far below the voice, all through the clip; None for none.
    """

    text: str = ""
    kind: str = "turn"
    name: str = ""
    pitch: float = 0.0
    speed: float = 0.0
    level_dbfs: float = -22.0
    is_phone: bool = False
    snr_db: float | None = None


@dataclass(frozen=True)
class Word:
    """A written word and when it sounds, in seconds since the clip began."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Clip:
    """A turn or a sound at 16 kHz; begins with the first voiced sample and ends with the last.

    Attributes:
        name: unique within a set.
        kind: of its line.
        text: of its line, without marks.
        pcm: mono.
        words: in order; none for a sound.
        spans: voiced stretches, in seconds; the gaps between them are the pauses.
        room: 3 s of what is heard before and after it: silence, or the noise of its line.
    """

    name: str
    kind: str
    text: str
    pcm: Samples
    words: tuple[Word, ...]
    spans: tuple[tuple[float, float], ...]
    room: Samples = field(default_factory=lambda: np.zeros(ROOM_S * RATE_HZ, np.int16))

    @property
    def pauses(self) -> tuple[tuple[float, float], ...]:
        """Stretches without voice inside the clip, in seconds."""
        return tuple((a[1], b[0]) for a, b in zip(self.spans, self.spans[1:], strict=False))

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.pcm) / RATE_HZ


def default_cache() -> Path:
    """Returns where clips are kept: `speech` in $HALFBEAT_CACHE, or in the user's cache directory."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("HALFBEAT_CACHE") or base / "halfbeat") / "speech"


def make_speech(
    lines: Sequence[Line],
    *,
    seed: int = 1,
    cache: Path | None = None,
    on_made: Callable[[int, int], None] = lambda made, of: None,
) -> list[Clip]:
    """Returns the clips of the lines, in order; blocks for about 0.2 s per second of speech that is not cached yet.

    Args:
        lines: recipes.
        seed: of everything that is drawn; the same seed gives the same clips.
        cache: folder of the made clips; `default_cache()` when None.
        on_made: is told how many of the missing clips are made.

    Raises:
        halfbeat.models.ModelMissing: a line is to be spoken and the voice's files are not here.
    """
    folder = cache or default_cache()
    folder.mkdir(parents=True, exist_ok=True)
    clips: list[Clip | None] = [_load(folder / f"{_key(line, seed)}.npz") for line in lines]
    missing = [i for i, clip in enumerate(clips) if clip is None]
    studio = _Studio(seed)
    for made, i in enumerate(missing):
        clips[i] = clip = studio.make(lines[i])
        _save(folder / f"{_key(lines[i], seed)}.npz", clip)
        on_made(made + 1, len(missing))
    return [clip for clip in clips if clip is not None]


def plain(marked: str) -> str:
    """Returns a line's text without its marks."""
    return _MARK.sub(" ", marked).strip()


def on_phone(pcm: Samples) -> Samples:
    """Returns audio as a telephone delivers it: 8 kHz mu-law, and back to 16 kHz; same length."""
    narrow = soxr.resample(pcm.astype(np.float32) / 32768, RATE_HZ, 8000)
    coded = MU_LAW.decode(MU_LAW.encode(np.rint(np.clip(narrow, -1, 1) * 32767).astype("<i2").tobytes()))
    wide = soxr.resample(np.frombuffer(coded, "<i2").astype(np.float32) / 32768, 8000, RATE_HZ)
    return _pcm16(np.pad(wide, (0, max(0, len(pcm) - len(wide))))[: len(pcm)])


def voiced_spans(samples: npt.NDArray[Any]) -> tuple[tuple[float, float], ...]:
    """Returns the stretches above -45 dBFS (RMS of 4 ms) of s16 or float audio; gaps under 150 ms are part of them."""
    scale = 32768.0 if samples.dtype == np.int16 else 1.0
    whole = np.pad(samples.astype(np.float64) / scale, (0, -len(samples) % BLOCK)).reshape(-1, BLOCK)
    loud = np.flatnonzero(np.mean(np.square(whole), axis=1) > 10 ** (AUDIBLE_DBFS / 10))
    if not len(loud):
        return ()
    breaks = np.flatnonzero(np.diff(loud) > MIN_GAP_S * RATE_HZ / BLOCK)
    starts, ends = loud[np.r_[0, breaks + 1]], loud[np.r_[breaks, -1]] + 1
    return tuple((int(a) * BLOCK / RATE_HZ, int(b) * BLOCK / RATE_HZ) for a, b in zip(starts, ends, strict=True))


@dataclass
class _Take:
    """What the voice said of one sentence: 16 kHz floats, and the words with their first and last sample."""

    samples: Floats
    words: list[tuple[str, int, int, int]]  # text, place in the sentence's text, start, end


@dataclass(frozen=True)
class _Hesitation:
    """A pause within a sentence: its place in the text, its length, and how far the syllable before it is drawn out."""

    place: int
    seconds: float
    stretch: float


class _Studio:
    """The engine, loaded when the first sentence is asked for."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._engine: Any = None

    def make(self, line: Line) -> Clip:
        rng = np.random.default_rng([self._seed, zlib.crc32(json.dumps(asdict(line)).encode())])
        if line.kind in SOUNDS:
            samples, words = SOUNDS[line.kind](rng), list[tuple[str, int, int]]()
        else:
            samples, words = self._speak(line, rng)
        samples = levelled(samples, line.level_dbfs)
        samples, spans = _cut_to_voice(samples)
        begin = spans[0][0]
        pcm = samples[int(begin * RATE_HZ) : int(spans[-1][1] * RATE_HZ)]
        room = np.zeros(ROOM_S * RATE_HZ, np.float32)
        if line.snr_db is not None:
            noise = street(rng, ROOM_S + len(pcm) / RATE_HZ + 0.1)
            noise *= 10 ** ((line.level_dbfs - line.snr_db) / 20) / np.sqrt(np.mean(np.square(noise)))
            room, pcm = noise[: len(room)], pcm + noise[len(room) : len(room) + len(pcm)]
        whole, around = _pcm16(pcm), _pcm16(room)
        limit = spans[-1][1] - begin
        return Clip(
            name=line.name or f"{line.kind}-{_slug(line.text)}-{_key(line, self._seed)[:4]}",
            kind=line.kind,
            text=plain(line.text),
            pcm=on_phone(whole) if line.is_phone else whole,
            words=tuple(
                Word(text, max(0.0, start / RATE_HZ - begin), min(limit, end / RATE_HZ - begin))
                for text, start, end in words
            ),
            spans=tuple((a - begin, b - begin) for a, b in spans),
            room=on_phone(around) if line.is_phone else around,
        )

    def _speak(self, line: Line, rng: np.random.Generator) -> tuple[Floats, list[tuple[str, int, int]]]:
        drawn = CALLERS[int(rng.integers(len(CALLERS)))]
        pitch, speed = line.pitch or drawn[0], line.speed or drawn[1]
        pieces: list[Floats] = []
        words: list[tuple[str, int, int]] = []
        at = 0
        for sentence, pauses, gap_s in _sentences(line.text, rng):
            take = self._take(sentence, pauses, pitch, speed)
            samples, moved = _with_pauses(take, pauses)
            words += [(text, start + at, end + at) for text, start, end in moved]
            silence = np.zeros(int(gap_s * RATE_HZ), np.float32)
            pieces += [samples, silence]
            at += len(samples) + len(silence)
        return np.concatenate(pieces), words

    def _take(self, text: str, pauses: Sequence[_Hesitation], pitch: float, speed: float) -> _Take:
        """Speaks one sentence; the last syllable before each hesitation is drawn out, as people do who will go on."""
        from services.tts.engines.trim import word_timings
        from services.tts.engines.vits import HOP_SAMPLES
        from services.tts.normalise import normalise

        engine = self._engine or self._load()
        items = normalise(text)
        prior, durations, owners = engine._encode(engine._phonemizer().phonemise(items), speed / pitch)
        timings = word_timings(durations, owners, [(i.char_start, i.char_end) for i in items], 1)
        pace = np.ones(prior.shape[2])
        for pause in pauses:
            last = next(w for w in reversed(timings) if w.char_start < pause.place)
            syllable = max(min(_SYLLABLE_FRAMES, last.end_samples - last.start_samples), 1)
            pace[last.end_samples - syllable : last.end_samples] = pause.stretch
        moved = np.r_[0.0, np.cumsum(pace)]  # where each of the voice's frames comes to lie
        frames = np.searchsorted(moved, np.arange(int(moved[-1])) + 0.5) - 1
        rate = round(engine.sample_rate * pitch / 100) * 100
        samples = soxr.resample(engine.whole(prior[:, :, frames]), rate, RATE_HZ).astype(np.float32)
        scale = HOP_SAMPLES * RATE_HZ / rate
        at = (moved * scale).astype(int)
        words = [
            (text[w.char_start : w.char_end], w.char_start, int(at[w.start_samples]), int(at[w.end_samples]))
            for w in timings
        ]
        return _Take(_without_edges(samples, words), words)

    def _load(self) -> Any:
        import onnxruntime

        from services.tts.config import TtsSettings
        from services.tts.engines import make_engine

        onnxruntime.set_seed(self._seed)  # before the graphs are loaded: their noise is drawn from it
        self._engine = make_engine(TtsSettings.model_validate({"engine": "vits"}))
        self._engine.load()
        return self._engine


def _sentences(marked: str, rng: np.random.Generator) -> list[tuple[str, list[_Hesitation], float]]:
    """Splits a line: each sentence's text, the pauses within it, and the silence after it."""
    found: list[tuple[str, list[_Hesitation], float]] = []
    text, pauses = "", list[_Hesitation]()
    parts = _MARK.split(marked)
    for i in range(0, len(parts), 2):
        pieces = re.split(r"(?<=[.?!])\s+(?=[A-Z])", parts[i].strip())
        for k, piece in enumerate(pieces):
            text = f"{text} {piece}".strip()
            if k + 1 < len(pieces):
                found.append((text, pauses, _drawn(rng)))
                text, pauses = "", []
        if i + 1 == len(parts):
            found.append((text, pauses, 0.0))
            break
        pause_s = _drawn(rng) if parts[i + 1] == "~" else float(parts[i + 1])
        if text[-1] in ".?!":
            found.append((text, pauses, pause_s))
            text, pauses = "", []
        else:
            text = text if text[-1] in ",;:" else f"{text},"
            pauses.append(_Hesitation(len(text), pause_s, float(rng.uniform(*_STRETCH))))
    return found


def _drawn(rng: np.random.Generator) -> float:
    at, values = zip(*PAUSES, strict=True)
    return float(np.interp(rng.uniform(), at, values))


def _with_pauses(take: _Take, pauses: Sequence[_Hesitation]) -> tuple[Floats, list[tuple[str, int, int]]]:
    """Opens the take where it pauses for a comma: the quietest place there becomes silence of the length wanted."""
    pieces: list[Floats] = []
    words: list[tuple[str, int, int]] = []
    done = shift = given = 0
    for pause in [*pauses, _Hesitation(1 << 30, 0.0, 1.0)]:
        until = given
        while until < len(take.words) and take.words[until][1] < pause.place:
            until += 1
        words += [(text, start + shift, end + shift) for text, _, start, end in take.words[given:until]]
        given = until
        if until == len(take.words):
            break
        left, right = _quiet(take.samples, take.words[until - 1][3], take.words[until][2])
        before, silence = _faded(take.samples[done:left]), np.zeros(int(pause.seconds * RATE_HZ), np.float32)
        pieces += [before, silence]
        shift += len(silence) - (right - left)
        done = right
    return np.concatenate([*pieces, take.samples[done:]]), words


def _quiet(samples: Floats, begin: int, end: int) -> tuple[int, int]:
    """Returns the silent stretch around a boundary of words; the quietest 8 ms when the voice ran on."""
    left, right = max(0, min(begin, end) - RATE_HZ // 20), min(len(samples), max(begin, end) + RATE_HZ // 20)
    blocks = samples[left : left + (right - left) // BLOCK * BLOCK].reshape(-1, BLOCK)
    power = np.mean(np.square(blocks), axis=1)
    quiet = power < max(float(power.min()) * 4, float(np.max(np.square(samples))) * 10**-4.0)
    runs = np.flatnonzero(np.diff(np.r_[0, quiet.astype(np.int8), 0])).reshape(-1, 2)
    first, last = max(runs, key=lambda run: int(run[1] - run[0]))
    return left + int(first) * BLOCK, left + int(last) * BLOCK


def _without_edges(samples: Floats, words: list[tuple[str, int, int, int]]) -> Floats:
    """Cuts the silence around a sentence (its words move along)."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * float(np.max(np.abs(samples))))
    begin, end = max(0, int(loud[0]) - BLOCK), min(len(samples), int(loud[-1]) + BLOCK)
    words[:] = [(text, place, max(0, start - begin), min(end, stop) - begin) for text, place, start, stop in words]
    return samples[begin:end]


def _faded(samples: Floats) -> Floats:
    length = min(len(samples), int(0.01 * RATE_HZ))
    out = samples.copy()
    out[len(out) - length :] *= np.linspace(1, 0, length, dtype=np.float32)
    return out


def levelled(samples: Floats, level_dbfs: float) -> Floats:
    """Brings the loud parts (blocks within 30 dB of the loudest) to a level; peaks are clipped at full scale later."""
    blocks = samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK)
    power = np.mean(np.square(blocks), axis=1)
    voiced = power[power > power.max() * 1e-3]
    return samples * np.float32(10 ** (level_dbfs / 20) / np.sqrt(voiced.mean()))


def _cut_to_voice(samples: Floats) -> tuple[Floats, tuple[tuple[float, float], ...]]:
    """Fades what is between the voiced spans to zero, and returns the spans; raises `ValueError` if all is silent."""
    spans = voiced_spans(samples)
    if not spans:
        raise ValueError("a clip without any sound above -45 dBFS")
    gain = np.zeros(len(samples), np.float32)
    for start_s, end_s in spans:
        start, end = int(start_s * RATE_HZ), min(len(samples), int(end_s * RATE_HZ))
        begin, stop = max(0, start - int(_FADE_IN_S * RATE_HZ)), min(len(samples), end + int(_FADE_OUT_S * RATE_HZ))
        gain[begin:start] = np.maximum(gain[begin:start], np.linspace(0, 1, start - begin, dtype=np.float32))
        gain[start:end] = 1
        gain[end:stop] = np.maximum(gain[end:stop], np.linspace(1, 0, stop - end, dtype=np.float32))
    return samples * gain, spans


def _pcm16(samples: npt.NDArray[Any]) -> Samples:
    pcm: Samples = np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    return pcm


def _slug(text: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", plain(text).lower()))[:32] or "sound"


def _key(line: Line, seed: int) -> str:
    recipe = json.dumps([_RECIPE + (line.snr_db is not None), seed, asdict(line), PAUSES, CALLERS], sort_keys=True)
    return hashlib.sha256(recipe.encode()).hexdigest()[:20]


def _save(path: Path, clip: Clip) -> None:
    """Writes beside the target and renames: two benchmarks may make the same clip."""
    about = json.dumps(
        {"name": clip.name, "kind": clip.kind, "text": clip.text, "words": [asdict(w) for w in clip.words]}
        | {"spans": clip.spans}
    )
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        np.savez(file, pcm=clip.pcm, room=clip.room, about=np.array(about))
    part.replace(path)


def _load(path: Path) -> Clip | None:
    if not path.is_file():
        return None
    with np.load(path) as kept:
        about = json.loads(str(kept["about"]))
        words = tuple(Word(**word) for word in about["words"])
        spans = tuple((float(a), float(b)) for a, b in about["spans"])
        room = {"room": kept["room"]} if "room" in kept else {}
        return Clip(about["name"], about["kind"], about["text"], kept["pcm"], words, spans, **room)
