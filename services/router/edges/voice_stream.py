"""Messages of `halfbeat.v1.Voice` to and from a call. No I/O."""

import json

from halfbeat.errors import InvalidRequest
from halfbeat.v1 import common_pb2, voice_pb2
from services.router import edge

RATES_HZ = (8000, 16000, 24000, 48000)
MAX_AUDIO_MS = 200
_CLEANINGS = {
    voice_pb2.CLEANING_UNSPECIFIED: edge.Cleaning.ECHO,
    voice_pb2.CLEANING_NOISE: edge.Cleaning.NOISE,
    voice_pb2.CLEANING_NOTHING: edge.Cleaning.NOTHING,
}
MAX_TEXT_CHARS = 32_768


def edge_format(configure: voice_pb2.Configure) -> edge.EdgeFormat:
    """Checks the first message.

    Raises:
        InvalidRequest: the sample rate is not one of the four, or the cleaning not one of the three.
    """
    if configure.sample_rate not in RATES_HZ:
        raise InvalidRequest(f"sample_rate {configure.sample_rate} is not supported; use 8000, 16000, 24000 or 48000")
    if configure.cleaning not in _CLEANINGS:
        raise InvalidRequest(f"cleaning {configure.cleaning} is not known")
    return edge.EdgeFormat(
        sample_rate_hz=configure.sample_rate,
        reports_playout=configure.reports_playout,
        cleaning=_CLEANINGS[configure.cleaning],
    )


def apply(request: voice_pb2.ConverseRequest, call: edge.CallControl, rate_hz: int) -> bool:
    """Does what the client asks; True when it ends the call.

    Raises:
        InvalidRequest: the message is wrong; it had no effect and the call goes on.
        TooFast: more audio than real time.
    """
    match request.WhichOneof("request"):
        case "audio":
            if len(request.audio) > rate_hz * 2 * MAX_AUDIO_MS // 1000:
                raise InvalidRequest(f"audio of {len(request.audio)} bytes: at most {MAX_AUDIO_MS} ms a message")
            call.receive_audio(request.audio)
        case "played":
            call.played(request.played.samples)
        case "text":
            if len(request.text) > MAX_TEXT_CHARS or not request.text.strip():
                raise InvalidRequest(f"text must have 1 to {MAX_TEXT_CHARS} characters")
            call.send_text(request.text)
        case "interrupt":
            call.interrupt()
        case "end":
            return True
        case "configure":
            raise InvalidRequest("`configure` may come only once")
        case _:
            raise InvalidRequest("a message that this version does not know")
    return False


def response(event: edge.CallEvent) -> voice_pb2.ConverseResponse | None:
    """Turns one event of the call into the message for the client; None for one that it is not told."""
    match event:
        case edge.AgentAudio():
            return voice_pb2.ConverseResponse(
                audio=voice_pb2.AgentAudio(
                    pcm=event.pcm, epoch=event.epoch, turn=event.turn, offset_samples=event.offset_samples
                )
            )
        case edge.CallerCaption():
            return _caption(voice_pb2.SPEAKER_CALLER, event.turn, event.text, event.is_final)
        case edge.AgentCaption():
            return _caption(voice_pb2.SPEAKER_AGENT, event.turn, event.text, True)
        case edge.Failed():
            return voice_pb2.ConverseResponse(error=event.error)
        case edge.Ended():
            return voice_pb2.ConverseResponse(ended=voice_pb2.Ended(by=event.by))
        case _:
            return _floor(event)


def _floor(event: edge.CallEvent) -> voice_pb2.ConverseResponse | None:
    match event:
        case edge.SpeechStarted():
            return _event(voice_pb2.EVENT_KIND_SPEECH_STARTED, event.turn, offset_ms=event.offset_ms)
        case edge.SpeechStopped():
            return _event(voice_pb2.EVENT_KIND_SPEECH_STOPPED, event.turn, offset_ms=event.offset_ms)
        case edge.TurnCommitted():
            return _event(voice_pb2.EVENT_KIND_TURN_COMMITTED, event.turn, transcript=event.transcript)
        case edge.Interrupted():
            made = _event(voice_pb2.EVENT_KIND_INTERRUPTED, event.turn, played_ms=event.played_ms)
            made.event.epoch = event.epoch
            return made
        case edge.AnswerStarted():
            return _event(voice_pb2.EVENT_KIND_ANSWER_STARTED, event.turn, v2v_ms=event.v2v_ms)
        case edge.AnswerDone():
            return _event(
                voice_pb2.EVENT_KIND_ANSWER_DONE,
                event.turn,
                text_heard=event.text_heard,
                is_cut=event.is_cut,
                prompt_tokens=event.prompt_tokens,
                completion_tokens=event.completion_tokens,
            )
        case edge.ToolCalled():
            made = _event(
                voice_pb2.EVENT_KIND_TOOL_CALLED,
                event.turn,
                call_id=event.call_id,
                arguments=_json(event.arguments_json),
                is_client=event.is_client,
            )
            made.event.name = event.name
            return made
        case edge.ToolReturned():
            error = event.error and {
                "code": common_pb2.ErrorCode.Name(event.error.code),
                "message": event.error.message,
            }
            made = _event(
                voice_pb2.EVENT_KIND_TOOL_RETURNED,
                event.turn,
                call_id=event.call_id,
                result=_json(event.result_json),
                error=error,
            )
            made.event.name = event.name
            return made
        case edge.TurnDone():
            return _event(
                voice_pb2.EVENT_KIND_TURN_DONE,
                event.turn,
                v2v_ms=event.v2v_ms,
                hops_ms=event.hops_ms,
                is_interrupted=event.is_interrupted,
                trace_id=event.trace_id,
            )
        case _:
            return None


def _event(kind: voice_pb2.EventKind, turn: int, **detail: object) -> voice_pb2.ConverseResponse:
    event = voice_pb2.Event(kind=kind, turn=turn, detail_json=json.dumps(detail))
    return voice_pb2.ConverseResponse(event=event)


def _caption(speaker: voice_pb2.Speaker, turn: int, text: str, is_final: bool) -> voice_pb2.ConverseResponse:
    return voice_pb2.ConverseResponse(
        caption=voice_pb2.Caption(speaker=speaker, turn=turn, text=text, is_final=is_final)
    )


def _json(text: str) -> object:
    """What a tool said, as JSON; as plain text when it is none."""
    try:
        parsed: object = json.loads(text) if text else None
    except ValueError:
        return text
    return parsed
