"""Whisper on CTranslate2, in two ways.

On a GPU (`device="cuda"`), or with `window="full"`, faster-whisper's own loop over the 30 s window. On a CPU that
window costs ten times more than a short utterance is worth, so `window="trimmed"` hands the encoder fewer frames.
Whisper then tends to go on after the end of the speech; what keeps it in order is zeros *before* the features are made
(so that the model hears silence, not an edge), timestamps, dropping everything from the first timestamp near the end of
the audio, and a limit on the number of tokens.
"""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np

from halfbeat.errors import EngineFailed
from services.asr.engine import NO_HINT, NOTHING, SAMPLE_RATE, Hint, Recognition, Samples, Word

Window = Literal["auto", "trimmed", "full"]

_FRAMES_PER_S = 100
_WHOLE_WINDOW_FRAMES = 3_000
# At least this much is encoded, and this much more than the speech; less and the decoder loops.
_MIN_FRAMES = 800
_SPARE_FRAMES = 100
_TIMESTAMP_STEP_S = 0.02
# Marks are often whole seconds.
_END_TOLERANCE_S = 0.5
_TOKENS_PER_S = 8
_SPARE_TOKENS = 14


class FasterWhisperEngine:
    """Whisper of any size in CTranslate2's format.

    Args:
        model_dir: folder with `model.bin`, `config.json`, `tokenizer.json`, `vocabulary.*`.
        language: two-letter code; Whisper is not asked to guess it.
        device: "cpu" or "cuda".
        compute_type: CTranslate2's, for example "int8" on a CPU, "float16" on a GPU; "default" picks by device.
        window: "trimmed" or "full", see above; "auto" is trimmed on a CPU.
        threads: threads on a CPU.
    """

    name = "faster-whisper"

    def __init__(
        self,
        model_dir: Path,
        *,
        language: str = "en",
        device: str = "cpu",
        compute_type: str = "default",
        window: Window = "auto",
        threads: int = 1,
    ) -> None:
        self._model_dir = model_dir
        self._language = language
        self._device = device
        self._compute_type = _COMPUTE_TYPES.get(device, "default") if compute_type == "default" else compute_type
        self._is_trimmed = window == "trimmed" or (window == "auto" and device == "cpu")
        self._threads = threads
        self._whisper: Any = None
        self._tokenizer: Any = None

    def load(self) -> None:
        """See `AsrEngine.load`."""
        from faster_whisper import WhisperModel
        from faster_whisper.tokenizer import Tokenizer

        try:
            self._whisper = WhisperModel(
                str(self._model_dir),
                device=self._device,
                compute_type=self._compute_type,
                cpu_threads=self._threads,
                local_files_only=True,
            )
        except (RuntimeError, ValueError) as e:
            raise EngineFailed(f"cannot open Whisper in {self._model_dir} on {self._device}: {e}") from e
        self._tokenizer = Tokenizer(
            self._whisper.hf_tokenizer, self._whisper.model.is_multilingual, "transcribe", self._language
        )
        self.transcribe(np.zeros(SAMPLE_RATE, np.float32))

    def transcribe(self, pcm: Samples, hint: Hint = NO_HINT) -> Recognition:
        """See `AsrEngine.transcribe`; the hint is not used."""
        if len(pcm) == 0:
            return NOTHING
        try:
            return self._trimmed(pcm) if self._is_trimmed else self._full(pcm)
        except Exception as e:
            raise EngineFailed(f"whisper failed on {len(pcm)} samples: {type(e).__name__}: {e}") from e

    def _full(self, pcm: Samples) -> Recognition:
        segments, _ = self._whisper.transcribe(
            pcm,
            language=self._language,
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
        )
        found = list(segments)
        if not found:
            return NOTHING
        spoken = [w for s in found for w in s.words or ()]
        return Recognition(
            text=" ".join("".join(s.text for s in found).split()),
            words=tuple(Word(w.word.strip(), w.start, w.end) for w in spoken),
            confidence=math.exp(sum(s.avg_logprob for s in found) / len(found)),
            no_speech=min(s.no_speech_prob for s in found),
        )

    def _trimmed(self, pcm: Samples) -> Recognition:
        from faster_whisper.transcribe import get_ctranslate2_storage

        duration_s = len(pcm) / SAMPLE_RATE
        spoken_frames = math.ceil(duration_s * _FRAMES_PER_S)
        frames = min(_WHOLE_WINDOW_FRAMES, max(_MIN_FRAMES, spoken_frames + _SPARE_FRAMES))
        frames += frames % 2  # the encoder halves them
        padded = np.zeros(frames * SAMPLE_RATE // _FRAMES_PER_S, np.float32)
        padded[: len(pcm)] = pcm[: len(padded)]
        features = self._whisper.feature_extractor(padded)[..., :frames]
        encoded = self._whisper.model.encode(get_ctranslate2_storage(features[None]))
        prompt = list(self._tokenizer.sot_sequence)
        limit = int(duration_s * _TOKENS_PER_S) + _SPARE_TOKENS
        (result,) = self._whisper.model.generate(
            encoded,
            [prompt],
            beam_size=1,
            max_length=len(prompt) + limit,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            max_initial_timestamp_index=50,
        )
        tokens = result.sequences_ids[0]
        spoken = self._spoken(tokens, duration_s)
        return Recognition(
            text=" ".join(self._tokenizer.decode(spoken).split()),
            confidence=math.exp(result.scores[0]),
            no_speech=result.no_speech_prob,
            is_truncated=len(tokens) >= limit,
        )

    def _spoken(self, tokens: list[int], duration_s: float) -> list[int]:
        """The text tokens up to where the model goes on after the end of the audio.

        A segment is [begin mark, text, end mark]; one that begins near the end of the audio, or says again how the
        last one ended, was not said.
        """
        first_mark = self._tokenizer.timestamp_begin
        kept: list[int] = []
        segment: list[int] = []
        begin_s = 0.0
        for token in [*tokens, first_mark]:
            if token < first_mark:
                if token < self._tokenizer.eot:
                    segment.append(token)
                continue
            if segment:
                if kept and (begin_s >= duration_s - _END_TOLERANCE_S or kept[-len(segment) :] == segment):
                    break
                kept += segment
                segment = []
            begin_s = (token - first_mark) * _TIMESTAMP_STEP_S
            if kept and begin_s >= duration_s - _END_TOLERANCE_S:
                break
        return kept


_COMPUTE_TYPES = {"cpu": "int8", "cuda": "float16"}
