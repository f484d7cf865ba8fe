"""Settings of a Realtime session: what `session.update` may change, checked as a whole and then applied at once."""

import json
from dataclasses import dataclass, replace
from typing import Any

from halfbeat.v1 import session_pb2
from services.router.edge import Cleaning, EdgeFormat
from services.router.edges.realtime_events import BadEvent, Event, beta_modalities, field, required

PCM, PCMU, PCMA = "audio/pcm", "audio/pcmu", "audio/pcma"
_FORMATS = {"pcm16": PCM, "g711_ulaw": PCMU, "g711_alaw": PCMA, PCM: PCM, PCMU: PCMU, PCMA: PCMA}
_BETA_FORMATS = {PCM: "pcm16", PCMU: "g711_ulaw", PCMA: "g711_alaw"}
PCM_RATE_HZ = 24_000
G711_RATE_HZ = 8_000
MAX_TOKENS = 4096
MAX_TOOLS = 128
# What the API calls noise reduction; a loudspeaker that is far from nobody's ear is heard by its microphone.
_CLEANINGS = {None: Cleaning.NOTHING, "near_field": Cleaning.NOISE, "far_field": Cleaning.ECHO}
# Voices of the original API. They mean "any good voice" to us; other names go to the tts worker as they are.
_THEIR_VOICES = frozenset(
    ("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse")
)


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """How the end of the caller's turn is found; both kinds of the API are the router's own floor."""

    type: str = "server_vad"
    creates_response: bool = True
    interrupts_response: bool = True


