from halfbeat.v1 import common_pb2 as _common_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AsrControl(_message.Message):
    __slots__ = ("stamp", "speech_started", "flush", "reset")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    SPEECH_STARTED_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    speech_started: SpeechStarted
    flush: Flush
    reset: Reset
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., speech_started: _Optional[_Union[SpeechStarted, _Mapping]] = ..., flush: _Optional[_Union[Flush, _Mapping]] = ..., reset: _Optional[_Union[Reset, _Mapping]] = ...) -> None: ...

class SpeechStarted(_message.Message):
    __slots__ = ("offset_samples",)
    OFFSET_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    offset_samples: int
    def __init__(self, offset_samples: _Optional[int] = ...) -> None: ...

class Flush(_message.Message):
    __slots__ = ("offset_samples",)
    OFFSET_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    offset_samples: int
    def __init__(self, offset_samples: _Optional[int] = ...) -> None: ...

class Reset(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Transcript(_message.Message):
    __slots__ = ("stamp", "stable", "unstable", "is_final", "start_samples", "end_samples", "confidence")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    STABLE_FIELD_NUMBER: _ClassVar[int]
    UNSTABLE_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    stable: str
    unstable: str
    is_final: bool
    start_samples: int
    end_samples: int
    confidence: float
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., stable: _Optional[str] = ..., unstable: _Optional[str] = ..., is_final: _Optional[bool] = ..., start_samples: _Optional[int] = ..., end_samples: _Optional[int] = ..., confidence: _Optional[float] = ...) -> None: ...
