"""What the router's sources know at each pause of a clip, computed once and kept: voice windows, audio model, words.

A clip is put between two stretches of its own room and heard as the router hears it: `VoiceActivity` over 32 ms windows
says when it is silent and for how long, the audio model is asked at several silences, and the recogniser reads what was
said up to the pause. Nothing here looks ahead: what a source says at a moment comes from the audio before it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bench.turns.lines import Half, half_of
from bench.turns.speech import Clip
from halfbeat.audio import RATE_HZ, Samples
from services.router.endpoint import Voice, VoiceActivity, VoiceSettings
from services.router.engine import WINDOW_SAMPLES

#: Silences at which the audio model is asked, in ms since the last voiced sample.
ASKED_MS = (120, 200, 300, 500)
#: Shorter gaps are not counted as pauses of a turn, as in eot-bench.
MIN_PAUSE_S = 0.2
#: How long the end of a turn is followed, and the silence before a clip, in seconds.
TAIL_S, LEAD_S = 3.0, 0.5
_VERSION = 2
_PRE_ROLL_S, _GAP_S, _AFTER_S = 0.3, 0.4, 0.1


class Senses(Protocol):
    """The three models; each blocks."""

    def windows(self, pcm: Samples) -> list[float]:
        """Returns the probability of voice in each window of 32 ms."""

    def is_over(self, turn: Samples) -> float:
        """Returns the audio model's probability that a turn, heard up to now, is over."""

    def words(self, turn: Samples) -> str:
        """Returns what the recogniser reads in a turn."""


@dataclass(frozen=True)
class Pause:
    """A silence within or after a turn, and what the sources make of it.

    Attributes:
        clip: name of its clip.
        kind: of its clip.
        half: of the set.
        is_end: the turn is over; else the caller goes on.
        start_ms: since the first voiced sample of the turn.
        length_ms: until the caller goes on; `TAIL_S` for an end.
        voices: the router's view at the end of each window: ms since the silence began, and that.
        audio: the audio model's opinion, by the silence in ms at which it was asked.
        heard: the recogniser's words of the turn so far.
        said: the true ones.
    """

    clip: str
    kind: str
    half: Half
    is_end: bool
    start_ms: int
    length_ms: int
    voices: tuple[tuple[float, Voice], ...]
    audio: dict[int, float]
    heard: str
    said: str


def observe(
    clips: Sequence[Clip],
    senses: Callable[[], Senses],
    cache: Path,
    on_done: Callable[[int, int], None] = lambda done, of: None,
) -> list[list[Pause]]:
    """Returns the pauses of each clip, the end last.

    Args:
        clips: the labelled set.
        senses: makes the models; called only if something is not in the cache.
        cache: folder; what was computed for a clip's exact sound is not computed again.
        on_done: is told how many of the missing ones are done.
    """
    cache.mkdir(parents=True, exist_ok=True)
    files = [cache / f"{_key(clip)}.json" for clip in clips]
    missing = [i for i, file in enumerate(files) if not file.is_file()]
    models = senses() if missing else None
    for done, i in enumerate(missing):
        assert models is not None
        part = files[i].with_suffix(".part")
        part.write_text(json.dumps(_sensed(clips[i], models)))
        part.replace(files[i])
        on_done(done + 1, len(missing))
    return [_pauses(clip, json.loads(file.read_text())) for clip, file in zip(clips, files, strict=True)]


def holds(clip: Clip) -> list[tuple[float, float]]:
    """Returns the pauses within a clip that count, as start and end in seconds."""
    return [(a, b) for a, b in clip.pauses if b - a >= MIN_PAUSE_S]


def _sensed(clip: Clip, senses: Senses) -> dict[str, Any]:
    end_s = clip.seconds
    silences = [*holds(clip), (end_s, end_s + TAIL_S)]
    whole = np.concatenate([clip.room[: int(LEAD_S * RATE_HZ)], clip.pcm, clip.room])
    lead = int(LEAD_S * RATE_HZ)
    audio, heard = [], []
    for a, b in silences:
        opinions = {}
        for asked_ms in ASKED_MS:
            if a + asked_ms / 1000 <= b:
                opinions[asked_ms] = senses.is_over(whole[lead : lead + int((a + asked_ms / 1000) * RATE_HZ)])
        audio.append(opinions)
        heard.append(senses.words(_stretches(clip, whole, a)))
    return {"windows": senses.windows(whole), "audio": audio, "heard": heard}


