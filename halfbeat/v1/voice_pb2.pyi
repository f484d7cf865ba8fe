from halfbeat.v1 import common_pb2 as _common_pb2
from halfbeat.v1 import session_pb2 as _session_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Cleaning(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLEANING_UNSPECIFIED: _ClassVar[Cleaning]
    CLEANING_NOISE: _ClassVar[Cleaning]
    CLEANING_NOTHING: _ClassVar[Cleaning]

class Speaker(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPEAKER_UNSPECIFIED: _ClassVar[Speaker]
    SPEAKER_CALLER: _ClassVar[Speaker]
    SPEAKER_AGENT: _ClassVar[Speaker]

class EventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_KIND_UNSPECIFIED: _ClassVar[EventKind]
    EVENT_KIND_SPEECH_STARTED: _ClassVar[EventKind]
    EVENT_KIND_SPEECH_STOPPED: _ClassVar[EventKind]
    EVENT_KIND_TURN_COMMITTED: _ClassVar[EventKind]
    EVENT_KIND_INTERRUPTED: _ClassVar[EventKind]
    EVENT_KIND_TOOL_CALLED: _ClassVar[EventKind]
    EVENT_KIND_TOOL_RETURNED: _ClassVar[EventKind]
    EVENT_KIND_ANSWER_STARTED: _ClassVar[EventKind]
    EVENT_KIND_ANSWER_DONE: _ClassVar[EventKind]
    EVENT_KIND_TURN_DONE: _ClassVar[EventKind]
CLEANING_UNSPECIFIED: Cleaning
CLEANING_NOISE: Cleaning
CLEANING_NOTHING: Cleaning
SPEAKER_UNSPECIFIED: Speaker
SPEAKER_CALLER: Speaker
SPEAKER_AGENT: Speaker
EVENT_KIND_UNSPECIFIED: EventKind
EVENT_KIND_SPEECH_STARTED: EventKind
EVENT_KIND_SPEECH_STOPPED: EventKind
EVENT_KIND_TURN_COMMITTED: EventKind
EVENT_KIND_INTERRUPTED: EventKind
EVENT_KIND_TOOL_CALLED: EventKind
EVENT_KIND_TOOL_RETURNED: EventKind
EVENT_KIND_ANSWER_STARTED: EventKind
EVENT_KIND_ANSWER_DONE: EventKind
EVENT_KIND_TURN_DONE: EventKind

class ConverseRequest(_message.Message):
    __slots__ = ("configure", "audio", "played", "text", "interrupt", "end")
    CONFIGURE_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    PLAYED_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    INTERRUPT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    configure: Configure
    audio: bytes
    played: Played
    text: str
    interrupt: Interrupt
    end: End
    def __init__(self, configure: _Optional[_Union[Configure, _Mapping]] = ..., audio: _Optional[bytes] = ..., played: _Optional[_Union[Played, _Mapping]] = ..., text: _Optional[str] = ..., interrupt: _Optional[_Union[Interrupt, _Mapping]] = ..., end: _Optional[_Union[End, _Mapping]] = ...) -> None: ...

class Configure(_message.Message):
    __slots__ = ("sample_rate", "session", "reports_playout", "cleaning")
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    REPORTS_PLAYOUT_FIELD_NUMBER: _ClassVar[int]
    CLEANING_FIELD_NUMBER: _ClassVar[int]
    sample_rate: int
    session: _session_pb2.SessionConfig
    reports_playout: bool
    cleaning: Cleaning
    def __init__(self, sample_rate: _Optional[int] = ..., session: _Optional[_Union[_session_pb2.SessionConfig, _Mapping]] = ..., reports_playout: _Optional[bool] = ..., cleaning: _Optional[_Union[Cleaning, str]] = ...) -> None: ...

class Played(_message.Message):
    __slots__ = ("samples",)
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    samples: int
    def __init__(self, samples: _Optional[int] = ...) -> None: ...

class Interrupt(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class End(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ConverseResponse(_message.Message):
    __slots__ = ("started", "audio", "caption", "event", "error", "ended")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    started: Started
    audio: AgentAudio
    caption: Caption
    event: Event
    error: _common_pb2.Error
    ended: Ended
    def __init__(self, started: _Optional[_Union[Started, _Mapping]] = ..., audio: _Optional[_Union[AgentAudio, _Mapping]] = ..., caption: _Optional[_Union[Caption, _Mapping]] = ..., event: _Optional[_Union[Event, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ..., ended: _Optional[_Union[Ended, _Mapping]] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("sid", "sample_rate")
    SID_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    sid: str
    sample_rate: int
    def __init__(self, sid: _Optional[str] = ..., sample_rate: _Optional[int] = ...) -> None: ...

class AgentAudio(_message.Message):
    __slots__ = ("pcm", "epoch", "turn", "offset_samples")
    PCM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    OFFSET_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    pcm: bytes
    epoch: int
    turn: int
    offset_samples: int
    def __init__(self, pcm: _Optional[bytes] = ..., epoch: _Optional[int] = ..., turn: _Optional[int] = ..., offset_samples: _Optional[int] = ...) -> None: ...

class Caption(_message.Message):
    __slots__ = ("speaker", "text", "is_final", "turn")
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    speaker: Speaker
    text: str
    is_final: bool
    turn: int
    def __init__(self, speaker: _Optional[_Union[Speaker, str]] = ..., text: _Optional[str] = ..., is_final: _Optional[bool] = ..., turn: _Optional[int] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("kind", "turn", "epoch", "name", "detail_json")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DETAIL_JSON_FIELD_NUMBER: _ClassVar[int]
    kind: EventKind
    turn: int
    epoch: int
    name: str
    detail_json: str
    def __init__(self, kind: _Optional[_Union[EventKind, str]] = ..., turn: _Optional[int] = ..., epoch: _Optional[int] = ..., name: _Optional[str] = ..., detail_json: _Optional[str] = ...) -> None: ...

class Ended(_message.Message):
    __slots__ = ("by",)
    BY_FIELD_NUMBER: _ClassVar[int]
    by: str
    def __init__(self, by: _Optional[str] = ...) -> None: ...
