"""The state machine of the Realtime API alone: no socket, no loop, ids that count."""

import base64
import itertools
from typing import Any

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from scripted_call import ScriptedCall

from halfbeat.audio import MU_LAW
from halfbeat.errors import NotFound, TooFast
from halfbeat.v1 import common_pb2
from services.router import edge
from services.router.edges.realtime_session import RealtimeSession
from services.router.edges.realtime_settings import RealtimeSettings

Event = dict[str, Any]
SERVER_EVENT = TypeAdapter(RealtimeServerEvent)
PCM = bytes(960)
ASSISTANT = {"type": "message", "role": "assistant", "content": []}
EMPTY = {"type": "message", "role": "user", "content": []}


class Bench:
    """A session with a call, and everything it has sent."""

    def __init__(self, *, is_beta: bool = False, is_open: bool = True, **session: Any) -> None:
        numbers = itertools.count(1)
        self.session = RealtimeSession(
            RealtimeSettings(model="halfbeat"),
            session_id="sess_1",
            expires_at=1000,
            is_beta=is_beta,
            make_id=lambda prefix: f"{prefix}_{next(numbers)}",
        )
        self.sent: list[Event] = []
        if session:
            self.client("session.update", session=session)
        self.call: ScriptedCall | None = None
        if is_open:
            self.open()
        self.sent.clear()

    def open(self) -> ScriptedCall:
        self.call = ScriptedCall("sess_1", self.session.config(), self.session.settings.to_format(), "realtime")
        self.session.attach(self.call)
        return self.call

    def client(self, kind: str, **fields: Any) -> list[Event]:
        answers = self.session.on_client({"type": kind, **fields})
        self.sent += answers
        return answers

    def happens(self, *events: edge.CallEvent) -> list[Event]:
        sent = [answer for event in events for answer in self.session.on_call(event)]
        self.sent += sent
        return sent

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.sent]


def only_error(answers: list[Event]) -> Event:
    assert [a["type"] for a in answers] == ["error"]
    return answers[0]["error"]


