"""Further voices from the one that is installed: played faster or slower, spoken slower or faster to make up for it.

Playing samples at another rate moves pitch and formants together, as a shorter or longer vocal tract does; so the
result is another person rather than the same one squeaking. Nothing is computed: only the sample rate that is told
changes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from halfbeat.errors import InvalidRequest
from services.tts.engine import Chunk, TtsEngine


@dataclass(frozen=True)
class Voice:
    """How far a voice is from the engine's own.

    Attributes:
        pitch: 1.2 is three semitones up, formants too.
        pace: 1.1 speaks a tenth faster than the engine's own voice does.
    """

    pitch: float = 1.0
    pace: float = 1.0


VOICES = {
    "agent": Voice(),
    "caller": Voice(pitch=1.25, pace=0.95),
    "caller-low": Voice(pitch=0.87, pace=1.0),
}


class PitchedEngine:
    """An engine that speaks with another voice; implements `TtsEngine`."""

    def __init__(self, engine: TtsEngine, voice: Voice) -> None:
        """Takes the engine to change, loaded or not."""
        self._engine, self._voice = engine, voice

    @property
    def name(self) -> str:
        """The name of the engine beneath."""
        return self._engine.name

    @property
    def sample_rate(self) -> int:
        """The rate to play at, in Hz: this changes the voice. A multiple of 100 keeps the conversion cheap."""
        return round(self._engine.sample_rate * self._voice.pitch / 100) * 100

    def load(self) -> None:
        """See `TtsEngine.load`."""
        self._engine.load()

    def synthesize(
        self, text: str, *, voice: str = "", speed: float = 1.0, is_hurried: bool = False
    ) -> Iterator[Chunk]:
        """See `TtsEngine.synthesize`."""
        own_speed = speed * self._voice.pace / self._voice.pitch
        return self._engine.synthesize(text, voice=voice, speed=own_speed, is_hurried=is_hurried)


def voice_named(name: str) -> Voice:
    """Returns a voice of `VOICES`. Raises `InvalidRequest`, naming them, for any other."""
    try:
        return VOICES[name]
    except KeyError:
        raise InvalidRequest(f"no voice is named {name!r}; there are {', '.join(VOICES)}") from None
