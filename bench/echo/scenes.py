"""Calls over a loudspeaker with known truth: the project's own voices in simulated rooms, or recordings of a folder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from bench.turns.recordings import read_wav
from bench.turns.speech import Clip, Line, make_speech
from halfbeat.audio import MU_LAW, RATE_HZ, Floats, Resampler
from halfbeat.errors import Unavailable

FAR_ALONE, NEAR_ALONE, DOUBLE = "far_end", "near_end", "double_talk"
_SECONDS = 12
#: The agent speaks at this level, the echo is this far below it at the microphone, the caller that far from the echo.
_AGENT_DBFS = -20.0
_AGENT = (
    "Hi, I see you're calling from Oak Street. Are you reporting today's missed trash pickup?",
    "I'm sorry, a truck broke down, so Oak Street was missed. I can send a truck tomorrow between 8 AM and noon.",
    "Okay, a truck comes to Oak Street tomorrow, Monday, between 8 AM and noon. Is there anything else?",
    "The library on Main Street opens at nine on Saturday and closes at five in the afternoon.",
    "You can drop off old batteries at any fire station, or at the recycling yard on River Road.",
)
_CALLER = (
    "Yes, that's right, nobody came by this morning.",
    "No wait, my address is 12 Elm Street, not Oak Street.",
    "Could you tell me when the library opens on Saturday?",
    "There's a street light out in front of my house.",
    "Somebody dumped a mattress in the alley behind my building.",
    "I want to schedule a bulk pickup for an old couch.",
)


Signal = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scene:
    """A recording; signals at 16 kHz, full scale 1, of one length.

    Attributes:
        kind: who speaks.
        case: what is special.
        near: the caller's part of `heard`, where it is known.
        text: what the caller says, where it is known.
    """

    kind: str
    case: str
    heard: Floats
    played: Floats
    near: Floats | None = None
    text: str = ""


def simulated(seed: int, of_each: int) -> list[Scene]:
    """Returns scenes of every case. The first use makes the speech and keeps it in the cache."""
    rng = np.random.default_rng(seed)
    agent = make_speech([Line(text, pitch=1.0, speed=1.0, level_dbfs=_AGENT_DBFS) for text in _AGENT])
    lines = [
        Line(text, pitch=pitch, speed=speed, level_dbfs=-24)
        for text in _CALLER
        for pitch, speed in ((0.85, 0.95), (1.2, 1.05))
    ]
    caller = make_speech(lines)
    cases: dict[str, Callable[[_Studio], Scene]] = {
        "far end": lambda s: s.scene(FAR_ALONE),
        "near end": lambda s: s.scene(NEAR_ALONE),
        "double talk": lambda s: s.scene(DOUBLE),
        "path change": lambda s: s.scene(DOUBLE, changes=True),
        "delay jump": lambda s: s.scene(DOUBLE, jump_ms=float(rng.choice([-80, 120]))),
        "clock drift 50 ppm": lambda s: s.scene(DOUBLE, drift=50e-6),
        "non-linear loudspeaker": lambda s: s.scene(DOUBLE, bends=True),
        "noise": lambda s: s.scene(DOUBLE, snr_db=15),
        "telephone": lambda s: s.scene(DOUBLE, is_phone=True),
    }
    scenes = []
    for case, make in cases.items():
        for i in range(of_each):
            scene = make(_Studio(rng, agent, caller, i))
            scenes.append(Scene(scene.kind, case, scene.heard, scene.played, scene.near, scene.text))
    return scenes


class _Studio:
    """Makes one scene."""

    def __init__(self, rng: np.random.Generator, agent: list[Clip], caller: list[Clip], number: int) -> None:
        self._rng, self._agent, self._caller, self._number = rng, agent, caller, number

    def scene(
        self,
        kind: str,
        *,
        changes: bool = False,
        jump_ms: float = 0.0,
        drift: float = 0.0,
        bends: bool = False,
        snr_db: float | None = None,
        is_phone: bool = False,
    ) -> Scene:
        rng, n = self._rng, _SECONDS * RATE_HZ
        played, near, text = np.zeros(n), np.zeros(n), ""
        if kind != NEAR_ALONE:
            played = self._row(self._agent, n, 0.3, fills=True)[0]
        if kind != FAR_ALONE:
            # The caller begins when the canceller has heard the agent for a while, as in a call.
            near, text = self._row(self._caller, n, 4.5 if kind == DOUBLE else 0.5)
            near = np.convolve(near, room(rng, far=False))[:n]
        sounding = np.tanh(4 * played / (np.abs(played).max() + 1e-9)) * np.abs(played).max() if bends else played
        echo = np.convolve(sounding, room(rng))[:n]
        if changes:
            other, at = np.convolve(sounding, room(rng))[:n], 6 * RATE_HZ
            echo = np.concatenate((echo[:at], other[at:]))
        delay = int(rng.uniform(0.05, 0.4) * RATE_HZ)
        echo = _late(echo, delay)
        if jump_ms:
            at = 6 * RATE_HZ
            echo = np.concatenate((echo[:at], _late(echo, int(jump_ms * RATE_HZ / 1000))[at:]))
        if drift:
            at = np.arange(n) * (1 + drift)
            echo = np.interp(at, np.arange(n), echo)
        if kind == DOUBLE:
            ratio_db = (-6.0, 0.0, 6.0)[self._number % 3]
            echo *= _rms(near) / _rms(echo) * 10 ** (-ratio_db / 20)
        else:
            echo *= 0.5
        heard = near + echo
        if snr_db is not None:
            hum = np.convolve(rng.standard_normal(n), np.ones(8) / 8, "same")
            heard = heard + hum * (_rms(near) / _rms(hum) * 10 ** (-snr_db / 20))
        scale = min(1.0, 0.9 / np.abs(heard).max())
        heard, near = heard * scale, near * scale
        if is_phone:
            heard, near, played = _over_phone(heard), _over_phone(near, has_codec=False), _over_phone(played)
        return Scene(kind, "", _floats(heard), _floats(played), _floats(near) if kind != FAR_ALONE else None, text)

    def _row(self, clips: list[Clip], n: int, begin_s: float, *, fills: bool = False) -> tuple[Signal, str]:
        """Clips one after the other, with pauses: as far as they fit, or until all is full, the last one cut."""
        out, at, texts = np.zeros(n), int(begin_s * RATE_HZ), list[str]()
        for i in range(n):
            clip = clips[(self._number * 3 + i) % len(clips)]
            pcm = clip.pcm[: n - at]
            if pcm.size < clip.pcm.size and not fills:
                break
            out[at : at + pcm.size] = pcm / 32768
            at += pcm.size + int(self._rng.uniform(0.3, 0.8) * RATE_HZ)
            texts.append(clip.text)
            if at >= n:
                break
        return out, " ".join(texts)


def room(rng: np.random.Generator, *, far: bool = True) -> Signal:
    """A room's response of energy 1, its first sound at its beginning."""
    try:
        import pyroomacoustics as pra
    except ImportError as e:
        raise Unavailable("pyroomacoustics is missing: `make bench-echo` installs it") from e
    while True:
        size = rng.uniform([3, 3, 2.4], [7, 6, 3.2])
        try:
            absorption, order = pra.inverse_sabine(float(rng.uniform(0.2, 0.45)), size)
        except ValueError:
            continue
        room = pra.ShoeBox(size, fs=RATE_HZ, materials=pra.Material(absorption), max_order=min(order, 12))
        ear = rng.uniform([0.8, 0.8, 0.8], size - 0.8)
        mouth = ear + rng.normal(size=3) * (0.25 if far else 0.4)
        if (mouth < 0.1).any() or (mouth > size - 0.1).any():
            continue
        room.add_source(mouth)
        room.add_microphone(ear)
        room.compute_rir()
        taps = np.asarray(room.rir[0][0], dtype=float)
        taps = taps[int(np.argmax(np.abs(taps) > 0.1 * np.abs(taps).max())) :][: RATE_HZ // 3]
        return taps / np.sqrt(np.sum(taps**2))


def _late(x: Signal, samples: int) -> Signal:
    return np.concatenate((np.zeros(max(0, samples)), x[max(0, -samples) :], np.zeros(max(0, -samples))))[: x.size]


def _over_phone(x: Signal, *, has_codec: bool = True) -> Signal:
    pcm = np.rint(x * 32767).astype("<i2").tobytes()
    narrow = Resampler(RATE_HZ, 8000).process(pcm)
    if has_codec:
        narrow = MU_LAW.decode(MU_LAW.encode(narrow))
    wide = np.frombuffer(Resampler(8000, RATE_HZ).process(narrow), "<i2") / 32768
    return np.pad(wide, (0, max(0, x.size - wide.size)))[: x.size]


def _rms(x: Signal) -> float:
    return float(np.sqrt(np.mean(x[np.abs(x) > 1e-3 * np.abs(x).max()] ** 2))) if np.any(x) else 1e-9


def _floats(x: Signal) -> Floats:
    return np.ascontiguousarray(x, dtype=np.float32)


def recorded(folder: Path) -> Iterator[Scene]:
    """Yields the recordings of a folder that has a folder `aec`, by the names that public sets give them.

    `NAME_mic.wav` with `NAME_lpb.wav` (what was played), or `NAME__mic.wav` with `NAME__ref.wav` and `NAME__gt.wav`
    (the caller alone).
    """
    for file in sorted((folder / "aec").rglob("*_mic.wav")):
        has_truth = file.name.endswith("__mic.wav")
        other = file.with_name(file.name.replace("mic.wav", "ref.wav" if has_truth else "lpb.wav"))
        if not other.exists():
            continue
        heard, played = _read(file), _read(other)
        near = _read(file.with_name(file.name.replace("mic.wav", "gt.wav"))) if has_truth else None
        n = min(x.size for x in (heard, played, near) if x is not None)
        kind = FAR_ALONE if "farend" in file.name else DOUBLE
        case = "with truth" if has_truth else "real"
        yield Scene(kind, case, heard[:n], played[:n], near[:n] if near is not None else None)


def _read(file: Path) -> Floats:
    pcm, rate_hz = read_wav(file)
    return _floats(soxr.resample(pcm.astype(np.float32) / 32768, rate_hz, RATE_HZ))
