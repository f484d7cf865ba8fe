"""One connection of the Realtime API, as decisions: events of the client and the call in, server events out. No I/O."""

from collections.abc import Callable
from typing import Any

from halfbeat.errors import HalfbeatError, InvalidRequest
from halfbeat.v1 import session_pb2
from services.router import edge
from services.router.edges import realtime_settings
from services.router.edges.realtime_answer import Answer
from services.router.edges.realtime_codec import Ear, Mouth, decode_base64
from services.router.edges.realtime_events import BadEvent, Event, NewId, error_event, field, new_id, required, to_beta
from services.router.edges.realtime_items import Items, caller_item
from services.router.edges.realtime_settings import RealtimeSettings
from services.router.edges.realtime_turns import CallerTurns

_WITHOUT_CALL = frozenset(("session.update", "conversation.item.retrieve"))


class RealtimeSession:
    """State of one connection.

    The call is opened late, by the first event that needs one, so that settings sent right after connecting (audio
    format, instructions, tools) are in force from its beginning.
    """

    def __init__(
        self,
        settings: RealtimeSettings,
        *,
        session_id: str,
        expires_at: int,
        is_beta: bool = False,
        attributes: dict[str, str] | None = None,
        make_id: NewId = new_id,
    ) -> None:
        """Takes what the connection began with.

        Args:
            settings: before any `session.update`.
            session_id: also the call's `sid`.
            expires_at: Unix time in s when the connection will be closed at the latest.
            is_beta: the client speaks the beta shape of the API.
            attributes: what the edge knows of the caller.
            make_id: makes ids.
        """
        self.settings, self.session_id = settings, session_id
        self._expires_at, self._is_beta = expires_at, is_beta
        self._attributes = attributes or {}
        self._make_id = make_id
        self._call: edge.CallControl | None = None
        self._ear: Ear | None = None
        self._mouth: Mouth | None = None
        self._items = Items(make_id)
        self._caller = CallerTurns(make_id)
        self._answer: Answer | None = None
        self._answered_turns: set[int] = set()
        self._epoch = 0
        # Functions the client executes: turn by call_id; outputs wait for the `response.create` that uses them.
        self._tool_turns: dict[str, int] = {}
        self._outputs: list[tuple[str, str]] = []
        # An audio message was added while turns are answered by themselves: its answer needs no `response.create`.
        self._is_answer_coming = False
        self._handlers: dict[str, Callable[[Event], list[Event]]] = {
            "session.update": self._update_session,
            "input_audio_buffer.append": self._append_audio,
            "input_audio_buffer.commit": self._commit_audio,
            "input_audio_buffer.clear": self._clear_audio,
            "conversation.item.create": self._create_item,
            "conversation.item.retrieve": self._retrieve_item,
            "conversation.item.truncate": self._truncate_item,
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
        }

    # --- what the shell asks ----------------------------------------------------------------------------------------

    def on_connect(self) -> list[Event]:
        """The first events of a connection."""
        conversation = {"id": self._make_id("conv"), "object": "realtime.conversation"}
        return self._finish(
            [
                {"type": "session.created", "session": self._session_event()},
                {"type": "conversation.created", "conversation": conversation},
            ]
        )

    def needs_call(self, event: object) -> bool:
        """Whether the call must be opened before this client event can be handled."""
        kind = event.get("type") if isinstance(event, dict) else None
        return self._call is None and kind in self._handlers and kind not in _WITHOUT_CALL

    def config(self) -> session_pb2.SessionConfig:
        """How the call is to be held."""
        return self.settings.to_config(self._attributes)

    def attach(self, call: edge.CallControl) -> None:
        """The call is open, with `config()` and the settings' format."""
        self._call = call
        self._ear = Ear(self.settings.input_format, self.settings.sample_rate_hz)
        self._mouth = Mouth(self.settings.output_format, self.settings.sample_rate_hz)

    def on_client(self, event: object) -> list[Event]:
        """Handles one event of the client; what is wrong with it becomes an `error` event."""
        event_id = event.get("event_id") if isinstance(event, dict) else None
        event_id = event_id if isinstance(event_id, str) else None
        try:
            if not isinstance(event, dict):
                raise BadEvent("An event must be a JSON object.", code="invalid_event")
            kind = required(event, "type", str, "type")
            handler = self._handlers.get(kind)
            if handler is None:
                raise BadEvent(f"Event {kind[:64]!r} is not supported.", code="unsupported_event", param="type")
            return self._finish(handler(event))
        except HalfbeatError as e:
            return self._finish([error_event(e, event_id)])

    def on_error(self, event: Event) -> list[Event]:
        """Completes an `error` event that the shell made."""
        return self._finish([event])

    def on_call(self, event: edge.CallEvent) -> list[Event]:
        """Turns one event of the call into server events."""
        return self._finish(self._happened(event))

    def _happened(self, event: edge.CallEvent) -> list[Event]:
        match event:
            case edge.AgentAudio():
                return self._on_audio(event)
            case edge.SpeechStarted():
                return [*self._caller.started(event.turn, event.offset_ms), *self._end_reopened(event.turn)]
            case edge.SpeechStopped():
                return self._caller.stopped(event.turn, event.offset_ms)
            case edge.CallerCaption() if self.settings.transcription_model:
                return self._caller.heard(event.turn, event.text)
            case edge.TurnCommitted():
                return self._on_committed(event)
            case edge.AnswerStarted():
                return self._answering(event.turn)[1]
            case edge.AgentCaption():
                answer, events = self._answering(event.turn)
                return [*events, *self._keep(answer.said(event.text, self._items.last_id))]
            case edge.ToolCalled(is_client=True):
                return self._on_tool(event)
            case edge.ToolReturned():
                self._tool_turns.pop(event.call_id, None)
            case edge.Interrupted():
                self._epoch = event.epoch
                if self._answer:
                    self._answer.is_cut = True
            case edge.AnswerDone():
                return self._on_answer_done(event)
            case edge.TurnDone() if self._answer and self._answer.turn == event.turn:
                return self._end_answer()
            case edge.Failed():
                if self._answer:
                    self._answer.error = event.error
                return [error_event(event.error, None)]
            case edge.Ended():
                return [*self._end_answer(), *([error_event(event.error, None)] if event.error else [])]
            case _:
                pass
        return []

    # --- the client's events ----------------------------------------------------------------------------------------

    def _update_session(self, event: Event) -> list[Event]:
        changed = realtime_settings.update(self.settings, required(event, "session", dict, "session"))
        if self._call is not None:
            if changed.sample_rate_hz != self.settings.sample_rate_hz:
                raise BadEvent(
                    "The audio format cannot change its rate once the conversation has begun.",
                    code="unsupported",
                    param="session.audio",
                )
            self._call.update(changed.to_config(self._attributes), changed.to_format())
            if changed.input_format != self.settings.input_format:
                self._ear = Ear(changed.input_format, changed.sample_rate_hz)
            if changed.output_format != self.settings.output_format:
                self._mouth = Mouth(changed.output_format, changed.sample_rate_hz)
        self.settings = changed
        return [{"type": "session.updated", "session": self._session_event()}]

    def _append_audio(self, event: Event) -> list[Event]:
        call, ear = self._opened()
        call.receive_audio(ear.decode(decode_base64(required(event, "audio", str, "audio"), "audio")))
        return []

    def _commit_audio(self, _: Event) -> list[Event]:
        call, _ear = self._opened()
        try:
            call.commit_input()
        except InvalidRequest as e:
            raise BadEvent(str(e), code="input_audio_buffer_commit_empty") from None
        item = self._caller.commit()
        return self._committed(item)

    def _clear_audio(self, _: Event) -> list[Event]:
        self._opened()[0].clear_input()
        self._caller.clear()
        return [{"type": "input_audio_buffer.cleared"}]

    def _create_item(self, event: Event) -> list[Event]:
        call, _ = self._opened()
        new = self._items.read(event)
        if new.call_id:
            if new.call_id not in self._tool_turns:
                raise BadEvent(
                    "No function call of that id waits for an output.", code="item_not_found", param="item.call_id"
                )
            self._outputs.append((new.call_id, new.output))
        elif new.role == "system":
            changed = realtime_settings.with_note(self.settings, new.text)
            call.update(changed.to_config(self._attributes), changed.to_format())
            self.settings = changed
        elif new.audio:
            # An ear of its own: a message is not part of the stream.
            ear = Ear(self.settings.input_format, self.settings.sample_rate_hz)
            call.receive_audio(ear.decode(new.audio))
            call.commit_input()
            self._caller.expect(new.event["id"])
            self._is_answer_coming = self.settings.to_format().creates_response
        else:
            call.add_text(new.text)
        return self._show(new.event)

    def _retrieve_item(self, event: Event) -> list[Event]:
        return [{"type": "conversation.item.retrieved", "item": self._items.get(event.get("item_id"))}]

    def _truncate_item(self, event: Event) -> list[Event]:
        call, _ = self._opened()
        item = self._items.get(event.get("item_id"))
        if (turn := self._items.turns.get(item["id"])) is None:
            raise BadEvent("Only items with the agent's audio can be truncated.", param="item_id")
        if required(event, "content_index", int, "content_index") != 0:
            raise BadEvent("The item has one content part.", param="content_index")
        played_ms = required(event, "audio_end_ms", int, "audio_end_ms")
        if played_ms < 0:
            raise BadEvent("'audio_end_ms' must not be negative.", param="audio_end_ms")
        call.truncate(turn, played_ms)
        where = {"item_id": item["id"], "content_index": 0, "audio_end_ms": played_ms}
        return [{"type": "conversation.item.truncated", **where}]

    def _create_response(self, event: Event) -> list[Event]:
        call, _ = self._opened()
        wanted = field(event, "response", dict, "response") or {}
        if wanted.get("conversation") not in (None, "auto") or wanted.get("input"):
            raise BadEvent(
                "Responses outside the conversation are not supported.",
                code="unsupported",
                param="response.input" if wanted.get("input") else "response.conversation",
            )
        instructions = field(wanted, "instructions", str, "response.instructions") or ""
        if self._is_answer_coming:
            self._is_answer_coming = False
            return []
        if self._outputs:
            turn = self._return_outputs(call)
            # Perhaps the agent has filled the wait with a word already: then that response goes on.
            return [] if self._answer else self._begin(turn, wanted.get("metadata"))[1]
        if self._answer is not None:
            raise BadEvent(
                "Conversation already has an active response.", code="conversation_already_has_active_response"
            )
        call.create_response(instructions)
        return self._begin(None, wanted.get("metadata"))[1]

    def _cancel_response(self, event: Event) -> list[Event]:
        call, _ = self._opened()
        response_id = field(event, "response_id", str, "response_id")
        if self._answer is None or response_id not in (None, self._answer.id):
            raise BadEvent("No active response to cancel.", code="response_cancel_not_active", param="response_id")
        if not self._answer.is_cut:
            self._answer.is_cancelled_by_client = self._answer.is_cut = True
            call.interrupt()
        return []

    # --- the call's events ------------------------------------------------------------------------------------------

    def _on_committed(self, event: edge.TurnCommitted) -> list[Event]:
        events: list[Event] = []
        if event.transcript or self._caller.knows(event.turn):
            item, is_new = self._caller.committed(event.turn)
            if is_new:
                events += self._committed(item)
            self._items.put(caller_item(item, event.transcript))
            if self.settings.transcription_model:
                events += self._caller.transcribed(item, event.transcript)
        if self._call:
            # The caller spoke on before the client asked for the answer; the model may have the results all the same.
            self._return_outputs(self._call)
        if self._answer is None and self.settings.to_format().creates_response and event.transcript:
            events += self._begin(event.turn)[1]
        elif self._answer is not None and self._answer.turn is None:
            self._answer.turn = event.turn
        self._is_answer_coming = False
        return events

    def _end_reopened(self, turn: int) -> list[Event]:
        """The caller goes on with a turn that we had begun to answer, before anything of the answer sounded."""
        if self._answer is None or self._answer.turn != turn:
            return []
        self._answer.is_cut = True
        return self._end_answer()

    def _return_outputs(self, call: edge.CallControl) -> int | None:
        """Hands the client's results to the call; returns the turn that goes on with them."""
        outputs, self._outputs = self._outputs, []
        turn = None
        for call_id, output in outputs:
            turn = self._tool_turns.pop(call_id, turn)
            call.return_tool(call_id, output)
        return turn

    def _on_audio(self, event: edge.AgentAudio) -> list[Event]:
        if event.epoch < self._epoch or self._mouth is None:
            return []
        answer, events = self._answering(event.turn)
        return [*events, *self._keep(answer.spoke(self._mouth.encode(event.pcm), self._items.last_id))]

    def _on_tool(self, event: edge.ToolCalled) -> list[Event]:
        answer, events = self._answering(event.turn)
        self._tool_turns[event.call_id] = event.turn
        events += self._keep(answer.called(event.call_id, event.name, event.arguments_json, self._items.last_id))
        # The response that calls a function ends with it; what the agent says about the result is another one.
        self._answer = None
        return [*events, *self._keep(answer.done())]

    def _on_answer_done(self, event: edge.AnswerDone) -> list[Event]:
        answer = self._answer
        if answer is None or answer.turn not in (None, event.turn) or event.turn in self._answered_turns:
            return []
        answer.is_cut = answer.is_cut or event.is_cut
        self._answered_turns.add(event.turn)
        self._answer = None
        return self._keep(
            answer.done(
                prompt_tokens=event.prompt_tokens,
                completion_tokens=event.completion_tokens,
                text_heard=event.text_heard,
            )
        )

    # --- shared -----------------------------------------------------------------------------------------------------

    def _opened(self) -> tuple[edge.CallControl, Ear]:
        assert self._call is not None, "the shell opens the call first (needs_call)"
        assert self._ear is not None
        return self._call, self._ear

    def _session_event(self) -> Event:
        return self.settings.to_event(self.session_id, self._expires_at, is_beta=self._is_beta)

    def _begin(self, turn: int | None, metadata: Any = None) -> tuple[Answer, list[Event]]:
        answer = Answer(self._make_id, self.settings.output_modality, turn=turn, metadata=metadata)
        self._answer = answer
        return answer, answer.created()

    def _answering(self, turn: int) -> tuple[Answer, list[Event]]:
        """The response that this turn's answer belongs to, begun now if need be."""
        if self._answer is None or self._answer.turn not in (None, turn):
            events = self._end_answer()
            answer, begun = self._begin(turn)
            return answer, [*events, *begun]
        self._answer.turn = turn
        return self._answer, []

    def _end_answer(self) -> list[Event]:
        answer, self._answer = self._answer, None
        return self._keep(answer.done()) if answer else []

    def _keep(self, events: list[Event]) -> list[Event]:
        """Remembers the items that an answer's events show."""
        for event in events:
            if event["type"] in ("conversation.item.added", "conversation.item.done"):
                self._items.put(event["item"])
                if self._answer and event["item"]["id"] == self._answer.message_id and self._answer.turn is not None:
                    self._items.turns[event["item"]["id"]] = self._answer.turn
        return events

    def _committed(self, item_id: str) -> list[Event]:
        previous = self._items.last_id
        committed = {"type": "input_audio_buffer.committed", "previous_item_id": previous, "item_id": item_id}
        return [committed, *self._show(caller_item(item_id, None))]

    def _show(self, item: Event) -> list[Event]:
        previous = self._items.last_id
        self._items.put(item)
        return [
            {"type": "conversation.item.added", "previous_item_id": previous, "item": item},
            {"type": "conversation.item.done", "previous_item_id": previous, "item": item},
        ]

    def _finish(self, events: list[Event]) -> list[Event]:
        """Gives every event its id and, for a beta client, its older name."""
        named = [{**event, "event_id": self._make_id("event")} for event in events]
        return [e for event in named if (e := to_beta(event))] if self._is_beta else named