def test_a_spoken_turn_and_its_answer_come_in_the_order_the_api_promises():
    bench = Bench(type="realtime", audio={"input": {"transcription": {"model": "whisper-1"}}})
    bench.happens(
        edge.SpeechStarted(1, 480),
        edge.CallerCaption(1, "my trash", False),
        edge.CallerCaption(1, "my trash was not", False),
        edge.SpeechStopped(1, 2100),
        edge.TurnCommitted(1, "my trash was not picked up"),
        edge.AnswerStarted(1, 400),
        edge.AgentCaption(1, 0, "I am sorry."),
        edge.AgentAudio(PCM, 0, 1, 0),
        edge.AgentCaption(1, 1, "A truck comes tomorrow."),
        edge.AgentAudio(PCM, 0, 1, 480),
        edge.AnswerDone(1, "I am sorry. A truck comes tomorrow.", False, 100, 12),
        edge.TurnDone(1, 400, {"endpoint": 200}),
    )
    transcription = "conversation.item.input_audio_transcription"
    assert bench.kinds == [
        "input_audio_buffer.speech_started",
        f"{transcription}.delta",
        f"{transcription}.delta",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{transcription}.delta",
        f"{transcription}.completed",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    deltas = [e["delta"] for e in bench.sent if e["type"] == f"{transcription}.delta"]
    assert deltas == ["my trash", " was not", " picked up"]
    callers = {e["item_id"] for e in bench.sent if e["type"].startswith(("input_audio_buffer", transcription))}
    assert len(callers) == 1
    response = bench.sent[-1]["response"]
    assert response["status"] == "completed"
    assert response["output"][0]["content"] == [
        {"type": "output_audio", "transcript": "I am sorry. A truck comes tomorrow."}
    ]
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (100, 12)
    assert len({e["event_id"] for e in bench.sent}) == len(bench.sent)


def test_every_event_has_the_shape_of_the_clients_own_types():
    bench = Bench(
        audio={"input": {"transcription": {"model": "whisper-1"}}},
        tools=[{"type": "function", "name": "look_up", "parameters": {"type": "object"}}],
    )
    bench.sent += bench.session.on_connect()
    bench.client("session.update", session={"type": "realtime", "instructions": "be brief"})
    bench.client("conversation.item.create", item=user("hello"))
    item_id = bench.sent[-1]["item"]["id"]
    bench.client("conversation.item.retrieve", item_id=item_id)
    bench.client("response.create")
    bench.happens(
        edge.SpeechStarted(1, 480),
        edge.CallerCaption(1, "hi", False),
        edge.SpeechStopped(1, 900),
        edge.TurnCommitted(1, "hi"),
        edge.AgentCaption(1, 0, "Hi."),
        edge.AgentAudio(PCM, 0, 1, 0),
        edge.ToolCalled(1, "call_1", "look_up", '{"a": 1}', True),
    )
    bench.client("conversation.item.create", item=output("call_1"))
    bench.client("response.create")
    bench.happens(
        edge.AgentCaption(1, 1, "Done."), edge.Interrupted(1, 1, 40), edge.AnswerDone(1, "Done.", True), edge.Ended("x")
    )
    said = next(e["item_id"] for e in bench.sent if e["type"] == "response.output_audio.delta")
    bench.client("conversation.item.truncate", item_id=said, content_index=0, audio_end_ms=1)
    bench.client("input_audio_buffer.append", audio=base64.b64encode(PCM).decode())
    bench.client("input_audio_buffer.commit")
    bench.client("input_audio_buffer.clear")
    bench.client("nonsense")
    seen = {event["type"] for event in bench.sent}
    assert len(seen) >= 26
    for event in bench.sent:
        parsed = SERVER_EVENT.validate_python(event, strict=False)
        assert parsed.type == event["type"]


def test_a_barge_in_cancels_the_response_and_the_item_keeps_what_was_heard():
    bench = Bench()
    bench.happens(
        edge.TurnCommitted(1, "hello"),
        edge.AgentCaption(1, 0, "Hi, I see you are calling"),
        edge.AgentAudio(PCM, 0, 1, 0),
        edge.SpeechStarted(2, 5000),
        edge.Interrupted(1, 1, 20),
        edge.AgentAudio(PCM, 0, 1, 480),
        edge.AnswerDone(1, "Hi, I", True),
    )
    assert bench.kinds.count("response.output_audio.delta") == 1
    response = bench.sent[-1]["response"]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert response["output"][0]["status"] == "incomplete"
    assert response["output"][0]["content"][0]["transcript"] == "Hi, I"


def test_response_cancel_interrupts_the_call_and_says_that_the_client_did_it():
    bench = Bench()
    bench.happens(edge.TurnCommitted(1, "hello"), edge.AgentAudio(PCM, 0, 1, 0))
    assert bench.client("response.cancel") == []
    assert bench.call.did("interrupt") == [("interrupt",)]
    done = bench.happens(edge.Interrupted(1, 1, 20), edge.AnswerDone(1, "", True))[-1]
    assert done["response"]["status_details"]["reason"] == "client_cancelled"
    assert only_error(bench.client("response.cancel", event_id="e7")) | {"message": ""} == {
        "type": "invalid_request_error",
        "code": "response_cancel_not_active",
        "message": "",
        "param": "response_id",
        "event_id": "e7",
    }


def test_a_second_response_while_one_is_active_is_refused():
    bench = Bench(audio={"input": {"turn_detection": None}})
    assert [e["type"] for e in bench.client("response.create", response={"instructions": "greet"})] == [
        "response.created"
    ]
    assert bench.call.did("create_response") == [("create_response", "greet")]
    assert only_error(bench.client("response.create"))["code"] == "conversation_already_has_active_response"
    bench.happens(edge.TurnCommitted(1, ""), edge.AgentCaption(1, 0, "Hi."), edge.AnswerDone(1, "Hi.", False))
    assert bench.kinds.count("response.created") == 1
    assert "input_audio_buffer.committed" not in bench.kinds
    assert bench.client("response.create")[0]["type"] == "response.created"


def test_without_turn_detection_the_client_commits_and_asks():
    bench = Bench(audio={"input": {"turn_detection": None}})
    assert not bench.call.fmt.has_turn_detection
    assert only_error(bench.client("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"
    bench.client("input_audio_buffer.append", audio=base64.b64encode(PCM).decode())
    committed = bench.client("input_audio_buffer.commit")
    assert [e["type"] for e in committed] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert bench.happens(edge.TurnCommitted(1, "hello")) == []
    item = bench.client("conversation.item.retrieve", item_id=committed[0]["item_id"])[0]["item"]
    assert item["content"] == [{"type": "input_audio", "transcript": "hello"}]
    assert bench.client("response.create")[0]["type"] == "response.created"


def test_with_create_response_off_a_spoken_turn_waits_for_the_client():
    bench = Bench(audio={"input": {"turn_detection": {"type": "semantic_vad", "create_response": False}}})
    assert (bench.call.fmt.has_turn_detection, bench.call.fmt.creates_response) == (True, False)
    bench.happens(edge.SpeechStarted(1, 0), edge.SpeechStopped(1, 900), edge.TurnCommitted(1, "hello"))
    assert "response.created" not in bench.kinds


def test_a_function_call_ends_its_response_and_its_output_waits_for_the_next():
    bench = Bench(tools=[{"type": "function", "name": "look_up", "parameters": {"type": "object"}}])
    assert [tool.name for tool in bench.call.config.client_tools] == ["look_up"]
    bench.happens(edge.TurnCommitted(1, "look it up"), edge.ToolCalled(1, "call_1", "look_up", '{"a": 1}', True))
    assert bench.kinds[-7:] == [
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert bench.sent[-1]["response"]["output"][0]["arguments"] == '{"a": 1}'
    bench.client("conversation.item.create", item=output("call_1"))
    assert not bench.call.did("return_tool")
    assert bench.client("response.create")[0]["type"] == "response.created"
    assert bench.call.did("return_tool") == [("return_tool", "call_1", '{"b": 2}')]
    assert not bench.call.did("create_response")
    done = bench.happens(edge.AgentCaption(1, 0, "It is two."), edge.AnswerDone(1, "It is two.", False))[-1]
    assert done["response"]["status"] == "completed"
    assert bench.kinds.count("response.created") == 2


def test_an_output_for_a_call_that_nobody_made_is_refused():
    bench = Bench()
    error = only_error(bench.client("conversation.item.create", item=output("call_9"), event_id="e1"))
    assert (error["code"], error["param"], error["event_id"]) == ("item_not_found", "item.call_id", "e1")


def test_an_output_that_comes_after_the_tools_deadline_is_refused():
    bench = Bench()
    bench.happens(edge.ToolCalled(1, "call_1", "look_up", "{}", True))
    bench.happens(edge.ToolReturned(1, "call_1", "look_up", "", common_pb2.Error(code=common_pb2.ERROR_CODE_TIMED_OUT)))
    assert only_error(bench.client("conversation.item.create", item=output("call_1")))["code"] == "item_not_found"


def test_the_applications_own_tools_are_not_shown_to_the_client():
    bench = Bench()
    assert bench.happens(edge.ToolCalled(1, "c", "schedule_pickup", "{}", False)) == []


def test_a_typed_message_goes_into_the_history_without_an_answer():
    bench = Bench()
    assert [e["type"] for e in bench.client("conversation.item.create", item=user("hello"))] == [
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert bench.call.did("add_text") == [("add_text", "hello")]


def test_a_caller_who_goes_on_before_the_answer_sounds_keeps_the_item_and_gets_a_new_response():
    bench = Bench(audio={"input": {"transcription": {"model": "whisper-1"}}})
    bench.happens(edge.SpeechStarted(1, 0), edge.SpeechStopped(1, 900), edge.TurnCommitted(1, "my trash"))
    first = bench.sent[-1]["response"]["id"]
    bench.sent.clear()
    bench.happens(edge.SpeechStarted(1, 1500), edge.CallerCaption(1, "my trash was missed", False))
    bench.happens(edge.SpeechStopped(1, 2400), edge.TurnCommitted(1, "my trash was missed"))
    transcription = "conversation.item.input_audio_transcription"
    assert bench.kinds == [
        "input_audio_buffer.speech_started",
        "response.done",
        f"{transcription}.delta",
        "input_audio_buffer.speech_stopped",
        f"{transcription}.completed",
        "response.created",
    ]
    assert (bench.sent[1]["response"]["id"], bench.sent[1]["response"]["status"]) == (first, "cancelled")
    assert bench.sent[2]["delta"] == " was missed"
    assert bench.sent[4]["transcript"] == "my trash was missed"
    assert len({e["item_id"] for e in bench.sent if "item_id" in e}) == 1
    bench.happens(edge.SpeechStarted(2, 5000))
    assert bench.sent[-1]["item_id"] != bench.sent[0]["item_id"]


def test_a_turn_that_ends_while_an_answer_goes_on_does_not_end_that_answer():
    bench = Bench(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    bench.happens(edge.TurnCommitted(1, "hi"), edge.AgentCaption(1, 0, "Hello."))
    bench.happens(edge.SpeechStarted(2, 0), edge.SpeechStopped(2, 500), edge.TurnCommitted(2, "by the way"))
    assert "response.done" not in bench.kinds
    assert bench.happens(edge.AnswerDone(1, "Hello.", False))[-1]["response"]["status"] == "completed"
    assert bench.kinds.count("response.created") == 1


def test_results_are_handed_over_even_when_the_agent_has_filled_the_wait_with_a_word():
    bench = Bench()
    bench.happens(edge.ToolCalled(1, "call_1", "look_up", "{}", True), edge.AgentCaption(1, 0, "One moment."))
    bench.client("conversation.item.create", item=output("call_1"))
    assert bench.client("response.create") == []
    assert bench.call.did("return_tool") == [("return_tool", "call_1", '{"b": 2}')]


def test_a_system_message_adds_to_the_instructions():
    bench = Bench(instructions="be brief")
    bench.client(
        "conversation.item.create",
        item={"type": "message", "role": "system", "content": [{"type": "input_text", "text": "it rains"}]},
    )
    assert bench.call.config.instructions == "be brief\n\nit rains"


def test_an_audio_message_is_a_turn_whose_answer_is_not_asked_for_twice():
    bench = Bench()
    audio = {"type": "input_audio", "audio": base64.b64encode(PCM).decode()}
    bench.client("conversation.item.create", item={"type": "message", "role": "user", "content": [audio]})
    assert [asked[0] for asked in bench.call.asked] == ["receive_audio", "commit_input"]
    assert bench.client("response.create") == []
    assert not bench.call.did("create_response")
    begun = bench.happens(edge.TurnCommitted(1, "hello"))
    assert [e["type"] for e in begun] == ["response.created"]


def test_truncate_tells_the_call_which_turn_and_how_much():
    bench = Bench()
    bench.happens(edge.TurnCommitted(3, "hi"), edge.AgentAudio(PCM, 0, 3, 0), edge.AgentCaption(3, 0, "Hello there."))
    item_id = next(e["item_id"] for e in bench.sent if e["type"] == "response.output_audio.delta")
    answer = bench.client("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=700)
    assert [e["type"] for e in answer] == ["conversation.item.truncated"]
    assert bench.call.did("truncate") == [("truncate", 3, 700)]


def test_a_failure_is_an_error_event_and_fails_the_response():
    bench = Bench()
    error = common_pb2.Error(code=common_pb2.ERROR_CODE_ENGINE, message="the language model is down", retryable=True)
    sent = bench.happens(
        edge.TurnCommitted(1, "hi"),
        edge.Failed(error),
        edge.AgentCaption(1, 0, "Sorry."),
        edge.AnswerDone(1, "Sorry.", False),
    )
    reported = next(e["error"] for e in sent if e["type"] == "error")
    assert (reported["type"], reported["code"]) == ("server_error", "engine")
    assert sent[-1]["response"]["status"] == "failed"
    assert sent[-1]["response"]["status_details"]["error"]["message"] == "the language model is down"


def test_an_answer_that_never_began_is_closed_by_the_end_of_its_turn():
    bench = Bench()
    bench.happens(edge.TurnCommitted(1, "hi"), edge.TurnDone(1, None))
    assert bench.kinds[-1] == "response.done"
    bench.happens(edge.TurnCommitted(2, "hi again"))
    assert bench.kinds[-1] == "response.created"


def test_text_only_sends_the_words_and_no_audio():
    bench = Bench(output_modalities=["text"])
    bench.happens(
        edge.TurnCommitted(1, "hi"), edge.AgentCaption(1, 0, "Hello."), edge.AgentAudio(PCM, 0, 1, 0),
        edge.AnswerDone(1, "Hello.", False),
    )  # fmt: skip
    assert "response.output_text.delta" in bench.kinds
    assert not [kind for kind in bench.kinds if "audio" in kind and kind.startswith("response")]
    assert bench.sent[-1]["response"]["output"][0]["content"] == [{"type": "output_text", "text": "Hello."}]


def test_mu_law_both_ways_is_a_call_at_8_khz():
    bench = Bench(audio={"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}})
    assert bench.call.fmt.sample_rate_hz == 8000
    codes = bytes(range(160))
    bench.client("input_audio_buffer.append", audio=base64.b64encode(codes).decode())
    assert bench.call.audio == MU_LAW.decode(codes)
    sent = bench.happens(edge.AgentAudio(MU_LAW.decode(codes), 0, 1, 0))
    assert MU_LAW.decode(base64.b64decode(sent[-1]["delta"])) == MU_LAW.decode(codes)


def test_mu_law_in_and_pcm_out_is_a_call_at_24_khz():
    bench = Bench(audio={"input": {"format": {"type": "audio/pcmu"}}})
    assert bench.call.fmt.sample_rate_hz == 24000
    for _ in range(10):
        bench.client("input_audio_buffer.append", audio=base64.b64encode(bytes([255]) * 160).decode())
    assert len(bench.call.audio) == 10 * 160 * 3 * 2


def test_the_beta_shape_is_understood_and_answered_in_its_own_words():
    bench = Bench(is_beta=True, is_open=False)
    updated = bench.client(
        "session.update",
        session={
            "modalities": ["text", "audio"],
            "instructions": "be brief",
            "voice": "alloy",
            "input_audio_format": "g711_ulaw",
            "output_audio_format": "g711_ulaw",
            "input_audio_transcription": {"model": "whisper-1"},
            "turn_detection": {"type": "server_vad", "threshold": 0.5, "create_response": True},
            "temperature": 0.7,
            "max_response_output_tokens": 200,
        },
    )[0]["session"]
    assert updated["input_audio_format"] == "g711_ulaw"
    assert updated["modalities"] == ["text", "audio"]
    assert updated["max_response_output_tokens"] == 200
    call = bench.open()
    assert (call.fmt.sample_rate_hz, call.config.max_answer_tokens, call.config.voice) == (8000, 200, "")
    assert call.config.temperature == pytest.approx(0.7)
    bench.happens(
        edge.TurnCommitted(1, "hi"),
        edge.AgentCaption(1, 0, "Hello."),
        edge.AgentAudio(PCM, 0, 1, 0),
        edge.AnswerDone(1, "Hello.", False),
    )
    assert {"response.audio.delta", "response.audio_transcript.delta", "conversation.item.created"} <= set(bench.kinds)
    assert not [kind for kind in bench.kinds if "output_audio" in kind or kind == "conversation.item.added"]
    assert bench.sent[-1]["response"]["output"][0]["content"][0]["type"] == "audio"


def test_settings_change_during_the_call_but_not_its_rate():
    bench = Bench()
    bench.client("session.update", session={"instructions": "be rude", "audio": {"input": {"turn_detection": None}}})
    assert bench.call.config.instructions == "be rude"
    assert not bench.call.fmt.has_turn_detection
    pcmu = {"format": {"type": "audio/pcmu"}}
    error = only_error(bench.client("session.update", session={"audio": {"input": pcmu, "output": pcmu}}))
    assert error["param"] == "session.audio"


@pytest.mark.parametrize(
    ("session", "cleaning"),
    [
        ({}, edge.Cleaning.NOTHING),
        ({"audio": {"input": {"noise_reduction": {"type": "near_field"}}}}, edge.Cleaning.NOISE),
        ({"audio": {"input": {"noise_reduction": {"type": "far_field"}}}}, edge.Cleaning.ECHO),
        ({"input_audio_noise_reduction": {"type": "far_field"}}, edge.Cleaning.ECHO),
        ({"audio": {"input": {"noise_reduction": None}}}, edge.Cleaning.NOTHING),
    ],
)
def test_noise_reduction_says_what_is_taken_out_of_the_callers_audio(session, cleaning):
    bench = Bench()
    bench.client("session.update", session={"instructions": "x", **session})
    assert bench.call.fmt.cleaning is cleaning


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"audio": {"input": {"noise_reduction": {"type": "x"}}}}, "session.audio.input.noise_reduction.type"),
        ({"instructions": 5}, "session.instructions"),
        ({"type": "transcription"}, "session.type"),
        ({"tools": {"name": "x"}}, "session.tools"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "session.tools[0].type"),
        ({"tools": [{"type": "function"}]}, "session.tools[0].name"),
        ({"tool_choice": "required"}, "session.tool_choice"),
        ({"temperature": 9}, "session.temperature"),
        ({"temperature": True}, "session.temperature"),
        ({"max_output_tokens": 0}, "session.max_output_tokens"),
        ({"output_modalities": ["video"]}, "session.output_modalities"),
        ({"audio": []}, "session.audio"),
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}}, "session.audio.input.format.rate"),
        ({"audio": {"input": {"format": {"type": "audio/opus"}}}}, "session.audio.input.format"),
        ({"input_audio_format": "mp3"}, "session.audio.input.format"),
        ({"audio": {"input": {"turn_detection": {"type": "psychic"}}}}, "session.audio.input.turn_detection.type"),
        ({"audio": {"output": {"speed": 1.5}}}, "session.audio.output.speed"),
        ({"audio": {"output": {"voice": 7}}}, "session.audio.output.voice"),
        ({"prompt": {"id": "p"}}, "session.prompt"),
    ],
)
def test_a_wrong_setting_is_refused_by_name_and_changes_nothing(session, param):
    bench = Bench()
    before = bench.session.settings
    error = only_error(bench.client("session.update", session={"model": "other", **session}, event_id="e1"))
    assert (error["type"], error["param"], error["event_id"]) == ("invalid_request_error", param, "e1")
    assert bench.session.settings is before
    assert not bench.call.did("update")


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        (5, "invalid_event", None),
        ([], "invalid_event", None),
        ({}, "missing_required_parameter", "type"),
        ({"type": 5}, "invalid_type", "type"),
        ({"type": "output_audio_buffer.clear"}, "unsupported_event", "type"),
        ({"type": "conversation.item.delete", "item_id": "x"}, "unsupported_event", "type"),
        ({"type": "session.update"}, "missing_required_parameter", "session"),
        ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
        ({"type": "input_audio_buffer.append", "audio": 5}, "invalid_type", "audio"),
        ({"type": "input_audio_buffer.append", "audio": "!!rubbish!!"}, "invalid_value", "audio"),
        ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "invalid", None),
        ({"type": "conversation.item.create"}, "missing_required_parameter", "item"),
        ({"type": "conversation.item.create", "item": {"type": "spell"}}, "unsupported", "item.type"),
        ({"type": "conversation.item.create", "item": ASSISTANT}, "unsupported", "item.role"),
        ({"type": "conversation.item.create", "item": EMPTY}, "invalid_value", "item.content"),
        ({"type": "conversation.item.retrieve", "item_id": "nope"}, "item_not_found", "item_id"),
        ({"type": "conversation.item.truncate", "item_id": ["x"]}, "item_not_found", "item_id"),
        ({"type": "response.create", "response": {"conversation": "none"}}, "unsupported", "response.conversation"),
        ({"type": "response.create", "response": 5}, "invalid_type", "response"),
        ({"type": "response.cancel"}, "response_cancel_not_active", "response_id"),
    ],
)  # fmt: skip
def test_a_bad_event_gets_the_apis_own_error(event, code, param):
    bench = Bench()
    error = only_error(bench.session.on_client(event))
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    assert error["message"]


def test_what_the_call_refuses_becomes_an_error_event_too():
    bench = Bench()
    bench.call.failures["receive_audio"] = TooFast("more than real time")
    error = only_error(bench.client("input_audio_buffer.append", audio="AAAA"))
    assert (error["type"], error["code"]) == ("invalid_request_error", "too_fast")
    bench.happens(edge.ToolCalled(1, "call_1", "look_up", "{}", True))
    bench.call.failures["return_tool"] = NotFound("that tool call is over")
    bench.client("conversation.item.create", item=output("call_1"))
    assert only_error(bench.client("response.create"))["code"] == "not_found"


@pytest.mark.parametrize(
    ("event", "needs"),
    [
        ({"type": "session.update"}, False),
        ({"type": "nonsense"}, False),
        (None, False),
        ({"type": "input_audio_buffer.append"}, True),
        ({"type": "response.create"}, True),
    ],
)
def test_the_call_is_opened_by_the_first_event_that_needs_it(event, needs):
    assert Bench(is_open=False).session.needs_call(event) is needs


def user(text: str) -> Event:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def output(call_id: str) -> Event:
    return {"type": "function_call_output", "call_id": call_id, "output": '{"b": 2}'}
