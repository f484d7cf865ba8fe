"""coqui-tts (MPL-2.0): its VITS voices decoded in windows, and XTTS, which streams by itself. Needs the extra `coqui`.

Weights are the user's own: XTTS v2's licence (CPML) forbids commercial use. Written against coqui-tts 0.28.
"""

import itertools
import threading
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soxr

from halfbeat.errors import EngineFailed, InvalidRequest
from services.tts.engine import Chunk, Samples
from services.tts.engines.phonemes import Phonemizer
from services.tts.engines.trim import trimmed, without_lead, word_timings
from services.tts.normalise import normalise, spoken_text

FIRST_FRAMES = 24
WINDOW_FRAMES = 64
CONTEXT_FRAMES = 16  # HiFi-GAN v1, the largest decoder coqui's VITS uses, sees 14 frames on each side

_REFERENCE_RATE_HZ = 22_050  # of the sample that XTTS imitates


class CoquiEngine:
    """A folder with `config.json` and weights, as coqui-tts writes and downloads them."""

    name = "coqui"

    def __init__(self, model_dir: Path, *, device: str = "cpu", threads: int = 1) -> None:
        """Takes the folder.

        Args:
            model_dir: VITS: `config.json` and `model.pth` (or another single `.pth`). XTTS: its own files; a `.wav`
                beside them is the voice to imitate where there is no `speakers_xtts.pth`.
            device: "cpu" or "cuda".
            threads: of torch, for the whole process; 1 on a small machine.
        """
        self._model_dir, self._device, self._threads = model_dir, device, threads
        self._model: _Model | None = None

    @property
    def sample_rate(self) -> int:
        """Rate of the loaded model, in Hz; 0 before."""
        return self._model.sample_rate if self._model is not None else 0

    def load(self) -> None:
        """Loads the model and speaks once."""
        try:
            import torch
            from TTS.config import load_config
        except ImportError as e:
            raise EngineFailed(f"coqui-tts is not installed: pip install 'halfbeat[coqui]' ({e})") from e
        torch.set_num_threads(self._threads)
        file = self._model_dir / "config.json"
        if not file.is_file():
            raise EngineFailed(f"no config.json in {self._model_dir}: not a coqui-tts model")
        try:
            config = load_config(str(file))
            match config.model:
                case "vits":
                    self._model = _Vits(config, self._model_dir, self._device)
                case "xtts":
                    self._model = _Xtts(config, self._model_dir, self._device)
                case other:
                    raise EngineFailed(f"{file} is a {other} model; only vits and xtts are supported")
        except (OSError, KeyError, RuntimeError, ValueError, wave.Error) as e:
            raise EngineFailed(f"coqui-tts cannot load {self._model_dir}: {e}") from e
        for _ in self.synthesize("Okay, one moment."):
            pass

    def synthesize(
        self, text: str, *, voice: str = "", speed: float = 1.0, is_hurried: bool = False
    ) -> Iterator[Chunk]:
        """See `TtsEngine`; `voice` names a speaker of a model that has several."""
        if self._model is None:
            raise EngineFailed("the voice is not loaded")
        if not normalise(text):
            return iter(())
        return self._model.speak(text, voice, speed)


class _Model(Protocol):
    sample_rate: int

    def speak(self, text: str, voice: str, speed: float) -> Iterator[Chunk]: ...


