"""Settings of the tts service: HALFBEAT_TTS_* in the environment, or [tts] in the file."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from halfbeat.settings import ServiceSettings


class TtsSettings(ServiceSettings):
    """The tts service."""

    service: ClassVar[str] = "tts"

    engine: Literal["vits", "coqui", "scripted"] = Field(
        "vits", description="vits (ONNX, CPU), coqui (coqui-tts: VITS or XTTS; extra `coqui`), scripted (tests)."
    )
    model: str = Field("piper-en-us-joe-medium", description="Catalogue name of the voice (`halfbeat models list`).")
    model_dir: Path | None = Field(None, description="Folder with the voice's files, in place of the catalogue's.")
    voice: str = Field("", description="Voice of the model (an XTTS speaker, say); empty for its default.")
    speed: float = Field(1.0, ge=0.5, le=2.0, description="1 is the voice's own pace.")
    slots: int = Field(4, ge=1, description="Sessions at a time; one more is refused as at capacity.")
    workers: int = Field(1, ge=1, description="Engine threads: pieces made at the same time.")
    threads: int = Field(1, ge=1, description="Threads inside the engine for one piece; 1 where cores are few.")
    ahead_s: float = Field(6.0, gt=0, description="How far the audio may be ahead of real time, in seconds.")
    share_ms: float = Field(
        120.0, ge=0, description="With less left of the v2v budget, the first piece is made shorter, in ms."
    )
    cache_mb: float = Field(32.0, ge=0, description="Audio of short clauses that is kept to be said again, in MB.")
    prepare: list[str] = Field(
        ["Okay,", "Well,", "Sure,", "Yes,", "One moment, please.", "Let me check."],
        max_length=32,
        description="Clauses to make for the cache at the start, as a JSON list.",
    )
    device: str = Field("cpu", description="coqui only: cpu or cuda.")
    scripted_first_audio_ms: float = Field(80.0, ge=0, description="scripted only: request to first audio.")
    scripted_realtime_factor: float = Field(0.05, ge=0, description="scripted only: work per second of audio.")
