"""The Realtime API's messages as plain dictionaries: errors, ids, and the older beta names."""

import secrets
from collections.abc import Callable
from typing import Any

from halfbeat.errors import CODES, HalfbeatError, InvalidRequest, code_name
from halfbeat.v1 import common_pb2

Event = dict[str, Any]
#: Makes an id with a prefix, e.g. "item" -> "item_8fd1c2".
NewId = Callable[[str], str]


def new_id(prefix: str) -> str:
    """Makes an id that nobody can guess."""
    return f"{prefix}_{secrets.token_hex(10)}"


class BadEvent(InvalidRequest):
    """A client event that the API's own `error` event answers; the connection lives on.

    Attributes:
        reason: machine-readable `code` of the error event.
        param: path of the field at fault, or None.
    """

    def __init__(self, message: str, *, code: str = "invalid_value", param: str | None = None) -> None:
        super().__init__(message)
        self.reason, self.param = code, param


def error_event(error: HalfbeatError | common_pb2.Error, event_id: str | None) -> Event:
    """The API's `error` event.

    Args:
        error: what went wrong.
        event_id: `event_id` of the client's event that caused it, if any.
    """
    message = error.to_message() if isinstance(error, HalfbeatError) else error
    is_ours = CODES.get(message.code, CODES[common_pb2.ERROR_CODE_INTERNAL]).http >= 500
    return {
        "type": "error",
        "error": {
            "type": "server_error" if is_ours else "invalid_request_error",
            "code": error.reason if isinstance(error, BadEvent) else code_name(message.code),
            "message": message.message,
            "param": error.param if isinstance(error, BadEvent) else None,
            "event_id": event_id,
        },
    }


_BETA_TYPES = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "conversation.item.added": "conversation.item.created",
}
_BETA_CONTENT = {"output_audio": "audio", "output_text": "text"}


def to_beta(event: Event) -> Event | None:
    """Renames an event for a client of the beta API; None for one that the beta does not have."""
    kind = event["type"]
    if kind == "conversation.item.done":
        return None
    renamed = {**event, "type": _BETA_TYPES.get(kind, kind)}
    if "item" in renamed:
        renamed["item"] = _beta_item(renamed["item"])
    if "response" in renamed:
        response = dict(renamed["response"])
        response["output"] = [_beta_item(item) for item in response["output"]]
        response["modalities"] = beta_modalities(response.pop("output_modalities"))
        renamed["response"] = response
    return renamed


def beta_modalities(output_modalities: list[str]) -> list[str]:
    """The beta always lists text beside audio."""
    return ["text"] if output_modalities == ["text"] else ["text", "audio"]


def _beta_item(item: Event) -> Event:
    if "content" not in item:
        return item
    content = [{**part, "type": _BETA_CONTENT.get(part["type"], part["type"])} for part in item["content"]]
    return {**item, "content": content}


def field(source: Event, key: str, kind: type | tuple[type, ...], param: str) -> Any:
    """Returns a field of a client's event after checking its type; None when it is absent or null.

    Raises:
        BadEvent: it has another type.
    """
    value = source.get(key)
    if value is None:
        return None
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(_JSON_NAMES[k] for k in kinds)
        raise BadEvent(
            f"Invalid type for '{param}': expected {wanted}, got {_JSON_NAMES.get(type(value), 'null')}.",
            code="invalid_type",
            param=param,
        )
    return value


def required(source: Event, key: str, kind: type | tuple[type, ...], param: str) -> Any:
    """Like `field`, for one that must be there."""
    value = field(source, key, kind, param)
    if value is None:
        raise BadEvent(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
    return value


_JSON_NAMES: dict[type, str] = {
    str: "a string", int: "an integer", float: "a number", bool: "a boolean", list: "an array", dict: "an object",
}  # fmt: skip
