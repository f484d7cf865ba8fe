from halfbeat.v1 import common_pb2 as _common_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Clause(_message.Message):
    __slots__ = ("stamp", "index", "text", "is_filler", "is_draft", "budget_left_ms")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IS_FILLER_FIELD_NUMBER: _ClassVar[int]
    IS_DRAFT_FIELD_NUMBER: _ClassVar[int]
    BUDGET_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    index: int
    text: str
    is_filler: bool
    is_draft: bool
    budget_left_ms: int
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., index: _Optional[int] = ..., text: _Optional[str] = ..., is_filler: _Optional[bool] = ..., is_draft: _Optional[bool] = ..., budget_left_ms: _Optional[int] = ...) -> None: ...

class DraftVoided(_message.Message):
    __slots__ = ("stamp",)
    STAMP_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ...) -> None: ...

class AnswerDone(_message.Message):
    __slots__ = ("stamp", "clauses", "prompt_tokens", "cached_tokens", "completion_tokens", "hangs_up", "error", "wasted_tokens", "is_over_budget")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    CLAUSES_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    HANGS_UP_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    WASTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    IS_OVER_BUDGET_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    clauses: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    hangs_up: bool
    error: _common_pb2.Error
    wasted_tokens: int
    is_over_budget: bool
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., clauses: _Optional[int] = ..., prompt_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., hangs_up: _Optional[bool] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ..., wasted_tokens: _Optional[int] = ..., is_over_budget: _Optional[bool] = ...) -> None: ...

class ToolCall(_message.Message):
    __slots__ = ("stamp", "call_id", "name", "arguments_json", "is_client", "idempotency_key")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    IS_CLIENT_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    call_id: str
    name: str
    arguments_json: str
    is_client: bool
    idempotency_key: str
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., call_id: _Optional[str] = ..., name: _Optional[str] = ..., arguments_json: _Optional[str] = ..., is_client: _Optional[bool] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class ToolResult(_message.Message):
    __slots__ = ("stamp", "call_id", "name", "result_json", "error", "took_ms")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TOOK_MS_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    call_id: str
    name: str
    result_json: str
    error: _common_pb2.Error
    took_ms: int
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., call_id: _Optional[str] = ..., name: _Optional[str] = ..., result_json: _Optional[str] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ..., took_ms: _Optional[int] = ...) -> None: ...