@dataclass(frozen=True, slots=True)
class RealtimeSettings:
    """The session's settings in force.

    Attributes:
        noise_reduction: "near_field" (noise goes), "far_field" (loudspeakers: the agent's echo, too) or None.
        turn_detection: None when the client commits its turns itself.
        transcription_model: None when the client wants no transcripts of the caller.
        tools: functions as the client gave them.
        max_output_tokens: None for "inf".
        notes: system messages added to the instructions during the session.
    """

    model: str
    instructions: str = ""
    notes: tuple[str, ...] = ()
    input_format: str = PCM
    output_format: str = PCM
    voice: str = "marin"
    output_modality: str = "audio"
    turn_detection: TurnDetection | None = TurnDetection()
    noise_reduction: str | None = None
    transcription_model: str | None = None
    language: str = ""
    tools: tuple[session_pb2.ClientTool, ...] = ()
    tool_choice: str = "auto"
    temperature: float | None = None
    max_output_tokens: int | None = None

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the call: that of PCM unless both directions are G.711."""
        return PCM_RATE_HZ if PCM in (self.input_format, self.output_format) else G711_RATE_HZ

    def to_format(self) -> EdgeFormat:
        """What the call must know of this edge."""
        detection = self.turn_detection
        return EdgeFormat(
            cleaning=_CLEANINGS[self.noise_reduction],
            sample_rate_hz=self.sample_rate_hz,
            has_turn_detection=detection is not None,
            creates_response=detection is not None and detection.creates_response,
            interrupts_response=detection is not None and detection.interrupts_response,
            asks_silent_caller=False,
        )

    def to_config(self, attributes: dict[str, str]) -> session_pb2.SessionConfig:
        """How the call is to be held."""
        config = session_pb2.SessionConfig(
            caller_number=attributes.get("caller_number", ""),
            attributes={k: v for k, v in attributes.items() if k != "caller_number"},
            instructions="\n\n".join((self.instructions, *self.notes)).strip(),
            client_tools=() if self.tool_choice == "none" else self.tools,
            language=self.language,
            voice="" if self.voice in _THEIR_VOICES else self.voice,
            max_answer_tokens=self.max_output_tokens or 0,
        )
        if self.temperature is not None:
            config.temperature = self.temperature
        return config

    def to_event(self, session_id: str, expires_at: int, *, is_beta: bool) -> Event:
        """The session object of `session.created` and `session.updated`: only what is really in force."""
        common: Event = {
            "id": session_id,
            "object": "realtime.session",
            "model": self.model,
            "expires_at": expires_at,
            "instructions": self.instructions,
            "tools": [_tool_event(tool) for tool in self.tools],
            "tool_choice": self.tool_choice,
        }
        detection = self.turn_detection
        detection_event = detection and {
            "type": detection.type,
            "create_response": detection.creates_response,
            "interrupt_response": detection.interrupts_response,
        }
        reduction = self.noise_reduction and {"type": self.noise_reduction}
        transcription = self.transcription_model and {
            "model": self.transcription_model,
            **({"language": self.language} if self.language else {}),
        }
        limit = self.max_output_tokens or "inf"
        if is_beta:
            return common | {
                "modalities": beta_modalities([self.output_modality]),
                "voice": self.voice,
                "input_audio_format": _BETA_FORMATS[self.input_format],
                "output_audio_format": _BETA_FORMATS[self.output_format],
                "input_audio_transcription": transcription,
                "input_audio_noise_reduction": reduction,
                "turn_detection": detection_event,
                "temperature": self.temperature,
                "max_response_output_tokens": limit,
            }
        return common | {
            "type": "realtime",
            "output_modalities": [self.output_modality],
            "max_output_tokens": limit,
            "audio": {
                "input": {
                    "format": _format_event(self.input_format),
                    "transcription": transcription,
                    "noise_reduction": reduction,
                    "turn_detection": detection_event,
                },
                "output": {"format": _format_event(self.output_format), "voice": self.voice, "speed": 1.0},
            },
        }


def update(settings: RealtimeSettings, patch: Event) -> RealtimeSettings:
    """Returns the settings after a `session.update`, of the current or the beta shape; unknown fields are ignored.

    Args:
        settings: those in force.
        patch: the event's `session`.

    Raises:
        BadEvent: a field is wrong or asks for what this server does not do; nothing is changed.
    """
    if field(patch, "type", str, "session.type") not in (None, "realtime"):
        raise BadEvent("Only sessions of type 'realtime' are supported.", code="unsupported", param="session.type")
    if patch.get("prompt") is not None:
        raise BadEvent("Stored prompts are not supported.", code="unsupported", param="session.prompt")
    changes: dict[str, Any] = {}
    for key, kind in (("instructions", str), ("model", str)):
        if (value := field(patch, key, kind, f"session.{key}")) is not None:
            changes[key] = value
    if (modalities := _first(patch, "output_modalities", "modalities")) is not None:
        changes["output_modality"] = _modality(modalities)
    if "tools" in patch:
        changes["tools"] = _tools(field(patch, "tools", list, "session.tools") or [])
    if patch.get("tool_choice") is not None:
        changes["tool_choice"] = _tool_choice(patch["tool_choice"])
    if (temperature := field(patch, "temperature", (int, float), "session.temperature")) is not None:
        if not 0 <= temperature <= 2:
            raise BadEvent("'session.temperature' must be between 0 and 2.", param="session.temperature")
        changes["temperature"] = float(temperature)
    if (limit := _first(patch, "max_output_tokens", "max_response_output_tokens")) is not None:
        changes["max_output_tokens"] = _token_limit(limit)
    changes |= _audio(_nested(patch))
    return replace(settings, **changes)


def with_note(settings: RealtimeSettings, text: str) -> RealtimeSettings:
    """Returns the settings with a system message added to the instructions; only the newest twenty are kept."""
    return replace(settings, notes=(*settings.notes, text)[-20:])


def _first(patch: Event, *keys: str) -> Any:
    return next((patch[key] for key in keys if patch.get(key) is not None), None)


def _nested(patch: Event) -> tuple[Event, Event]:
    """Input and output audio settings, those of the beta's flat shape moved to where they are now."""
    audio = field(patch, "audio", dict, "session.audio") or {}
    into = dict(field(audio, "input", dict, "session.audio.input") or {})
    out = dict(field(audio, "output", dict, "session.audio.output") or {})
    for old, target, new in (
        ("input_audio_format", into, "format"), ("output_audio_format", out, "format"),
        ("input_audio_transcription", into, "transcription"), ("turn_detection", into, "turn_detection"),
        ("input_audio_noise_reduction", into, "noise_reduction"),
        ("voice", out, "voice"), ("speed", out, "speed"),
    ):  # fmt: skip
        if old in patch:
            target.setdefault(new, patch[old])
    return into, out


