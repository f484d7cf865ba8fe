"""Calls that never were: a loudspeaker, a room, a caller and a line, drawn at random, many at a time.

Everything happens on one device in PyTorch; one seed makes one set. Levels are those of full scale 1.
"""

from dataclasses import dataclass

import numpy as np
import torch

from halfbeat.audio import RATE_HZ
from halfbeat.audio.linear import HOP
from train.echo.speech import Voices

FFT = torch.fft
#: Noise is not taken out as a whole: what stays hides the traces of what goes, and keeps faint voices.
NOISE_LEFT = 0.2


@dataclass(frozen=True)
class Scenes:
    """What was played, what was heard, and what should be left of it; [n, samples] each."""

    reference: torch.Tensor
    microphone: torch.Tensor
    target: torch.Tensor


class Simulator:
    """Draws scenes."""

    def __init__(self, voices: Voices, rooms: torch.Tensor, seconds: float, seed: int) -> None:
        """Takes room responses of energy 1, [rooms, taps], on the device that does the work."""
        self._voices, self._rooms = voices, rooms.float()
        self._n = int(seconds * RATE_HZ) // HOP * HOP
        self._rng = np.random.default_rng(seed)
        self._device = rooms.device
        self._torch = torch.Generator(device=rooms.device).manual_seed(seed)

    def draw(self, n: int) -> Scenes:
        """Returns n scenes."""
        rng = self._rng
        far_voice = rng.integers(0, len(self._voices.names), n)
        near_voice = rng.integers(0, len(self._voices.names), n)
        far = self._talk(n, far_voice, chance=0.9)
        near = self._talk(n, near_voice, chance=0.75)
        far = far * self._db(rng.uniform(-14, 4, n))
        reference = far
        narrow = rng.random(n) < 0.35
        sounding = self._loudspeaker(far)
        echo = self._in_rooms(sounding, far=True)
        echo = self._delayed(echo)
        near = self._in_rooms(near, far=False)
        near = near * self._db(rng.uniform(-16, 2, n))
        echo_db = np.where(rng.random(n) < 0.12, -90.0, rng.uniform(-14, 12, n))
        echo = echo * (_level(near, near_or=0.05) / (_level(echo, near_or=1.0))) * self._db(echo_db)
        noise = self._noise(n)
        noise = noise * _level(near, near_or=0.05) * self._db(-rng.uniform(3, 50, n))
        gain = self._db(rng.uniform(-14, 6, n))
        near, echo, noise = self._colour(torch.stack((near, echo, noise))) * gain
        wanted, microphone = self._line(near + NOISE_LEFT * noise, near + echo + noise, narrow)
        reference = torch.where(self._flag(narrow), _band(reference, 200, 3500), reference)
        return Scenes(reference, microphone, wanted)

    # --- who speaks when --------------------------------------------------------------------------------------------

    def _talk(self, n: int, voices: np.ndarray, chance: float) -> torch.Tensor:
        """Speech in turns: silence, some seconds of speech, silence."""
        speech = self._voices.draw(n, self._n, self._rng, voices)
        mask = np.zeros((n, self._n // HOP), np.float32)
        for row in mask:
            if self._rng.random() > chance:
                continue
            kind, at = self._rng.random(), 0
            if kind < 0.25:
                row[:] = 1
                continue
            at = int(self._rng.uniform(0, 150))
            while at < len(row):
                on = int(self._rng.uniform(30, 120) if kind < 0.5 else self._rng.uniform(80, 500))
                row[at : at + on] = 1
                at += on + int(self._rng.uniform(50, 300))
        gate = torch.as_tensor(mask, device=self._device).repeat_interleave(HOP, 1)
        gate = torch.nn.functional.avg_pool1d(gate[:, None], 2 * HOP + 1, 1, HOP)[:, 0]
        return speech * gate

    # --- the caller's end -------------------------------------------------------------------------------------------

    def _loudspeaker(self, far: torch.Tensor) -> torch.Tensor:
        """Small loudspeakers: no bass, and bent where they are loud."""
        n, rng = len(far), self._rng
        peak = far.abs().amax(-1, keepdim=True) + 1e-6
        x = far / peak
        kind = rng.random(n)
        limit = self._t(rng.uniform(0.3, 0.9, n))
        clipped = x.clamp(-limit, limit)
        soft = torch.tanh(x * self._t(rng.uniform(1, 4, n)))
        bent = 1.5 * x - 0.3 * x**2
        slope = torch.where(bent > 0, self._t(rng.uniform(1, 4, n)), self._t(rng.uniform(0.3, 1.5, n)))
        bent = 2 / (1 + torch.exp(-slope * bent)) - 1
        y = torch.where(self._flag(kind < 0.2), clipped, x)
        y = torch.where(self._flag((kind >= 0.2) & (kind < 0.4)), soft, y)
        y = torch.where(self._flag((kind >= 0.4) & (kind < 0.65)), bent, y)
        return self._colour(y[None])[0]

    def _in_rooms(self, x: torch.Tensor, *, far: bool) -> torch.Tensor:
        """Through a room; a third of the loudspeakers move, which changes their path."""
        n = len(x)
        one = _convolved(x, self._room(n, dry=0.1 if far else 0.4))
        if not far:
            return one
        other = _convolved(x, self._room(n, dry=0.1)) * self._db(self._rng.uniform(-6, 6, n))
        at = np.where(self._rng.random(n) < 0.3, self._rng.integers(self._n // 5, self._n, n), self._n)
        t = torch.arange(self._n, device=self._device)
        share = ((t - self._whole(at)) / (0.05 * RATE_HZ)).clamp(0, 1)
        return one * (1 - share) + other * share

    def _room(self, n: int, dry: float) -> torch.Tensor:
        which = self._rng.integers(0, len(self._rooms), n)
        rooms = self._rooms[torch.as_tensor(which, device=self._device)]
        t = torch.arange(rooms.shape[1], device=self._device)
        rooms = rooms * torch.exp(-t / self._t(10 ** self._rng.uniform(2.3, 4.0, n)))
        alone = torch.zeros_like(rooms)
        alone[:, 0] = 1
        return torch.where(self._flag(self._rng.random(n) < dry), alone, rooms)

    def _delayed(self, x: torch.Tensor) -> torch.Tensor:
        """The echo begins up to 500 ms late; 50 ppm of drift for some; a jump for a few."""
        n, rng = len(x), self._rng
        at = torch.arange(self._n, device=self._device, dtype=torch.float64)[None].repeat(n, 1)
        delay = rng.uniform(0, 0.5, n) * RATE_HZ
        jump = np.where(rng.random(n) < 0.06, rng.uniform(-0.08, 0.12, n) * RATE_HZ, 0.0)
        jump_at = rng.integers(self._n // 4, self._n, n)
        drift = np.where(rng.random(n) < 0.3, rng.uniform(-60e-6, 60e-6, n), 0.0)
        late = (
            torch.as_tensor(delay, device=self._device)[:, None]
            + (at >= self._whole(jump_at)) * (torch.as_tensor(jump, device=self._device)[:, None])
        )
        at = at * (1 + torch.as_tensor(drift, device=self._device)[:, None]) - late
        left = at.floor()
        share = (at - left).float()
        left = left.long()
        inside = (left >= 0) & (left < self._n - 1)
        left = left.clamp(0, self._n - 2)
        # Between samples only where the clocks drift: a straight line takes the treble away.
        share = torch.where(torch.as_tensor(drift != 0, device=self._device)[:, None], share, torch.zeros_like(share))
        return (x.gather(1, left) * (1 - share) + x.gather(1, left + 1) * share) * inside

    def _noise(self, n: int) -> torch.Tensor:
        """Steady noise of a random colour, slowly changing; now and then voices far away, or clicks."""
        rng = self._rng
        white = torch.randn((n, self._n), device=self._device, generator=self._torch)
        spectra = FFT.rfft(white)
        hz = torch.linspace(0, RATE_HZ / 2, spectra.shape[1], device=self._device)
        tilt = (hz / 500 + 0.1) ** -self._t(rng.uniform(0, 1.2, n))
        noise = self._colour(FFT.irfft(spectra * tilt, self._n)[None])[0]
        knots = torch.as_tensor(rng.uniform(-8, 4, (n, 1, 12)), device=self._device, dtype=torch.float32)
        swell = torch.nn.functional.interpolate(knots, self._n, mode="linear")[:, 0]
        noise = noise * torch.where(self._flag(rng.random(n) < 0.5), 10 ** (swell / 20), torch.ones_like(swell))
        noise = noise / (noise.square().mean(-1, keepdim=True).sqrt() + 1e-9)
        babble = sum(
            self._voices.draw(n, self._n, rng, np.full(n, -1)) * self._db(rng.uniform(-6, 6, n)) for _ in range(4)
        )
        babble = _convolved(babble, self._room(n, 0.0))
        babble = babble / (babble.square().mean(-1, keepdim=True).sqrt() + 1e-9)
        clicks = torch.zeros_like(noise)
        for row in np.flatnonzero(rng.random(n) < 0.15):
            for at in rng.integers(0, self._n - 800, rng.integers(1, 8)):
                burst = torch.randn(800, device=self._device, generator=self._torch)
                clicks[row, at : at + 800] += (
                    6 * burst * torch.exp(-torch.arange(800, device=self._device) / float(rng.uniform(20, 200)))
                )
        return torch.where(self._flag(rng.random(n) < 0.06), babble, noise) + clicks

    # --- the line ---------------------------------------------------------------------------------------------------

    def _line(self, near: torch.Tensor, microphone: torch.Tensor, narrow: np.ndarray) -> tuple[torch.Tensor, ...]:
        """What the microphone and the way to us do: limits, telephone bands, mu-law."""
        rng, n = self._rng, len(near)
        limit = self._t(np.where(rng.random(n) < 0.1, rng.uniform(0.15, 0.6, n), 0.99))
        microphone = microphone.clamp(-limit, limit)
        phone = self._flag(narrow)
        low, high = float(rng.uniform(80, 320)), float(rng.uniform(3300, 3900))
        heard = _band(microphone, low, high)
        microphone = torch.where(phone, _mu_law(heard), microphone)
        near = torch.where(phone, _band(near, low, high), near)
        return near, microphone

    def _colour(self, x: torch.Tensor) -> torch.Tensor:
        """A random, smooth frequency response for each row of [signals, n, samples], the same for all signals."""
        n = x.shape[1]
        knots = self._rng.uniform(-7, 7, (n, 1, 8))
        knots[self._rng.random(n) < 0.3] = 0
        knots[:, :, 0] -= np.where(self._rng.random((n, 1)) < 0.4, 18, 0)
        curve = torch.nn.functional.interpolate(
            torch.as_tensor(knots, device=self._device, dtype=torch.float32), 257, mode="linear", align_corners=True
        )
        magnitude = 10 ** (curve[:, 0] / 20)
        # Of least phase, by the cepstrum, as loudspeakers and rooms nearly are.
        whole = torch.cat((magnitude, magnitude[:, 1:-1].flip(-1)), -1)
        cepstrum = FFT.ifft(torch.log(whole)).real
        fold = torch.zeros(512, device=self._device)
        fold[0] = fold[256] = 1
        fold[1:256] = 2
        taps = FFT.ifft(torch.exp(FFT.fft(cepstrum * fold))).real
        return torch.stack([_convolved(one, taps) for one in x])

    # --- small things -----------------------------------------------------------------------------------------------

    def _t(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, device=self._device, dtype=torch.float32)[:, None]

    def _whole(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, device=self._device)[:, None]

    def _flag(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, device=self._device)[:, None]

    def _db(self, values: np.ndarray) -> torch.Tensor:
        return self._t(10 ** (np.asarray(values) / 20))


def _convolved(x: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
    size = x.shape[-1] + taps.shape[-1]
    size += -size % 256
    return FFT.irfft(FFT.rfft(x, size) * FFT.rfft(taps, size), size)[..., : x.shape[-1]]


def _level(x: torch.Tensor, near_or: float) -> torch.Tensor:
    """Root mean square where there is sound, [n, 1]; `near_or` for rows without any."""
    frames = x.reshape(len(x), -1, HOP).square().mean(-1)
    loud = frames > 1e-3 * frames.amax(-1, keepdim=True)
    level = ((frames * loud).sum(-1) / loud.sum(-1).clamp(min=1)).sqrt()
    return torch.where(frames.amax(-1) > 1e-9, level, torch.full_like(level, near_or))[:, None].clamp(min=1e-5)


def _band(x: torch.Tensor, low_hz: float, high_hz: float) -> torch.Tensor:
    spectra = FFT.rfft(x)
    hz = torch.linspace(0, RATE_HZ / 2, spectra.shape[1], device=x.device)
    shape = torch.sigmoid((hz - low_hz) / 25) * torch.sigmoid((high_hz - hz) / 40)
    return FFT.irfft(spectra * shape, x.shape[-1])


def _mu_law(x: torch.Tensor) -> torch.Tensor:
    code = torch.sign(x) * torch.log1p(255 * x.abs().clamp(max=1)) / np.log(256)
    code = torch.round(code * 128) / 128
    return torch.sign(code) * (torch.exp(code.abs() * np.log(256)) - 1) / 255
