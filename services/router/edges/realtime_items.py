"""The conversation's items as a Realtime client sees them, and the ones it may add. No I/O."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from services.router.edges.realtime_codec import decode_base64
from services.router.edges.realtime_events import BadEvent, Event, NewId, required
from services.router.edges.realtime_events import field as optional

MAX_ITEMS = 1000
MAX_TEXT_CHARS = 32_768


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item that the client adds.

    Attributes:
        event: as it is shown back.
        text: words of the caller (role "user") or instructions (role "system").
        audio: bytes in the client's format, of an `input_audio` part.
        call_id: of a function's output, with `output`.
    """

    event: Event
    role: str = ""
    text: str = ""
    audio: bytes = b""
    call_id: str = ""
    output: str = ""


@dataclass(slots=True)
class Items:
    """Items in order; the oldest are forgotten past a thousand.

    Attributes:
        turns: turn of the call for each item that holds an answer.
    """

    new_id: NewId
    turns: dict[str, int] = field(default_factory=dict)
    _events: OrderedDict[str, Event] = field(default_factory=OrderedDict)

    @property
    def last_id(self) -> str | None:
        """The newest item."""
        return next(reversed(self._events), None)

    def put(self, event: Event) -> None:
        """Adds an item or replaces it by its newer form."""
        self._events[event["id"]] = event
        while len(self._events) > MAX_ITEMS:
            old, _ = self._events.popitem(last=False)
            self.turns.pop(old, None)

    def get(self, item_id: Any) -> Event:
        """Returns an item.

        Raises:
            BadEvent: there is none of that id.
        """
        if not isinstance(item_id, str) or item_id not in self._events:
            raise BadEvent(f"Item {str(item_id)[:64]!r} does not exist.", code="item_not_found", param="item_id")
        return self._events[item_id]

    def read(self, event: Event) -> NewItem:
        """Checks a `conversation.item.create`.

        Raises:
            BadEvent: it is wrong, or not supported here.
        """
        item = required(event, "item", dict, "item")
        item_id = optional(item, "id", str, "item.id") or self.new_id("item")
        if item_id in self._events:
            raise BadEvent(f"Item {item_id[:64]!r} exists already.", code="item_exists", param="item.id")
        after = event.get("previous_item_id")
        if after not in (None, self.last_id):
            self.get(after)
            raise BadEvent("Items can only be added at the end.", code="unsupported", param="previous_item_id")
        shown: Event = {"id": item_id, "object": "realtime.item", "type": item.get("type"), "status": "completed"}
        if item.get("type") == "function_call_output":
            output = required(item, "output", str, "item.output")
            call_id = required(item, "call_id", str, "item.call_id")
            return NewItem(shown | {"call_id": call_id, "output": output}, call_id=call_id, output=output)
        if item.get("type") != "message":
            raise BadEvent(
                f"Items of type {str(item.get('type'))[:64]!r} are not supported.",
                code="unsupported",
                param="item.type",
            )
        return self._read_message(item, shown)

    def _read_message(self, item: Event, shown: Event) -> NewItem:
        role = required(item, "role", str, "item.role")
        if role not in ("user", "system"):
            raise BadEvent("Only messages of user and system can be added.", code="unsupported", param="item.role")
        texts: list[str] = []
        audio = b""
        content: list[Event] = []
        for i, part in enumerate(required(item, "content", list, "item.content")):
            where = f"item.content[{i}]"
            part = required({"part": part}, "part", dict, where)
            kind = part.get("type")
            if kind in ("input_text", "text"):
                texts.append(required(part, "text", str, f"{where}.text"))
                content.append({"type": "input_text", "text": texts[-1]})
            elif kind == "input_audio" and role == "user":
                audio += decode_base64(required(part, "audio", str, f"{where}.audio"), f"{where}.audio")
                content.append({"type": "input_audio", "transcript": None})
            else:
                raise BadEvent(
                    f"Content of type {str(kind)[:64]!r} is not supported.", code="unsupported", param=f"{where}.type"
                )
        text = "\n".join(texts).strip()
        if not text and not audio:
            raise BadEvent("The message is empty.", param="item.content")
        if text and audio:
            raise BadEvent("Text and audio in one message are not supported.", code="unsupported", param="item.content")
        if len(text) > MAX_TEXT_CHARS:
            raise BadEvent(f"Text is limited to {MAX_TEXT_CHARS} characters.", param="item.content")
        return NewItem(shown | {"role": role, "content": content}, role=role, text=text, audio=audio)


def caller_item(item_id: str, transcript: str | None) -> Event:
    """The item that holds a spoken turn of the caller."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": transcript}],
    }