def _audio(nested: tuple[Event, Event]) -> dict[str, Any]:
    into, out = nested
    changes: dict[str, Any] = {}
    if into.get("format") is not None:
        changes["input_format"] = _format(into["format"], "session.audio.input.format")
    if out.get("format") is not None:
        changes["output_format"] = _format(out["format"], "session.audio.output.format")
    if "turn_detection" in into:
        changes["turn_detection"] = _turn_detection(into)
    if "noise_reduction" in into:
        where = "session.audio.input.noise_reduction"
        reduction = field(into, "noise_reduction", dict, where)
        changes["noise_reduction"] = reduction and _noise_reduction(reduction, f"{where}.type")
    if "transcription" in into:
        wanted = field(into, "transcription", dict, "session.audio.input.transcription")
        where = "session.audio.input.transcription"
        changes["transcription_model"] = wanted and (field(wanted, "model", str, f"{where}.model") or "default")
        changes["language"] = (field(wanted, "language", str, f"{where}.language") or "") if wanted else ""
    if (voice := out.get("voice")) is not None:
        name = voice.get("id") if isinstance(voice, dict) else voice
        changes["voice"] = required({"voice": name}, "voice", str, "session.audio.output.voice")
    if out.get("speed") not in (None, 1, 1.0):
        raise BadEvent("Only speed 1.0 is supported.", code="unsupported", param="session.audio.output.speed")
    return changes


def _format(value: Any, param: str) -> str:
    name = value.get("type") if isinstance(value, dict) else value
    known = _FORMATS.get(name) if isinstance(name, str) else None
    if known is None:
        raise BadEvent(f"Invalid value for '{param}': one of {PCM}, {PCMU}, {PCMA} is supported.", param=param)
    rate_hz = value.get("rate") if isinstance(value, dict) else None
    expected_hz = PCM_RATE_HZ if known == PCM else G711_RATE_HZ
    if rate_hz not in (None, expected_hz):
        raise BadEvent(f"{known} has {expected_hz} samples a second here, not {rate_hz!r}.", param=f"{param}.rate")
    return known


def _format_event(name: str) -> Event:
    return {"type": PCM, "rate": PCM_RATE_HZ} if name == PCM else {"type": name}


def _modality(value: Any) -> str:
    if not isinstance(value, list) or not value or any(item not in ("text", "audio") for item in value):
        raise BadEvent(
            '\'session.output_modalities\' must be ["audio"] or ["text"].', param="session.output_modalities"
        )
    return "audio" if "audio" in value else "text"


def _turn_detection(into: Event) -> TurnDetection | None:
    where = "session.audio.input.turn_detection"
    wanted = field(into, "turn_detection", dict, where)
    if wanted is None:
        return None
    kind = wanted.get("type")
    if kind not in ("server_vad", "semantic_vad"):
        raise BadEvent(f"'{where}.type' must be server_vad or semantic_vad.", param=f"{where}.type")
    creates = field(wanted, "create_response", bool, f"{where}.create_response")
    interrupts = field(wanted, "interrupt_response", bool, f"{where}.interrupt_response")
    return TurnDetection(kind, creates is not False, interrupts is not False)


def _noise_reduction(wanted: Event, param: str) -> str:
    kind = wanted.get("type")
    if kind not in ("near_field", "far_field"):
        raise BadEvent(f"'{param}' must be near_field or far_field.", param=param)
    return str(kind)


def _tools(values: list[Any]) -> tuple[session_pb2.ClientTool, ...]:
    if len(values) > MAX_TOOLS:
        raise BadEvent(f"At most {MAX_TOOLS} tools are supported.", param="session.tools")
    tools = []
    for i, value in enumerate(values):
        where = f"session.tools[{i}]"
        tool = required({"tool": value}, "tool", dict, where)
        if tool.get("type", "function") != "function":
            raise BadEvent("Only tools of type 'function' are supported.", code="unsupported", param=f"{where}.type")
        tools.append(
            session_pb2.ClientTool(
                name=required(tool, "name", str, f"{where}.name"),
                description=field(tool, "description", str, f"{where}.description") or "",
                parameters_json=json.dumps(field(tool, "parameters", dict, f"{where}.parameters") or {}),
            )
        )
    return tuple(tools)


def _tool_event(tool: session_pb2.ClientTool) -> Event:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": json.loads(tool.parameters_json),
    }


def _tool_choice(value: Any) -> str:
    if value not in ("auto", "none"):
        raise BadEvent("'session.tool_choice' may be auto or none.", code="unsupported", param="session.tool_choice")
    return str(value)


def _token_limit(value: Any) -> int | None:
    if value == "inf":
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_TOKENS:
        raise BadEvent(
            f"'session.max_output_tokens' must be 1 to {MAX_TOKENS} or \"inf\".", param="session.max_output_tokens"
        )
    return value
