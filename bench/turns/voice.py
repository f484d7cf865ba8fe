"""The scripted agent's voice: its timing, and what a whole answer sounds like, to compare a recording with."""

from collections.abc import Sequence

import numpy as np

from halfbeat.audio import FRAME_SAMPLES, Samples
from services.tts.engines.scripted import Script, ScriptedEngine

#: First audio as on a GPU; short words, so that many turns fit into a run.
VOICE = Script(first_audio_ms=80, realtime_factor=0.02, word_ms=200, pause_ms=100)


def clean_answer(clauses: Sequence[str]) -> tuple[Samples, list[int]]:
    """Returns an answer as it would be heard without anybody between: 16 kHz, and where its words begin."""
    engine = ScriptedEngine(VOICE, sleep=lambda _: None)
    pieces: list[Samples] = []
    starts: list[int] = []
    at = 0
    for clause in clauses:
        chunks = list(engine.synthesize(clause))
        starts += [at + word.start_samples for chunk in chunks for word in chunk.words]
        samples = np.concatenate([chunk.samples for chunk in chunks]) if chunks else np.zeros(0, np.float32)
        samples = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES))  # playout sends whole frames
        pieces.append(np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16))
        at += len(samples)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int16), starts
