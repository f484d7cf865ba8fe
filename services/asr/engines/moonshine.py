"""Moonshine (Useful Sensors, MIT) on ONNX Runtime: the encoder's cost grows with the audio, the decoder is small.

The model takes raw samples, so there is no 30 s window to fill: three seconds of speech cost a tenth of what they cost
Whisper. The decoder is a merged graph: without its cache branch it reads any number of tokens at once, with it it goes
on from the keys and values of earlier tokens.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from halfbeat.errors import EngineFailed
from services.asr.engine import NO_HINT, NOTHING, SAMPLE_RATE, Hint, Recognition, Samples

_BOS = 1
_EOS = 2
# Tokens 3..258 of the vocabulary are single bytes; the vocabulary ends with timing marks that are never spoken.
_FIRST_MARK = b"<<ST_"
_WORD_START = "▁"
# The model has read old books.
_OLD_SPELLING = re.compile(r"\b(?:(to)[ -](day|morrow|night)|(good)[ -](bye))\b", re.IGNORECASE)
# Moonshine's authors bound the output to 6.5 tokens a second against endless repetition (model card of
# UsefulSensors/moonshine-tiny); a short command may need a few more.
_TOKENS_PER_S = 6.5
_SPARE_TOKENS = 6
# Audio shorter than this is not worth the encoder's first convolution (127 samples, then strides of 64, 3 and 2).
_MIN_SAMPLES = 1_600
# Zeros around the speech, and one level for all: measured (README.md), words at the edges come back.
_PAD_SAMPLES = (1_600, 4_800)
_LEVEL_RMS = 0.05


class MoonshineEngine:
    """Moonshine tiny, English.

    Args:
        model_dir: folder with `encoder_model.ort`, `decoder_model_merged.ort`, `tokenizer.bin`.
        threads: threads of ONNX Runtime; they do not spin, so that one idle call costs nothing.
    """

    name = "moonshine"

    def __init__(self, model_dir: Path, *, threads: int = 1) -> None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self._model_dir = model_dir
        self._threads = threads
        self._encoder: Any = None
        self._decoder: Any = None
        self._vocabulary: list[bytes] = []
        self._past_names: list[str] = []

    def load(self) -> None:
        """See `AsrEngine.load`."""
        self._vocabulary = read_vocabulary((self._model_dir / "tokenizer.bin").read_bytes())
        self._encoder = self._open("encoder_model.ort")
        self._decoder = self._open("decoder_model_merged.ort")
        names = [i.name for i in self._decoder.get_inputs() if i.name.startswith("past_key_values.")]
        outputs = [o.name.replace("present", "past_key_values") for o in self._decoder.get_outputs()][1:]
        if names != outputs:
            raise EngineFailed("the decoder's cache inputs and outputs do not match")
        self._past_names = names
        self.transcribe(np.zeros(SAMPLE_RATE, np.float32))

    def transcribe(self, pcm: Samples, hint: Hint = NO_HINT) -> Recognition:
        """See `AsrEngine.transcribe`."""
        if len(pcm) < _MIN_SAMPLES:
            return NOTHING
        draft = hint.draft.tokens if hint.draft else ()
        limit = math.ceil(len(pcm) / SAMPLE_RATE * _TOKENS_PER_S) + _SPARE_TOKENS
        try:
            tokens, log_probability = self._decode(_prepared(pcm), draft, limit)
        except Exception as e:
            raise EngineFailed(f"moonshine failed on {len(pcm)} samples: {type(e).__name__}: {e}") from e
        is_truncated = tokens[-1] != _EOS
        words = tokens if is_truncated else tokens[:-1]
        return Recognition(
            text=self._text(words),
            confidence=math.exp(log_probability / len(tokens)),
            is_truncated=is_truncated,
            tokens=tuple(words),
        )

    def _open(self, name: str) -> Any:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # Threads that spin between calls would take the core from the language model.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = self._model_dir / name
        try:
            return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as e:
            raise EngineFailed(f"cannot open {path}: {e}") from e

    def _decode(self, pcm: Samples, draft: tuple[int, ...], limit: int) -> tuple[list[int], float]:
        """Greedy decoding; returns the tokens, end mark included if reached, and the sum of their log probabilities.

        The draft is read in one pass and kept as far as the model would have said the same, so a decode that only adds
        the last words costs only those.
        """
        mask = np.ones((1, len(pcm)), np.int64)
        (states,) = self._encoder.run(None, {"input_values": pcm[None], "attention_mask": mask})
        fixed = {"encoder_attention_mask": mask, "encoder_hidden_states": states}
        past = dict.fromkeys(self._past_names, np.zeros((1, 8, 0, 36), np.float32))
        pending = [_BOS, *draft[:limit]]
        tokens: list[int] = []
        total = 0.0
        is_first = True
        while True:
            logits, *cache = self._decoder.run(
                None,
                {
                    **fixed,
                    **past,
                    "input_ids": np.array([pending], np.int64),
                    "use_cache_branch": np.array([not is_first]),
                },
            )
            best = logits[0].argmax(axis=-1)
            agreed = _agreed(pending[1:], best)
            for i in range(agreed + 1):
                total += _log_probability(logits[0, i], best[i])
            tokens += [int(t) for t in best[: agreed + 1]]
            if tokens[-1] == _EOS or len(tokens) >= limit:
                return tokens[:limit], total
            # Keys and values of the encoder's states are made in the first pass only; later ones return them empty.
            for name, value in zip(self._past_names, cache, strict=True):
                if ".decoder." in name:
                    # The cache keeps what was agreed: this pass's first token and the part of the draft that held.
                    past[name] = value[:, :, : len(tokens)]
                elif is_first:
                    past[name] = value
            is_first = False
            pending = [tokens[-1]]

    def _text(self, tokens: list[int]) -> str:
        pieces = (self._vocabulary[t] for t in tokens)
        spoken = b"".join(p for p in pieces if not p.startswith(_FIRST_MARK))
        text = " ".join(spoken.decode("utf-8", errors="ignore").replace(_WORD_START, " ").split())
        return in_one_word(text)


def in_one_word(text: str) -> str:
    """Writes "to-morrow", "to day" and "good-bye" as people do now."""
    return _OLD_SPELLING.sub(r"\1\2\3\4", text)


def read_vocabulary(data: bytes) -> list[bytes]:
    """Reads `tokenizer.bin`: each token's length (7 bits a byte, low first; high bit: one more byte) and its bytes.

    Raises:
        EngineFailed: the file ends in the middle of a token.
    """
    vocabulary: list[bytes] = []
    at = 0
    try:
        while at < len(data):
            length = data[at]
            at += 1
            if length >= 128:
                length += data[at] * 128 - 128
                at += 1
            if at + length > len(data):
                raise IndexError
            vocabulary.append(data[at : at + length])
            at += length
    except IndexError:
        raise EngineFailed(f"tokenizer.bin is cut off in token {len(vocabulary)}") from None
    return vocabulary


def _prepared(pcm: Samples) -> Samples:
    rms = math.sqrt(float(np.mean(np.square(pcm))))
    gain = _LEVEL_RMS / max(rms, 1e-4)
    return np.pad(np.clip(pcm * np.float32(gain), -1.0, 1.0), _PAD_SAMPLES)


def _agreed(draft: list[int], best: npt.NDArray[np.int64]) -> int:
    """How many tokens of the draft the model would have chosen itself."""
    for i, token in enumerate(draft):
        if token != best[i]:
            return i
    return len(draft)


def _log_probability(logits: npt.NDArray[np.float32], token: int) -> float:
    top = float(logits.max())
    return float(logits[token]) - top - math.log(float(np.exp(logits - top).sum()))
