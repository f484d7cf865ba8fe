"""The client's audio format to and from the call's PCM, one stream each way."""

import base64
import binascii

from halfbeat.audio import A_LAW, MU_LAW, Resampler
from services.router.edges.realtime_events import BadEvent
from services.router.edges.realtime_settings import G711_RATE_HZ, PCM, PCMU


def decode_base64(text: str, param: str) -> bytes:
    """Decodes base64 strictly.

    Raises:
        BadEvent: it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadEvent(f"Invalid value for '{param}': not base64.", param=param) from None


class Ear:
    """The caller's audio: bytes of the client's format in, PCM at the call's rate out."""

    def __init__(self, audio_format: str, rate_hz: int) -> None:
        self._law = None if audio_format == PCM else MU_LAW if audio_format == PCMU else A_LAW
        self._resampler = Resampler(G711_RATE_HZ, rate_hz) if self._law and rate_hz != G711_RATE_HZ else None

    def decode(self, data: bytes) -> bytes:
        """Takes the next piece of the stream."""
        pcm = self._law.decode(data) if self._law else data
        return self._resampler.process(pcm) if self._resampler else pcm


class Mouth:
    """The agent's audio: PCM at the call's rate in, base64 of the client's format out."""

    def __init__(self, audio_format: str, rate_hz: int) -> None:
        self._law = None if audio_format == PCM else MU_LAW if audio_format == PCMU else A_LAW
        self._resampler = Resampler(rate_hz, G711_RATE_HZ) if self._law and rate_hz != G711_RATE_HZ else None

    def encode(self, pcm: bytes) -> str:
        """Takes the next piece of the stream."""
        if self._resampler:
            pcm = self._resampler.process(pcm)
        return base64.b64encode(self._law.encode(pcm) if self._law else pcm).decode()
