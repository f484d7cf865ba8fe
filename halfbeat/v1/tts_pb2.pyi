from halfbeat.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SpeechAudio(_message.Message):
    __slots__ = ("stamp", "clause", "offset_samples", "pcm", "words", "is_last", "error", "is_over_budget")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    CLAUSE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    PCM_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    IS_LAST_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    IS_OVER_BUDGET_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    clause: int
    offset_samples: int
    pcm: bytes
    words: _containers.RepeatedCompositeFieldContainer[WordTiming]
    is_last: bool
    error: _common_pb2.Error
    is_over_budget: bool
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., clause: _Optional[int] = ..., offset_samples: _Optional[int] = ..., pcm: _Optional[bytes] = ..., words: _Optional[_Iterable[_Union[WordTiming, _Mapping]]] = ..., is_last: _Optional[bool] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ..., is_over_budget: _Optional[bool] = ...) -> None: ...

class PrepareSpeech(_message.Message):
    __slots__ = ("stamp", "texts")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., texts: _Optional[_Iterable[str]] = ...) -> None: ...

class WordTiming(_message.Message):
    __slots__ = ("char_start", "char_end", "start_samples", "end_samples")
    CHAR_START_FIELD_NUMBER: _ClassVar[int]
    CHAR_END_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    char_start: int
    char_end: int
    start_samples: int
    end_samples: int
    def __init__(self, char_start: _Optional[int] = ..., char_end: _Optional[int] = ..., start_samples: _Optional[int] = ..., end_samples: _Optional[int] = ...) -> None: ...
