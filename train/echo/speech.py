"""Speech to train with: one file per voice, held in memory on the training device."""

from pathlib import Path

import numpy as np
import soundfile
import torch

from halfbeat.audio import RATE_HZ

SUFFIXES = (".wav", ".flac", ".ogg", ".opus")
_LEAST_DBFS = -45.0


class Voices:
    """Takes random stretches of speech from a folder of recordings, one voice in each file, 16 kHz."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Reads everything.

        Raises:
            FileNotFoundError: the folder holds no audio.
        """
        self._device = device
        self.names: list[str] = []
        voices = []
        for file in sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES):
            samples, rate = soundfile.read(file, dtype="float32")
            if rate != RATE_HZ or samples.ndim != 1:
                raise ValueError(f"{file}: mono audio of {RATE_HZ} Hz is wanted")
            voices.append(torch.from_numpy(samples))
            self.names.append(file.stem)
        if not voices:
            raise FileNotFoundError(f"no audio in {folder}; see train/echo/README.md for where to get some")
        lengths = np.array([v.numel() for v in voices])
        self._begins = np.concatenate(([0], np.cumsum(lengths)[:-1]))
        self._lengths = lengths
        self._all = torch.cat(voices).to(device)

    def draw(self, n: int, samples: int, rng: np.random.Generator, voices: np.ndarray) -> torch.Tensor:
        """Returns n stretches of n voices (numbers of them, drawn anew where -1), each at a pace of its own.

        A voice that is played faster is also higher, and its mouth smaller: another speaker.
        """
        each = np.where(voices < 0, rng.integers(0, len(self._lengths), n), voices)
        pace = rng.uniform(0.82, 1.22, n)
        reach = np.ceil(samples * pace).astype(int) + 2
        starts = self._begins[each] + (rng.random(n) * (self._lengths[each] - reach)).astype(int)
        at = torch.as_tensor(starts, device=self._device)[:, None] + (
            torch.arange(samples, device=self._device) * torch.as_tensor(pace, device=self._device)[:, None]
        )
        left = at.long()
        share = (at - left).float()
        return self._all[left] * (1 - share) + self._all[left + 1] * share
