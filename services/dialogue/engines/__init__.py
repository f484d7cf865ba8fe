"""Adapters of language models, imported only when chosen."""

from services.dialogue.config import DialogueSettings
from services.dialogue.engine import LlmEngine


def make_engine(settings: DialogueSettings) -> LlmEngine:
    """The engine of the settings; connects nothing yet."""
    if settings.engine == "scripted":
        from services.dialogue.engines.scripted import Scripted

        return Scripted(
            first_token_s=settings.scripted_first_token_ms / 1000, token_s=settings.scripted_token_ms / 1000
        )
    from services.dialogue.dialect import by_name
    from services.dialogue.engines.openai_compatible import OpenAiCompatible

    return OpenAiCompatible(
        settings.llm_url,
        settings.llm_model,
        by_name(settings.dialect),
        api_key=settings.llm_api_key.get_secret_value(),
        first_token_s=settings.first_token_s,
        gap_s=settings.gap_s,
        prefill_tokens=None if settings.prefill == "off" else int(settings.prefill == "one-token"),
    )
