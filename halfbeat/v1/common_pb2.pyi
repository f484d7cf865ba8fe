from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_CODE_UNSPECIFIED: _ClassVar[ErrorCode]
    ERROR_CODE_INVALID: _ClassVar[ErrorCode]
    ERROR_CODE_AT_CAPACITY: _ClassVar[ErrorCode]
    ERROR_CODE_UNAVAILABLE: _ClassVar[ErrorCode]
    ERROR_CODE_TIMED_OUT: _ClassVar[ErrorCode]
    ERROR_CODE_TOO_FAST: _ClassVar[ErrorCode]
    ERROR_CODE_ENGINE: _ClassVar[ErrorCode]
    ERROR_CODE_TOOL: _ClassVar[ErrorCode]
    ERROR_CODE_INTERNAL: _ClassVar[ErrorCode]
    ERROR_CODE_DENIED: _ClassVar[ErrorCode]
    ERROR_CODE_NOT_FOUND: _ClassVar[ErrorCode]
ERROR_CODE_UNSPECIFIED: ErrorCode
ERROR_CODE_INVALID: ErrorCode
ERROR_CODE_AT_CAPACITY: ErrorCode
ERROR_CODE_UNAVAILABLE: ErrorCode
ERROR_CODE_TIMED_OUT: ErrorCode
ERROR_CODE_TOO_FAST: ErrorCode
ERROR_CODE_ENGINE: ErrorCode
ERROR_CODE_TOOL: ErrorCode
ERROR_CODE_INTERNAL: ErrorCode
ERROR_CODE_DENIED: ErrorCode
ERROR_CODE_NOT_FOUND: ErrorCode

class Stamp(_message.Message):
    __slots__ = ("sid", "epoch", "turn", "revision", "seq", "residence")
    SID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    RESIDENCE_FIELD_NUMBER: _ClassVar[int]
    sid: str
    epoch: int
    turn: int
    revision: int
    seq: int
    residence: _containers.RepeatedCompositeFieldContainer[Residence]
    def __init__(self, sid: _Optional[str] = ..., epoch: _Optional[int] = ..., turn: _Optional[int] = ..., revision: _Optional[int] = ..., seq: _Optional[int] = ..., residence: _Optional[_Iterable[_Union[Residence, _Mapping]]] = ...) -> None: ...

class Residence(_message.Message):
    __slots__ = ("hop", "queue_us", "work_us")
    HOP_FIELD_NUMBER: _ClassVar[int]
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    WORK_US_FIELD_NUMBER: _ClassVar[int]
    hop: str
    queue_us: int
    work_us: int
    def __init__(self, hop: _Optional[str] = ..., queue_us: _Optional[int] = ..., work_us: _Optional[int] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message", "retryable")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    code: ErrorCode
    message: str
    retryable: bool
    def __init__(self, code: _Optional[_Union[ErrorCode, str]] = ..., message: _Optional[str] = ..., retryable: _Optional[bool] = ...) -> None: ...
