"""Loads the router's models once for all calls."""

from pathlib import Path

from halfbeat import models
from services.router.engine import TurnDetector, VoiceDetector
from services.router.smart_turn import SmartTurn
from services.router.vad import Silero


class RouterModels:
    """Silero VAD and, unless it is "none", a turn detector. Implements `services.router.engine.Models`."""

    def __init__(self, turn_detector: str, *, deadline_s: float = 0.6) -> None:
        """Loads and warms the models; blocks for about 0.3 s.

        Raises:
            ModelMissing: one was not pulled; the text says how to.
            EngineFailed: one cannot be used.
        """
        self._silero = Silero(_folder("silero-vad"))
        self._turn_detector: SmartTurn | None = None
        if turn_detector != "none":
            self._turn_detector = SmartTurn(_folder(turn_detector), deadline_s=deadline_s)

    def voice_detector(self) -> VoiceDetector:
        """See `Models`."""
        return self._silero.detector()

    @property
    def turn_detector(self) -> TurnDetector | None:
        """See `Models`."""
        return self._turn_detector

    def close(self) -> None:
        """Ends the detector's thread."""
        if self._turn_detector is not None:
            self._turn_detector.close()


def _folder(name: str) -> Path:
    return models.path(name)
