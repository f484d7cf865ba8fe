"""What a recogniser must offer; `services.asr.engines` holds the adapters."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Word:
    """A word and when it was said, in seconds from the start of the audio that was passed in."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Recognition:
    """What the engine made of one piece of audio.

    Attributes:
        text: the words with punctuation, or "" when it heard none.
        words: the same words with times, where the engine knows them; else empty.
        confidence: geometric mean of the token probabilities, 0..1, when the engine knows it.
        no_speech: probability that nobody spoke, 0..1, when the engine knows it.
        is_truncated: the engine was stopped by its length limit, as happens when it repeats itself.
        tokens: the engine's own tokens; given back in a `Hint` they make the next decode cheaper.
    """

    text: str
    words: tuple[Word, ...] = ()
    confidence: float | None = None
    no_speech: float | None = None
    is_truncated: bool = False
    tokens: tuple[int, ...] = ()


NOTHING = Recognition("")


@dataclass(frozen=True, slots=True)
class Hint:
    """What is known beside the audio; an engine may ignore all of it.

    Attributes:
        draft: what was recognised in a shorter part of the same stretch.
        turn: number of the turn within the call.
    """

    draft: Recognition | None = None
    turn: int = 0


NO_HINT = Hint()


class AsrEngine(Protocol):
    """A recogniser. Both methods block: the service calls them on one thread of their own, never in the loop."""

    @property
    def name(self) -> str:
        """Short name for metrics and logs."""

    def load(self) -> None:
        """Reads the weights and decodes once, so that the first caller does not wait for it.

        Raises:
            ModelMissing: the files are not there; its message says how to get them.
            EngineFailed: they are there but cannot be used.
        """

    def transcribe(self, pcm: Samples, hint: Hint = NO_HINT) -> Recognition:
        """Recognises mono 16 kHz float samples in -1..1.

        Args:
            pcm: one stretch of speech, up to about 20 s.
            hint: makes it cheaper; never changes the words by more than rounding would.

        Raises:
            EngineFailed: the model failed; the engine stays usable.
        """
