"""Loads the router's models once for all calls."""

from pathlib import Path

from halfbeat import models
from halfbeat.audio.echo import EchoCanceller
from services.router.cleaner import Cleaner
from services.router.config import RouterSettings
from services.router.edge import Cleaning
from services.router.engine import TurnDetector, VoiceDetector
from services.router.loudness import Loudness
from services.router.smart_turn import SmartTurn
from services.router.vad import Silero

#: Calls that have ended give their rows back a moment later.
_SPARE_ROWS = 8


class RouterModels:
    """Voice detector and, where wanted, turn detector and canceller. Implements `services.router.engine.Models`."""

    def __init__(self, settings: RouterSettings) -> None:
        """Loads and warms the models; blocks for about 0.3 s.

        Raises:
            ModelMissing: one was not pulled; the text says how to.
            EngineFailed: one cannot be used.
        """
        self._silero = Silero(_folder("silero-vad")) if settings.voice_detector == "silero-vad" else None
        self._turn_detector: SmartTurn | None = None
        if settings.turn_detector != "none":
            self._turn_detector = SmartTurn(_folder(settings.turn_detector), deadline_s=settings.turn_deadline_s)
        self._cleaner: Cleaner | None = None
        if settings.cleaning is not Cleaning.NOTHING:
            self._cleaner = Cleaner(EchoCanceller(settings.slots + _SPARE_ROWS, suppresses=settings.suppresses))

    def voice_detector(self) -> VoiceDetector:
        """See `Models`."""
        return Loudness() if self._silero is None else self._silero.detector()

    @property
    def turn_detector(self) -> TurnDetector | None:
        """See `Models`."""
        return self._turn_detector

    @property
    def cleaner(self) -> Cleaner | None:
        """See `Models`."""
        return self._cleaner

    def close(self) -> None:
        """Ends the models' threads."""
        if self._cleaner is not None:
            self._cleaner.close()
        if self._turn_detector is not None:
            self._turn_detector.close()


def _folder(name: str) -> Path:
    return models.path(name)