class _Vits:
    """Text encoder and flow at once, the decoder in windows."""

    def __init__(self, config: Any, folder: Path, device: str) -> None:
        import torch
        from torch.nn.utils import parametrize
        from TTS.tts.models.vits import Vits

        self._torch = torch
        self._language = config.phoneme_language
        # A voice that expects espeak's phonemes gets them from our own phonemizer: espeak is GPL and may not be here.
        self._phonemizer: Phonemizer | None = None
        if config.use_phonemes and config.phonemizer in (None, "espeak") and self._language in ("en-us", "en"):
            config.use_phonemes = False
            self._phonemizer = Phonemizer()
        self._model = Vits(config)
        weights = [p for p in sorted(folder.glob("*.pth")) if "speaker" not in p.name and "language" not in p.name]
        if not weights:
            raise EngineFailed(f"no weights (*.pth) in {folder}")
        self._model.load_checkpoint(config, str(weights[0]), eval=True)
        for module in self._model.modules():  # folded once, or every call would multiply weight norms anew
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        self._model.to(device)
        self._device = device
        self._length_scale = float(self._model.length_scale)
        self._hop_samples = int(np.prod(self._model.args.upsample_rates_decoder))
        self.sample_rate = int(config.audio.sample_rate)
        # The model keeps pace and hooks as state, so its first half serves one clause at a time.
        self._front_lock = threading.Lock()

    def speak(self, text: str, voice: str, speed: float) -> Iterator[Chunk]:
        items = normalise(text)
        ids, owners = self._ids(text)
        with self._front_lock:
            latents, durations, speaker = self._front(ids, voice, speed)
        words = word_timings(durations, owners, [(i.char_start, i.char_end) for i in items], self._hop_samples)
        yield from trimmed(self.windows(latents, speaker), words, self.sample_rate, items[-1].pause)

    def _ids(self, text: str) -> tuple[list[int], list[int]]:
        """Returns symbol ids and the spoken item each belongs to (-1, or all of them, where that is not known)."""
        tokenizer = self._model.tokenizer
        if self._phonemizer is None:
            ids = tokenizer.text_to_ids(spoken_text(text), language=self._language)
            return ids, [-1] * len(ids)
        ids, owners = [], []
        with self._front_lock:
            phones = self._phonemizer.phonemise(normalise(text))
        for phone in phones:
            known = tokenizer.encode(phone.symbol)
            ids += known
            owners += [phone.item] * len(known)
        if tokenizer.add_blank:
            ids = tokenizer.intersperse_blank_char(ids)
            owners = [-1, *itertools.chain.from_iterable((o, o) for o in owners)]
        if tokenizer.use_eos_bos:
            ids, owners = tokenizer.pad_with_bos_eos(ids), [-1, *owners, -1]
        return ids, owners

    def _front(self, ids: list[int], voice: str, speed: float) -> tuple[Any, Samples, Any]:
        """Runs the model up to the decoder's input; returns latent frames, frames of each id, and the speaker."""
        torch, model = self._torch, self._model
        seen: dict[str, Any] = {}

        def on_durations(_module: Any, _inputs: Any, log_frames: Any) -> None:
            seen["log_frames"] = log_frames

        def on_decoder(_module: Any, inputs: Any, named: dict[str, Any]) -> None:
            seen["latents"], seen["speaker"] = inputs[0], named.get("g")
            raise _FrontDone

        hooks = [
            model.duration_predictor.register_forward_hook(on_durations),
            model.waveform_decoder.register_forward_pre_hook(on_decoder, with_kwargs=True),
        ]
        model.length_scale = self._length_scale / min(max(speed, 0.5), 2.0)
        try:
            with torch.inference_mode():
                model.inference(torch.LongTensor([ids]).to(self._device), self._condition(voice))
        except _FrontDone:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        frames = torch.ceil(torch.exp(seen["log_frames"]) * model.length_scale).reshape(-1)
        return seen["latents"], frames.float().cpu().numpy(), seen["speaker"]

    def _condition(self, voice: str) -> dict[str, Any] | None:
        names = getattr(self._model.speaker_manager, "name_to_id", None) if self._model.num_speakers > 1 else None
        if not names:
            return None
        if voice and voice not in names:
            raise InvalidRequest(f"no speaker is named {voice!r}; there are {', '.join(sorted(names)[:10])}")
        number = names[voice] if voice else min(names.values())
        return {"speaker_ids": self._torch.LongTensor([number]).to(self._device)}

    def windows(self, latents: Any, speaker: Any) -> Iterator[tuple[Samples, bool]]:
        """Yields the decoder's audio in pieces, each computed when asked for, and whether it is the last."""
        frames, start, size, hop = latents.shape[-1], 0, FIRST_FRAMES, self._hop_samples
        while start < frames:
            end = start + size if frames - start - size >= CONTEXT_FRAMES else frames
            left, right = max(0, start - CONTEXT_FRAMES), min(frames, end + CONTEXT_FRAMES)
            with self._torch.inference_mode():
                audio = self._model.waveform_decoder(latents[:, :, left:right], g=speaker)[0, 0]
            yield audio[(start - left) * hop : (end - left) * hop].float().cpu().numpy(), end == frames
            start, size = end, WINDOW_FRAMES


class _FrontDone(Exception):
    """The decoder's input is known; the model's own decoding is not wanted."""


class _Xtts:
    """Streams codes of a language model through a vocoder. No word times: the model does not know them."""

    _CHUNK_TOKENS = 20  # 0.9 s of audio; fewer starts sooner and costs more

    def __init__(self, config: Any, folder: Path, device: str) -> None:
        import torch
        from TTS.tts.models.xtts import Xtts

        self._torch = torch
        self._model = Xtts.init_from_config(config)
        self._model.load_checkpoint(config, checkpoint_dir=str(folder), eval=True)
        self._model.to(device)
        self._device = device
        self.sample_rate = int(config.audio.output_sample_rate)
        self._voices: dict[str, tuple[Any, Any]] = {}
        if self._model.speaker_manager is not None:
            for name, speaker in self._model.speaker_manager.speakers.items():
                self._voices[name] = (speaker["gpt_cond_latent"], speaker["speaker_embedding"])
        for sample in sorted(folder.glob("*.wav")):
            self._voices[sample.stem] = self._imitate(sample)
        if not self._voices:
            raise EngineFailed(f"no voice in {folder}: put a clean WAV of 6 s or more there, or speakers_xtts.pth")

    def _imitate(self, sample: Path) -> tuple[Any, Any]:
        """Takes a voice from a 16 bit WAV. Read here: coqui's own reader wants ffmpeg's libraries."""
        with wave.open(str(sample), "rb") as file:
            if file.getsampwidth() != 2:
                raise EngineFailed(f"{sample} is not a 16 bit WAV file")
            pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
            rate = file.getframerate()
        mono = soxr.resample(pcm.astype(np.float32).mean(axis=1) / 32768, rate, _REFERENCE_RATE_HZ)
        audio = self._torch.from_numpy(mono)[None].to(self._device)
        latent = self._model.get_gpt_cond_latents(audio, _REFERENCE_RATE_HZ, length=6, chunk_length=6)
        return latent, self._model.get_speaker_embedding(audio, _REFERENCE_RATE_HZ)

    def speak(self, text: str, voice: str, speed: float) -> Iterator[Chunk]:
        if voice and voice not in self._voices:
            raise InvalidRequest(f"no speaker is named {voice!r}; there are {', '.join(sorted(self._voices)[:10])}")
        latent, embedding = self._voices[voice or next(iter(self._voices))]
        pieces = self._model.inference_stream(
            spoken_text(text), "en", latent, embedding, stream_chunk_size=self._CHUNK_TOKENS, speed=speed
        )
        try:
            yield from map(Chunk, without_lead(self._samples(pieces), self.sample_rate))
        finally:
            pieces.close()

    def _samples(self, pieces: Iterator[Any]) -> Iterator[Samples]:
        while True:
            # Not around the yield: inference mode belongs to the thread, and the next piece may come from another.
            with self._torch.inference_mode():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece.reshape(-1).float().cpu().numpy()
