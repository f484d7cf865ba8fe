"""Settings of the asr service: HALFBEAT_ASR_* in the environment, or [asr] in the file."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from halfbeat.settings import ServiceSettings


class AsrSettings(ServiceSettings):
    """The asr service."""

    service: ClassVar[str] = "asr"

    engine: Literal["moonshine", "faster-whisper", "scripted"] = Field(
        "moonshine", description="moonshine (CPU, English), faster-whisper (CPU, GPU), scripted (tests)."
    )
    model: str = Field("", description="Catalogue name of the model (`halfbeat models list`); empty for the engine's.")
    model_dir: Path | None = Field(None, description="Folder with the model's files, in place of the catalogue's.")
    slots: int = Field(8, ge=1, description="Sessions at a time; one more is refused as at capacity.")
    workers: int = Field(1, ge=1, description="Engine threads: pieces of audio decoded at the same time.")
    threads: int = Field(1, ge=1, description="Threads inside the engine for one piece; 1 where cores are few.")
    partial_interval_ms: int = Field(400, ge=100, description="New speech before the next partial, in ms.")
    language: str = Field("en", description="faster-whisper only: two-letter code of the language.")
    device: Literal["cpu", "cuda"] = Field("cpu", description="faster-whisper only.")
    compute_type: str = Field("default", description="faster-whisper only: int8, float16, ... of CTranslate2.")
    window: Literal["auto", "trimmed", "full"] = Field(
        "auto", description="faster-whisper only: short encoder input (trimmed), 30 s (full), by device (auto)."
    )
    scripted_texts: list[str] = Field(
        ["yes please", "thank you"], min_length=1, description="scripted only: what each turn says, as a JSON list."
    )
    scripted_words_per_s: float = Field(3.0, gt=0, description="scripted only: words heard per second of speech.")
    scripted_decode_ms: float = Field(30.0, ge=0, description="scripted only: how long a decode takes.")
