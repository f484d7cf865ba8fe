"""What the router asks of its two models: is this voice, and is the turn over."""

from typing import TYPE_CHECKING, Protocol

from halfbeat.audio import Samples

if TYPE_CHECKING:
    from services.router.cleaner import Cleaner

#: Samples at 16 kHz that a voice detector judges at a time, 32 ms.
WINDOW_SAMPLES = 512


class VoiceDetector(Protocol):
    """Tells voice from silence for one call; holds that call's state."""

    def probability(self, window: Samples) -> float:
        """Judges the next `WINDOW_SAMPLES` samples: 0..1 that somebody speaks. Takes well below 1 ms."""


class TurnDetector(Protocol):
    """Tells from the sound of a turn whether it is over. One for all calls."""

    async def probability(self, turn: Samples) -> float:
        """Judges a turn from its start up to now, the pause included; 0..1 that the caller has finished.

        Raises:
            TimedOut: no answer within the detector's own deadline; silence decides then.
            EngineFailed: the model failed; silence decides then.
        """


class Models(Protocol):
    """The models of one router, shared by its calls."""

    def voice_detector(self) -> VoiceDetector:
        """Makes the detector of one call."""

    @property
    def turn_detector(self) -> TurnDetector | None:
        """None when the router is set to decide by silence alone."""

    @property
    def cleaner(self) -> "Cleaner | None":
        """None when the router is set to clean nothing."""
