"""A Piper voice (VITS, ONNX) on ONNX Runtime, made in windows: the first sound needs one short window.

The text encoder runs once over the clause; flow and decoder then run over windows of frames with context on both sides,
which is exact (the test compares it with the whole). Word times are the duration predictor's own frame counts.
"""

import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from halfbeat.errors import EngineFailed
from services.tts.engine import Chunk, Samples
from services.tts.engines.phonemes import Phone, Phonemizer
from services.tts.engines.trim import trimmed, word_timings
from services.tts.engines.vits_graph import DURATIONS, LATENTS, MASK, PRIOR, split
from services.tts.normalise import normalise

HOP_SAMPLES = 256  # audio samples of one latent frame: the product of the decoder's up-sampling rates
# Frames of 11.6 ms (at 22.05 kHz) in each window. The first counts from where the first word is expected to begin: soon
# enough to start, long enough to cover the work of the second, which covers that of the third, also on a busy machine.
FIRST_FRAMES = 10
HURRIED_FRAMES = 6
NEXT_FRAMES = (16, 28, 44)
WINDOW_FRAMES = 64
CONTEXT_FRAMES = 12  # the decoder's receptive field on one side
HURRIED_CONTEXT_FRAMES = 8  # at the end of a hurried first window: wrong by 0.001 at the most, which nobody hears
FLOW_FRAMES = 64
# The flow's receptive field is 32 (four couplings of four convolutions, two frames on each side of each), but what lies
# beyond 24 changes no sample by more than 0.00003 (beyond 20: 0.001; measured on 16 clauses).
FLOW_CONTEXT_FRAMES = 24

# In place of Piper's 0.8. Read back by Moonshine over the phone edge (4 rounds of 14 lines), 0.8 gave 7.6 % word errors
# with rounds from 0.9 to 16 %, this 5.6 % from 3.6 to 8 %: now and then a syllable was too short to be understood.
STEADY_RHYTHM = 0.4

_PAD, _BOS, _EOS = "_", "^", "$"


