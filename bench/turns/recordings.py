"""Recordings as clips: every WAV file of a folder is one whole turn.

Spans come from `NAME.json` beside `NAME.wav` (`{"spans": [[0.0, 1.2], [1.9, 3.0]]}`, seconds) where there is one, else
from the sound: brought to one level, then as for made speech. Texts come from `manifest.tsv` (columns `file` and
`transcript`), in the folder or above it; they are not needed.
"""

import csv
import json
import wave
from pathlib import Path

import numpy as np
import soxr

from bench.turns.speech import Clip, levelled, voiced_spans
from halfbeat.audio import RATE_HZ, Samples
from halfbeat.errors import InvalidRequest

_LEVEL_DBFS = -18.0


def clips_of(folder: Path) -> list[Clip]:
    """Reads the recordings of a folder, in order of their names.

    Raises:
        InvalidRequest: there are none, or one is not 16 bit PCM.
    """
    texts = _texts(folder)
    clips = [_clip(path, texts.get(path.name, "")) for path in sorted(folder.glob("*.wav"))]
    if not clips:
        raise InvalidRequest(f"no WAV file in {folder}")
    return clips


def read_wav(path: Path) -> tuple[Samples, int]:
    """Returns the first channel of a file and its rate.

    Raises:
        InvalidRequest: it is not 16 bit PCM.
    """
    with wave.open(str(path)) as file:
        if file.getsampwidth() != 2:
            raise InvalidRequest(f"{path.name} is not 16 bit PCM")
        rate, channels = file.getframerate(), file.getnchannels()
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, channels)[:, 0], rate


def _clip(path: Path, text: str) -> Clip:
    samples, rate = read_wav(path)
    floats = levelled(soxr.resample(samples.astype(np.float32) / 32768, rate, RATE_HZ), _LEVEL_DBFS)
    labels = path.with_suffix(".json")
    spans = voiced_spans(floats)
    if labels.is_file():
        spans = tuple((float(a), float(b)) for a, b in json.loads(labels.read_text())["spans"])
    begin, end = spans[0][0], spans[-1][1]
    pcm = np.rint(np.clip(floats, -1, 1) * 32767).astype(np.int16)[int(begin * RATE_HZ) : int(end * RATE_HZ)]
    shifted = tuple((a - begin, b - begin) for a, b in spans)
    return Clip(path.stem, "recording", text or path.stem, pcm, (), shifted)


def _texts(folder: Path) -> dict[str, str]:
    for manifest in (folder / "manifest.tsv", folder.parent / "manifest.tsv"):
        if manifest.is_file():
            with manifest.open(encoding="utf-8") as file:
                rows = csv.DictReader(file, delimiter="\t")
                return {Path(row["file"]).name: (row.get("transcript") or "").strip() for row in rows}
    return {}
