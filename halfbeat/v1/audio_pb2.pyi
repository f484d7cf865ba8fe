from halfbeat.v1 import common_pb2 as _common_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AudioFrame(_message.Message):
    __slots__ = ("stamp", "offset_samples", "pcm", "is_speech")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    OFFSET_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    PCM_FIELD_NUMBER: _ClassVar[int]
    IS_SPEECH_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    offset_samples: int
    pcm: bytes
    is_speech: bool
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., offset_samples: _Optional[int] = ..., pcm: _Optional[bytes] = ..., is_speech: _Optional[bool] = ...) -> None: ...
