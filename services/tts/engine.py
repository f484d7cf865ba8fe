"""What a voice must do to be an engine: load, then turn one clause at a time into pieces of audio."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class WordTiming:
    """When a written word sounds.

    Attributes:
        char_start: first character of the word in the clause's text.
        char_end: one past its last character.
        start_samples: first sample since the clause's audio began, at the engine's rate.
        end_samples: one past its last sample.
    """

    char_start: int
    char_end: int
    start_samples: int
    end_samples: int


@dataclass(frozen=True, eq=False)
class Chunk:
    """A piece of a clause's audio.

    Attributes:
        samples: mono, -1..1, at the engine's rate.
        words: the words that start within this piece; empty where the engine does not know.
    """

    samples: Samples
    words: tuple[WordTiming, ...] = ()


class TtsEngine(Protocol):
    """A voice. Blocking throughout: it is called on threads of its own, one clause per thread at a time."""

    @property
    def name(self) -> str:
        """What metrics and logs call it."""
        ...

    @property
    def sample_rate(self) -> int:
        """Rate of what `synthesize` yields, in Hz; valid after `load`."""
        ...

    def load(self) -> None:
        """Loads the model and speaks once, so that the first clause of a call is not slower than the others.

        Raises:
            halfbeat.errors.EngineFailed: the model cannot be loaded.
            halfbeat.models.ModelMissing: its files are not here.
        """
        ...

    def synthesize(
        self, text: str, *, voice: str = "", speed: float = 1.0, is_hurried: bool = False
    ) -> Iterator[Chunk]:
        """Speaks one clause.

        The first piece comes as early as the engine can; closing the iterator stops the computation before the next.
        Leading silence is not sent; a natural pause for the closing punctuation is.

        Args:
            text: as written ("12 Oak St. at 3:30 PM"); the engine normalises it.
            voice: one of the engine's voices; empty for its default.
            speed: 1 is the voice's own, 1.2 a fifth faster.
            is_hurried: the first piece may be shorter or a little worse if that makes it come sooner.
        """
        ...