class VitsEngine:
    """Piper's single-speaker voices. One instance serves any number of threads; each gets its own phonemizer."""

    name = "vits"

    def __init__(
        self,
        model_dir: Path,
        *,
        threads: int = 1,
        noise_scale: float | None = None,
        noise_w: float | None = STEADY_RHYTHM,
    ) -> None:
        """Takes a folder that holds one `*.onnx` voice with its `.onnx.json`.

        Args:
            model_dir: the folder.
            threads: of ONNX Runtime for one window; 1 on a small machine.
            noise_scale: how much the voice varies; the model's own (0.667) when None.
            noise_w: how much its rhythm varies; the model's own (0.8) when None.
        """
        self._model_dir = model_dir
        self._threads = threads
        self._noise_scale, self._noise_w = noise_scale, noise_w
        self._local = threading.local()
        self.sample_rate = 0

    def load(self) -> None:
        """Loads the parts and speaks once. Raises `EngineFailed` for files that are not a Piper VITS voice."""
        models = [p for p in sorted(self._model_dir.glob("*.onnx")) if p.with_name(p.name + ".json").is_file()]
        if not models:
            raise EngineFailed(f"no voice (*.onnx with its .onnx.json) in {self._model_dir}")
        model = models[0]
        try:
            config = json.loads(model.with_name(model.name + ".json").read_text(encoding="utf-8"))
            self._ids: dict[str, list[int]] = config["phoneme_id_map"]
            inference = config["inference"]
            self.sample_rate = int(config["audio"]["sample_rate"])
            self._scales = (
                inference["noise_scale"] if self._noise_scale is None else self._noise_scale,
                inference["length_scale"],
                inference["noise_w"] if self._noise_w is None else self._noise_w,
            )
        except (KeyError, ValueError) as e:
            raise EngineFailed(f"{model.name}.json is not a Piper voice's configuration: {e!r}") from e
        if int(config.get("num_speakers", 1)) != 1:
            raise EngineFailed(f"{model.name} has several speakers; only single-speaker voices are supported")
        parts = split(model)
        self._text, self._flow, self._decoder = map(self._session, (parts.text, parts.flow, parts.decoder))
        for _ in self.synthesize("Okay, one moment. I am warming up this voice."):
            pass

    def synthesize(
        self, text: str, *, voice: str = "", speed: float = 1.0, is_hurried: bool = False
    ) -> Iterator[Chunk]:
        """Speaks one clause; see `TtsEngine`. There is one voice, so `voice` is not looked at."""
        items = normalise(text)
        phones = self._phonemizer().phonemise(items)
        if not any(p.item >= 0 for p in phones):
            return
        prior, durations, owners = self._encode(phones, speed)
        spans = [(i.char_start, i.char_end) for i in items]
        words = word_timings(durations, owners, spans, HOP_SAMPLES)
        lead = words[0].start_samples // HOP_SAMPLES if words else 0
        yield from trimmed(self._windows(prior, lead, is_hurried), words, self.sample_rate, items[-1].pause)

    def encode(self, text: str) -> Samples:
        """Returns a clause's prior frames (1, channels, frames), drawn anew each time."""
        return self._encode(self._phonemizer().phonemise(normalise(text)), 1.0)[0]

    def whole(self, prior: Samples) -> Samples:
        """Returns the audio of a clause's frames in one piece: what `windows` must equal."""
        return self._decode(self._flow_over(prior))

    def windows(self, prior: Samples, *, is_hurried: bool = False) -> Iterator[Samples]:
        """Returns the same audio in pieces, each computed when it is asked for."""
        return (audio for audio, _ in self._windows(prior, 0, is_hurried))

    def _windows(self, prior: Samples, lead: int, is_hurried: bool) -> Iterator[tuple[Samples, bool]]:
        """Yields each piece and whether it is the last; `lead` is the frames before the first word."""
        frames = prior.shape[2]
        latents = np.zeros((1, prior.shape[1], 0), dtype=np.float32)
        first = lead + (HURRIED_FRAMES if is_hurried else FIRST_FRAMES)
        sizes = itertools.chain((first, *NEXT_FRAMES), itertools.repeat(WINDOW_FRAMES))
        start = 0
        while start < frames:
            end = start + (size := next(sizes))
            # No tiny window at the end, where its context would cost more than itself; but the first stays short.
            if frames - end < (CONTEXT_FRAMES if start == 0 else size // 2):
                end = frames
            context = HURRIED_CONTEXT_FRAMES if is_hurried and start == 0 else CONTEXT_FRAMES
            left, right = max(0, start - CONTEXT_FRAMES), min(frames, end + context)
            if latents.shape[2] < right:
                # Only what the early windows need, then more at a time, because its own context costs too.
                ahead = 0 if start == 0 else max(0, FLOW_FRAMES - size)
                more = self._latents(prior, latents.shape[2], min(frames, right + ahead))
                latents = np.concatenate([latents, more], axis=2)
            audio = self._decode(latents[:, :, left:right])
            yield audio[(start - left) * HOP_SAMPLES : (end - left) * HOP_SAMPLES], end == frames
            start = end

    def _latents(self, prior: Samples, start: int, end: int) -> Samples:
        """Runs the flow over these frames."""
        left, right = max(0, start - FLOW_CONTEXT_FRAMES), min(prior.shape[2], end + FLOW_CONTEXT_FRAMES)
        return self._flow_over(prior[:, :, left:right])[:, :, start - left : end - left]

    def _flow_over(self, prior: Samples) -> Samples:
        mask = np.ones((1, 1, prior.shape[2]), dtype=np.float32)
        latents: Samples = self._flow.run([LATENTS], {PRIOR: prior, MASK: mask})[0]
        return latents

    def _decode(self, latents: Samples) -> Samples:
        audio: Samples = self._decoder.run(None, {LATENTS: latents})[0].reshape(-1)
        return audio

    def _encode(self, phones: tuple[Phone, ...], speed: float) -> tuple[Samples, Samples, list[int]]:
        """Returns prior frames, frames of each phoneme id, and the spoken item each id belongs to (-1: none)."""
        ids, owners = [*self._ids[_BOS], *self._ids[_PAD]], [-1, -1]
        for phone in phones:
            for one in self._ids.get(phone.symbol, ()):
                # Every symbol is followed by a blank, which sounds as part of it.
                ids += [one, *self._ids[_PAD]]
                owners += [phone.item, phone.item]
        ids += self._ids[_EOS]
        owners.append(-1)
        noise, length, noise_w = self._scales
        prior, durations = self._text.run(
            [PRIOR, DURATIONS],
            {
                "input": np.array([ids], dtype=np.int64),
                "input_lengths": np.array([len(ids)], dtype=np.int64),
                "scales": np.array([noise, length / min(max(speed, 0.5), 2.0), noise_w], dtype=np.float32),
            },
        )
        return prior, durations.reshape(-1), owners

    def _phonemizer(self) -> Phonemizer:
        if not hasattr(self._local, "phonemizer"):
            self._local.phonemizer = Phonemizer()
        found: Phonemizer = self._local.phonemizer
        return found

    def _session(self, model: str | bytes) -> Any:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # A spinning thread takes the core from the LLM that runs beside it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as e:
            raise EngineFailed(f"ONNX Runtime refuses the voice: {e}") from e
