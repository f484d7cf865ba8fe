"""One response of the Realtime API: the events of an answer in the order the API promises. No I/O."""

from typing import Any

from halfbeat.errors import code_name
from halfbeat.v1 import common_pb2
from services.router.edges.realtime_events import Event, NewId


class Answer:
    """A response from `response.created` to `response.done`.

    Attributes:
        id: of the response.
        turn: of the call that it answers; None until the call has begun to answer a `response.create`.
        is_cancelled_by_client: the client asked to stop it.
        is_cut: it was stopped; `done` says why.
        error: it failed, perhaps with a spoken apology.
    """

    def __init__(self, new_id: NewId, modality: str, *, turn: int | None = None, metadata: Any = None) -> None:
        """Begins a response with audio and transcript (modality "audio") or text alone ("text")."""
        self.id = new_id("resp")
        self.turn = turn
        self.is_cancelled_by_client = False
        self.is_cut = False
        self.error: common_pb2.Error | None = None
        self._new_id, self._modality, self._metadata = new_id, modality, metadata
        self._message_id = ""
        self._message_index = 0
        self._said = ""
        self._has_audio = False
        self._output: list[Event] = []

    @property
    def message_id(self) -> str:
        """Item that holds the answer's words; empty until there are any."""
        return self._message_id

    def created(self) -> list[Event]:
        """The response exists."""
        return [{"type": "response.created", "response": self._response("in_progress")}]

    def said(self, text: str, previous_item_id: str | None) -> list[Event]:
        """A clause begins to be heard."""
        events = self._open(previous_item_id)
        delta = f" {text}" if self._said else text
        self._said += delta
        kind = "response.output_audio_transcript.delta" if self._modality == "audio" else "response.output_text.delta"
        return [*events, self._part(kind, delta=delta)]

    def spoke(self, audio_base64: str, previous_item_id: str | None) -> list[Event]:
        """A piece of the voice is due."""
        events = self._open(previous_item_id)
        if self._modality != "audio" or not audio_base64:
            return events
        self._has_audio = True
        return [*events, self._part("response.output_audio.delta", delta=audio_base64)]

    def called(self, call_id: str, name: str, arguments_json: str, previous_item_id: str | None) -> list[Event]:
        """The client is asked to execute a function."""
        item: Event = {
            "id": self._new_id("item"),
            "object": "realtime.item",
            "type": "function_call",
            "status": "in_progress",
            "call_id": call_id,
            "name": name,
            "arguments": "",
        }
        index = len(self._output)
        done = item | {"status": "completed", "arguments": arguments_json}
        self._output.append(done)
        where = {"response_id": self.id, "item_id": item["id"], "output_index": index, "call_id": call_id}
        return [
            self._item("response.output_item.added", item, index),
            {"type": "conversation.item.added", "previous_item_id": previous_item_id, "item": item},
            {"type": "response.function_call_arguments.delta", **where, "delta": arguments_json},
            {"type": "response.function_call_arguments.done", **where, "name": name, "arguments": arguments_json},
            {"type": "conversation.item.done", "previous_item_id": previous_item_id, "item": done},
            self._item("response.output_item.done", done, index),
        ]

    def done(self, *, prompt_tokens: int = 0, completion_tokens: int = 0, text_heard: str | None = None) -> list[Event]:
        """The response is over; its status follows from what happened to it.

        Args:
            prompt_tokens: read by the language model.
            completion_tokens: written by it.
            text_heard: what the caller heard of a cut answer; the item keeps just that.
        """
        status = "failed" if self.error else "cancelled" if self.is_cut else "completed"
        events = self._close("completed" if status == "completed" else "incomplete", text_heard)
        response = self._response(status)
        response["status_details"] = self._status_details(status)
        response["usage"] = {
            "total_tokens": prompt_tokens + completion_tokens,
            "input_tokens": prompt_tokens,
            "output_tokens": completion_tokens,
            "input_token_details": {"text_tokens": prompt_tokens, "audio_tokens": 0, "cached_tokens": 0},
            "output_token_details": {"text_tokens": completion_tokens, "audio_tokens": 0},
        }
        return [*events, {"type": "response.done", "response": response}]

    def message_item(self, status: str, text: str) -> Event:
        """The item that holds the answer's words."""
        content = (
            {"type": "output_audio", "transcript": text}
            if self._modality == "audio"
            else {"type": "output_text", "text": text}
        )
        return {
            "id": self._message_id,
            "object": "realtime.item",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [] if status == "in_progress" else [content],
        }

    def _open(self, previous_item_id: str | None) -> list[Event]:
        if self._message_id:
            return []
        self._message_id = self._new_id("item")
        self._message_index = len(self._output)
        item = self.message_item("in_progress", "")
        self._output.append(item)
        return [
            self._item("response.output_item.added", item, self._message_index),
            {"type": "conversation.item.added", "previous_item_id": previous_item_id, "item": item},
            self._part("response.content_part.added", part=self._content_part("")),
        ]

    def _close(self, status: str, text_heard: str | None) -> list[Event]:
        if not self._message_id:
            return []
        text = text_heard if self.is_cut and text_heard is not None else self._said
        item = self.message_item(status, text)
        self._output[self._message_index] = item
        if self._modality == "audio":
            events = [self._part("response.output_audio.done")] if self._has_audio else []
            events.append(self._part("response.output_audio_transcript.done", transcript=self._said))
        else:
            events = [self._part("response.output_text.done", text=self._said)]
        return [
            *events,
            self._part("response.content_part.done", part=self._content_part(self._said)),
            {"type": "conversation.item.done", "item": item},
            self._item("response.output_item.done", item, self._message_index),
        ]

    def _content_part(self, text: str) -> Event:
        return {"type": "audio", "transcript": text} if self._modality == "audio" else {"type": "text", "text": text}

    def _part(self, kind: str, **fields: Any) -> Event:
        where = {"output_index": self._message_index, "content_index": 0}
        return {"type": kind, "response_id": self.id, "item_id": self._message_id, **where, **fields}

    def _item(self, kind: str, item: Event, index: int) -> Event:
        return {"type": kind, "response_id": self.id, "output_index": index, "item": item}

    def _response(self, status: str) -> Event:
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": None,
            "output": list(self._output) if status != "in_progress" else [],
            "output_modalities": [self._modality],
            "metadata": self._metadata,
            "usage": None,
        }

    def _status_details(self, status: str) -> Event | None:
        if status == "failed" and self.error is not None:
            error = {"type": "server_error", "code": code_name(self.error.code), "message": self.error.message}
            return {"type": "failed", "error": error}
        if status == "cancelled":
            reason = "client_cancelled" if self.is_cancelled_by_client else "turn_detected"
            return {"type": "cancelled", "reason": reason}
        return None