def _stretches(clip: Clip, whole: Samples, until_s: float) -> Samples:
    """Returns what the recogniser decodes at a pause: the turn so far, long silences shortened to what it keeps."""
    pieces, at = [], LEAD_S - _PRE_ROLL_S
    for a, b in clip.pauses:
        if b <= until_s and b - a > _GAP_S:
            pieces.append((at, LEAD_S + a + _AFTER_S))
            at = LEAD_S + b - _PRE_ROLL_S
    pieces.append((at, LEAD_S + until_s + _AFTER_S))
    return np.concatenate([whole[int(a * RATE_HZ) : int(b * RATE_HZ)] for a, b in pieces])


def _pauses(clip: Clip, kept: dict[str, Any]) -> list[Pause]:
    voices = _voices(clip, kept["windows"])
    silences = [*holds(clip), (clip.seconds, clip.seconds + TAIL_S)]
    found = []
    for k, (a, b) in enumerate(silences):
        during = tuple((at - a * 1000, voice) for at, voice in voices if a * 1000 <= at <= b * 1000)
        found.append(
            Pause(
                clip=clip.name,
                kind=clip.kind,
                half=half_of(clip.text),
                is_end=k + 1 == len(silences),
                start_ms=round(a * 1000),
                length_ms=round((b - a) * 1000),
                voices=during,
                audio={int(ms): p for ms, p in kept["audio"][k].items()},
                heard=kept["heard"][k],
                said=" ".join(word.text for word in clip.words if word.start_s < a).rstrip(","),
            )
        )
    return found


def _voices(clip: Clip, probabilities: Iterable[float]) -> list[tuple[float, Voice]]:
    """Returns the router's view after each window; times in ms since the clip's first sample."""
    whole: npt.NDArray[np.int16] = np.concatenate([clip.room[: int(LEAD_S * RATE_HZ)], clip.pcm, clip.room])
    activity = VoiceActivity(VoiceSettings())
    views = []
    for k, probability in enumerate(probabilities):
        end = (k + 1) * WINDOW_SAMPLES
        voice = activity.push(probability, whole[end - WINDOW_SAMPLES : end], end)
        views.append((end / RATE_HZ * 1000 - LEAD_S * 1000, voice))
    return views


def _key(clip: Clip) -> str:
    about = json.dumps([_VERSION, ASKED_MS, clip.spans]).encode()
    return hashlib.sha256(about + clip.pcm.tobytes() + clip.room.tobytes()).hexdigest()[:20]


class Models:
    """The real ones: Silero VAD, Smart Turn and the recogniser of the settings, one thread each."""

    def __init__(self, recogniser: str = "moonshine") -> None:
        """Loads them; blocks for some seconds.

        Raises:
            halfbeat.models.ModelMissing: one is not here.
        """
        from halfbeat import models
        from services.asr.config import AsrSettings
        from services.asr.engines import make_engine
        from services.router.smart_turn import SmartTurn
        from services.router.vad import Silero

        self._silero = Silero(models.path("silero-vad"))
        self._smart_turn = SmartTurn(models.path("smart-turn-v3"))
        self._engine = make_engine(AsrSettings.model_validate({"engine": recogniser}))
        self._engine.load()

    def windows(self, pcm: Samples) -> list[float]:
        """See `Senses`."""
        detector = self._silero.detector()
        whole = pcm[: len(pcm) // WINDOW_SAMPLES * WINDOW_SAMPLES].reshape(-1, WINDOW_SAMPLES)
        return [round(detector.probability(window), 4) for window in whole]

    def is_over(self, turn: Samples) -> float:
        """See `Senses`."""
        return round(self._smart_turn.judge(turn), 5)

    def words(self, turn: Samples) -> str:
        """See `Senses`."""
        from services.asr.engine import NO_HINT
        from services.asr.gate import transcribe

        return transcribe(self._engine, turn.astype(np.float32) / np.float32(32768), NO_HINT, None).recognition.text
