from halfbeat.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EpochCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EPOCH_CAUSE_UNSPECIFIED: _ClassVar[EpochCause]
    EPOCH_CAUSE_BARGE_IN: _ClassVar[EpochCause]
    EPOCH_CAUSE_CANCELLED: _ClassVar[EpochCause]
    EPOCH_CAUSE_TAKEOVER: _ClassVar[EpochCause]
    EPOCH_CAUSE_RESUMED: _ClassVar[EpochCause]
EPOCH_CAUSE_UNSPECIFIED: EpochCause
EPOCH_CAUSE_BARGE_IN: EpochCause
EPOCH_CAUSE_CANCELLED: EpochCause
EPOCH_CAUSE_TAKEOVER: EpochCause
EPOCH_CAUSE_RESUMED: EpochCause

class SessionConfig(_message.Message):
    __slots__ = ("caller_number", "attributes", "application", "instructions", "client_tools", "language", "voice", "has_opening", "max_answer_tokens", "temperature")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CALLER_NUMBER_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_TOOLS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    VOICE_FIELD_NUMBER: _ClassVar[int]
    HAS_OPENING_FIELD_NUMBER: _ClassVar[int]
    MAX_ANSWER_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    caller_number: str
    attributes: _containers.ScalarMap[str, str]
    application: str
    instructions: str
    client_tools: _containers.RepeatedCompositeFieldContainer[ClientTool]
    language: str
    voice: str
    has_opening: bool
    max_answer_tokens: int
    temperature: float
    def __init__(self, caller_number: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., application: _Optional[str] = ..., instructions: _Optional[str] = ..., client_tools: _Optional[_Iterable[_Union[ClientTool, _Mapping]]] = ..., language: _Optional[str] = ..., voice: _Optional[str] = ..., has_opening: _Optional[bool] = ..., max_answer_tokens: _Optional[int] = ..., temperature: _Optional[float] = ...) -> None: ...

class ClientTool(_message.Message):
    __slots__ = ("name", "description", "parameters_json")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_JSON_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    parameters_json: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., parameters_json: _Optional[str] = ...) -> None: ...

class OpenRequest(_message.Message):
    __slots__ = ("stamp", "config")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    config: SessionConfig
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., config: _Optional[_Union[SessionConfig, _Mapping]] = ...) -> None: ...

class OpenReply(_message.Message):
    __slots__ = ("worker", "error", "free_slots")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    FREE_SLOTS_FIELD_NUMBER: _ClassVar[int]
    worker: str
    error: _common_pb2.Error
    free_slots: int
    def __init__(self, worker: _Optional[str] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ..., free_slots: _Optional[int] = ...) -> None: ...

class EpochAdvanced(_message.Message):
    __slots__ = ("stamp", "cause")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    cause: EpochCause
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., cause: _Optional[_Union[EpochCause, str]] = ...) -> None: ...

class SessionUpdated(_message.Message):
    __slots__ = ("stamp", "config")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    config: SessionConfig
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., config: _Optional[_Union[SessionConfig, _Mapping]] = ...) -> None: ...

class SessionClosed(_message.Message):
    __slots__ = ("stamp", "error", "by")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    error: _common_pb2.Error
    by: str
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ..., by: _Optional[str] = ...) -> None: ...

class WorkerStatus(_message.Message):
    __slots__ = ("stamp", "service", "worker", "error", "is_closed")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    IS_CLOSED_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    service: str
    worker: str
    error: _common_pb2.Error
    is_closed: bool
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., service: _Optional[str] = ..., worker: _Optional[str] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ..., is_closed: _Optional[bool] = ...) -> None: ...
