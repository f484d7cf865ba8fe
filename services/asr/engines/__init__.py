"""Adapters to recognisers, each imported only when the settings choose it."""

from halfbeat import models
from services.asr.config import AsrSettings
from services.asr.engine import AsrEngine

DEFAULT_MODELS = {"moonshine": "moonshine-tiny-en", "faster-whisper": "whisper-base-ct2"}


def make_engine(settings: AsrSettings) -> AsrEngine:
    """Returns the engine of the settings, not loaded yet.

    Raises:
        ModelMissing: its files are not there; the text says how to get them.
        UnknownModel: the catalogue has no such model.
    """
    if settings.engine == "scripted":
        from services.asr.engines.scripted import ScriptedEngine

        return ScriptedEngine(
            settings.scripted_texts,
            words_per_s=settings.scripted_words_per_s,
            decode_ms=settings.scripted_decode_ms,
        )
    folder = settings.model_dir or models.path(settings.model or DEFAULT_MODELS[settings.engine])
    if settings.engine == "faster-whisper":
        from services.asr.engines.faster_whisper import FasterWhisperEngine

        return FasterWhisperEngine(
            folder,
            language=settings.language,
            device=settings.device,
            compute_type=settings.compute_type,
            window=settings.window,
            threads=settings.threads,
        )
    from services.asr.engines.moonshine import MoonshineEngine

    return MoonshineEngine(folder, threads=settings.threads)
