"""Clips and recordings made of tones, with labels known to the sample."""

import json
from collections.abc import Sequence

import numpy as np

from bench.turns.scenario import Role, Step
from bench.turns.score import Happened, Played, Recording
from bench.turns.speech import Clip, Word
from halfbeat.audio import RATE_HZ, Samples


def tone(ms: float, hz: float = 300.0, level: float = 0.3) -> Samples:
    t = np.arange(int(ms * RATE_HZ / 1000))
    made: Samples = (np.cos(2 * np.pi * hz * t / RATE_HZ) * level * 32767).astype(np.int16)
    return made


def clip(*spans_ms: tuple[int, int], text: str = "", kind: str = "plain", name: str = "clip") -> Clip:
    """A clip that sounds in these spans; its words lie evenly in the first."""
    pcm = np.zeros(spans_ms[-1][1] * RATE_HZ // 1000, np.int16)
    for a, b in spans_ms:
        begin = a * RATE_HZ // 1000
        sound = tone(b - a)
        pcm[begin : begin + sound.size] = sound
    words = text.split()
    a, b = spans_ms[0]
    each_s = (b - a) / 1000 / max(1, len(words))
    timed = tuple(Word(w, a / 1000 + i * each_s, a / 1000 + (i + 1) * each_s) for i, w in enumerate(words))
    return Clip(name, kind, text, pcm, timed, tuple((a / 1000, b / 1000) for a, b in spans_ms))


class Tape:
    """A recording: clips of the caller and sounds of the agent, put where one wants them, in ms."""

    def __init__(self, ms: int) -> None:
        self.caller = np.zeros(ms * RATE_HZ // 1000, np.int16)
        self.agent = np.zeros(ms * RATE_HZ // 1000, np.int16)
        self.played: list[Played] = []
        self.happened: list[Happened] = []

    def says(self, at_ms: int, made: Clip, role: Role = Role.TURN) -> "Tape":
        start = at_ms * RATE_HZ // 1000
        self.caller[start : start + made.pcm.size] = made.pcm
        over_ms = 0 if role in (Role.INTERRUPTION, Role.ASIDE) else None
        self.played.append(Played(Step(made, role, over_ms), start, start + made.pcm.size))
        return self

    def answers(self, from_ms: float, to_ms: float, level: float = 0.3) -> "Tape":
        sound = tone(to_ms - from_ms, 440.0, level)
        begin = int(from_ms * RATE_HZ / 1000)
        self.agent[begin : begin + sound.size] = sound
        return self

    def tells(self, at_ms: int, name: str, turn: int = 1, text: str = "", **detail: object) -> "Tape":
        self.happened.append(Happened(at_ms * RATE_HZ // 1000, name, turn, text or json.dumps(detail)))
        return self

    def recording(self) -> Recording:
        played: Sequence[Played] = sorted(self.played, key=lambda p: p.start)
        return Recording("s1", "call", self.caller, self.agent, played, self.happened)
