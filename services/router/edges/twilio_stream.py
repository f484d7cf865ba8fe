"""One Twilio Media Stream, as decisions: Twilio's messages in, calls on the `CallControl` and messages out. No I/O.

Marks make `played` exact: one follows each frame and comes back when its audio was played. After a `clear` Twilio
returns all outstanding marks at once although nothing of it was heard; they are told apart by the generation in their
name, which grows with every clear.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any

from halfbeat.audio import MU_LAW
from halfbeat.errors import InvalidRequest
from halfbeat.v1 import session_pb2
from services.router import edge

RATE_HZ = 8000
FORMAT = edge.EdgeFormat(sample_rate_hz=RATE_HZ, reports_playout=True)
MAX_ATTRIBUTES = 32
# A minute of frames: a peer that returned no mark for so long returns none.
MAX_OUTSTANDING = 3000
MAX_ATTRIBUTE_CHARS = 512
_CALLER_KEYS = ("caller_number", "caller", "from")

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message without effect. `reason` counts it; None for those that are fine."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The stream began: place the call with this configuration."""

    config: session_pb2.SessionConfig


@dataclass(frozen=True, slots=True)
class Stopped:
    """The caller hung up."""


@dataclass(slots=True)
class MediaStream:
    """State of one stream."""

    _stream_sid: str = ""
    _call: edge.CallControl | None = None
    _generation: int = 0
    _is_opened: bool = False
    _outstanding: set[str] = field(default_factory=set)

    @property
    def is_opened(self) -> bool:
        """Whether `start` came."""
        return self._is_opened

    def attach(self, call: edge.CallControl) -> None:
        """The call that `Opened` asked for."""
        self._call = call

    def on_message(self, text: str | bytes) -> Ignored | Opened | Stopped:
        """Handles one message of Twilio.

        Raises:
            InvalidRequest: the message is wrong or comes too early; it had no effect.
            TooFast: more audio than real time.
        """
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            raise InvalidRequest("not JSON") from None
        if not isinstance(message, dict):
            raise InvalidRequest("not a JSON object")
        match message.get("event"):
            case "connected":
                return Ignored()
            case "start":
                return self._start(_object(message, "start"))
            case "media":
                return self._media(_object(message, "media"))
            case "mark":
                return self._mark(_object(message, "mark"))
            case "dtmf":
                return self._dtmf(_object(message, "dtmf"))
            case "stop":
                return Stopped()
            case str():
                return Ignored("unknown_event")
            case _:
                raise InvalidRequest("a message without an event")

    def on_call(self, event: edge.CallEvent) -> list[Message]:
        """Turns one event of the call into messages for Twilio."""
        match event:
            case edge.AgentAudio():
                end = event.offset_samples + len(event.pcm) // 2
                name = f"{self._generation}:{end}"
                if len(self._outstanding) < MAX_OUTSTANDING:
                    self._outstanding.add(name)
                payload = base64.b64encode(MU_LAW.encode(event.pcm)).decode()
                return [
                    {"event": "media", "streamSid": self._stream_sid, "media": {"payload": payload}},
                    {"event": "mark", "streamSid": self._stream_sid, "mark": {"name": name}},
                ]
            case edge.Interrupted():
                self._generation += 1
                self._outstanding.clear()
                return [{"event": "clear", "streamSid": self._stream_sid}]
            case _:
                return []

    def _start(self, start: Message) -> Opened:
        if self._is_opened:
            raise InvalidRequest("start came twice")
        media_format = _object(start, "mediaFormat")
        if media_format.get("encoding") != "audio/x-mulaw" or media_format.get("sampleRate") != RATE_HZ:
            raise InvalidRequest(f"mediaFormat must be audio/x-mulaw at {RATE_HZ} Hz")
        if media_format.get("channels", 1) != 1:
            raise InvalidRequest("mediaFormat must have one channel")
        stream_sid = start.get("streamSid")
        if not isinstance(stream_sid, str) or not stream_sid:
            raise InvalidRequest("start without streamSid")
        parameters = start.get("customParameters") or {}
        if not isinstance(parameters, dict) or len(parameters) > MAX_ATTRIBUTES:
            raise InvalidRequest(f"customParameters must be an object of at most {MAX_ATTRIBUTES}")
        attributes = {str(k): str(v)[:MAX_ATTRIBUTE_CHARS] for k, v in parameters.items()}
        lowered = {k.lower(): v for k, v in attributes.items()}
        config = session_pb2.SessionConfig(
            caller_number=next((lowered[k] for k in _CALLER_KEYS if lowered.get(k)), ""),
            attributes={k: v for k, v in attributes.items() if k.lower() not in _CALLER_KEYS},
            has_opening=True,
        )
        config.attributes["edge"] = "twilio"
        if isinstance(call_sid := start.get("callSid"), str):
            config.attributes["call_sid"] = call_sid[:MAX_ATTRIBUTE_CHARS]
        self._stream_sid, self._is_opened = stream_sid, True
        return Opened(config)

    def _media(self, media: Message) -> Ignored:
        call = self._opened("media")
        if media.get("track", "inbound") != "inbound":
            return Ignored("other_track")
        payload = media.get("payload")
        if not isinstance(payload, str):
            raise InvalidRequest("media without payload")
        try:
            codes = base64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidRequest("the payload of media is not base64") from None
        call.receive_audio(MU_LAW.decode(codes))
        return Ignored()

    def _mark(self, mark: Message) -> Ignored:
        call = self._opened("mark")
        name = mark.get("name")
        if not isinstance(name, str) or name not in self._outstanding:
            generation = name.partition(":")[0] if isinstance(name, str) else ""
            is_cleared = generation.isdecimal() and len(generation) < 10 and int(generation) < self._generation
            return Ignored(None if is_cleared else "unknown_mark")
        self._outstanding.discard(name)
        call.played(int(name.partition(":")[2]))
        return Ignored()

    def _dtmf(self, dtmf: Message) -> Ignored:
        call = self._opened("dtmf")
        digit = dtmf.get("digit")
        if not isinstance(digit, str) or len(digit) != 1 or digit not in "0123456789*#ABCDabcd":
            raise InvalidRequest("dtmf without a digit")
        call.add_text(f"[pressed the key {digit.upper()}]")
        return Ignored()

    def _opened(self, event: str) -> edge.CallControl:
        if self._call is None:
            raise InvalidRequest(f"{event} came before start")
        return self._call


def _object(message: Message, key: str) -> Message:
    value = message.get(key)
    if not isinstance(value, dict):
        raise InvalidRequest(f"a message without {key}")
    return value
