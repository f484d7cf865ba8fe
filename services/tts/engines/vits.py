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
FIRST_FRAMES = 24  # 279 ms at 22.05 kHz: soon enough to start, long enough to cover the next window's work
SECOND_FRAMES = 40  # made while the first sounds, also on a busy machine
WINDOW_FRAMES = 64
CONTEXT_FRAMES = 12  # the decoder's receptive field on one side
FLOW_FRAMES = 64
FLOW_CONTEXT_FRAMES = 32  # the flow's: four couplings of four convolutions, two frames on each side of each

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
        yield from trimmed(self._windows(prior), words, self.sample_rate, items[-1].pause)

    def encode(self, text: str) -> Samples:
        """Returns a clause's prior frames (1, channels, frames), drawn anew each time."""
        return self._encode(self._phonemizer().phonemise(normalise(text)), 1.0)[0]

    def whole(self, prior: Samples) -> Samples:
        """Returns the audio of a clause's frames in one piece: what `windows` must equal."""
        return self._decode(self._flow_over(prior))

    def windows(self, prior: Samples) -> Iterator[Samples]:
        """Returns the same audio in pieces, each computed when it is asked for."""
        return (audio for audio, _ in self._windows(prior))

    def _windows(self, prior: Samples) -> Iterator[tuple[Samples, bool]]:
        """Yields each piece and whether it is the last."""
        frames = prior.shape[2]
        latents = np.zeros((1, prior.shape[1], 0), dtype=np.float32)
        sizes = itertools.chain((FIRST_FRAMES, SECOND_FRAMES), itertools.repeat(WINDOW_FRAMES))
        start = 0
        while start < frames:
            end = start + next(sizes)
            rest = frames - end
            # No tiny window at the end, where its context would cost more than itself; but the first stays short.
            if rest < (CONTEXT_FRAMES if start == 0 else WINDOW_FRAMES // 2):
                end = frames
            left, right = max(0, start - CONTEXT_FRAMES), min(frames, end + CONTEXT_FRAMES)
            while latents.shape[2] < right:
                done = latents.shape[2]
                latents = np.concatenate([latents, self._next_latents(prior, done, right)], axis=2)
            audio = self._decode(latents[:, :, left:right])
            yield audio[(start - left) * HOP_SAMPLES : (end - left) * HOP_SAMPLES], end == frames
            start = end

    def _next_latents(self, prior: Samples, done: int, wanted: int) -> Samples:
        """Runs the flow over the frames from `done` on: as few as `wanted` at first, then larger windows."""
        frames = prior.shape[2]
        end = min(frames, wanted if done == 0 else max(wanted, done + FLOW_FRAMES))
        left, right = max(0, done - FLOW_CONTEXT_FRAMES), min(frames, end + FLOW_CONTEXT_FRAMES)
        return self._flow_over(prior[:, :, left:right])[:, :, done - left : end - left]

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
