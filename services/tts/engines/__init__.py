"""Adapters of voices, each imported only when it is chosen."""

from pathlib import Path

from halfbeat import models
from halfbeat.errors import InvalidRequest
from services.tts.config import TtsSettings
from services.tts.engine import TtsEngine


def make_engine(settings: TtsSettings) -> TtsEngine:
    """Returns the engine of the settings, not loaded yet.

    Raises:
        halfbeat.models.ModelMissing: the voice's files are not here.
        InvalidRequest: the engine needs a setting that is missing.
    """
    match settings.engine:
        case "scripted":
            from services.tts.engines.scripted import Script, ScriptedEngine

            return ScriptedEngine(
                Script(
                    first_audio_ms=settings.scripted_first_audio_ms,
                    realtime_factor=settings.scripted_realtime_factor,
                )
            )
        case "coqui":
            from services.tts.engines.coqui import CoquiEngine

            if settings.model_dir is None:
                raise InvalidRequest(
                    "the coqui engine needs HALFBEAT_TTS_MODEL_DIR: a folder with config.json and weights"
                )
            return CoquiEngine(settings.model_dir, device=settings.device, threads=settings.threads)
        case "vits":
            from services.tts.engines.vits import VitsEngine

            return VitsEngine(_folder(settings), threads=settings.threads)


def _folder(settings: TtsSettings) -> Path:
    return settings.model_dir if settings.model_dir is not None else models.path(settings.model)
