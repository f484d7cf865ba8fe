"""What a caller's end really plays: each frame after the one before, and nothing that it was told to throw away."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from halfbeat.audio import Samples, samples_of
from services.router import edge

#: -45 dBFS.
AUDIBLE = 184


@dataclass(frozen=True)
class Piece:
    """Audio of one frame that sounded.

    Attributes:
        at_s: when its first sample sounded.
        samples: what of it sounded.
    """

    at_s: float
    samples: Samples
    turn: int
    rate_hz: int

    @property
    def last_audible_s(self) -> float | None:
        """When the last sample above -45 dBFS sounded."""
        loud = np.flatnonzero(np.abs(self.samples.astype(int)) > AUDIBLE)
        return self.at_s + (int(loud[-1]) + 1) / self.rate_hz if loud.size else None


def played(events: Iterable[tuple[float, edge.CallEvent]], rate_hz: int = 16000) -> list[Piece]:
    """Returns what sounded of the events of a call, with the times in s when they came."""
    pieces: list[Piece] = []
    free_s = 0.0
    for at_s, event in events:
        match event:
            case edge.AgentAudio():
                begin_s = max(at_s, free_s)
                pieces.append(Piece(begin_s, samples_of(event.pcm), event.turn, rate_hz))
                free_s = begin_s + pieces[-1].samples.size / rate_hz
            case edge.Interrupted():
                pieces = [_cut(piece, at_s) for piece in pieces if piece.at_s < at_s]
                free_s = min(free_s, at_s)
    return pieces


def _cut(piece: Piece, at_s: float) -> Piece:
    return replace(piece, samples=piece.samples[: max(0, round((at_s - piece.at_s) * piece.rate_hz))])


def silent_s(pieces: Iterable[Piece], turn: int, before_s: float = float("inf")) -> float:
    """When the last audible sample of a turn's answer sounded, of what began to sound before some time."""
    return max(end for p in pieces if p.turn == turn and p.at_s < before_s and (end := p.last_audible_s) is not None)
