from halfbeat.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EndpointKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENDPOINT_KIND_UNSPECIFIED: _ClassVar[EndpointKind]
    ENDPOINT_KIND_EAGER: _ClassVar[EndpointKind]
    ENDPOINT_KIND_COMMITTED: _ClassVar[EndpointKind]
    ENDPOINT_KIND_RESUMED: _ClassVar[EndpointKind]

class PromptCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROMPT_CAUSE_UNSPECIFIED: _ClassVar[PromptCause]
    PROMPT_CAUSE_OPENING: _ClassVar[PromptCause]
    PROMPT_CAUSE_CLIENT: _ClassVar[PromptCause]
    PROMPT_CAUSE_SILENCE: _ClassVar[PromptCause]
    PROMPT_CAUSE_SILENCE_AGAIN: _ClassVar[PromptCause]
    PROMPT_CAUSE_GOODBYE: _ClassVar[PromptCause]
ENDPOINT_KIND_UNSPECIFIED: EndpointKind
ENDPOINT_KIND_EAGER: EndpointKind
ENDPOINT_KIND_COMMITTED: EndpointKind
ENDPOINT_KIND_RESUMED: EndpointKind
PROMPT_CAUSE_UNSPECIFIED: PromptCause
PROMPT_CAUSE_OPENING: PromptCause
PROMPT_CAUSE_CLIENT: PromptCause
PROMPT_CAUSE_SILENCE: PromptCause
PROMPT_CAUSE_SILENCE_AGAIN: PromptCause
PROMPT_CAUSE_GOODBYE: PromptCause

class Endpoint(_message.Message):
    __slots__ = ("stamp", "kind", "probability", "silence_ms", "speech_end_samples", "cause")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SILENCE_MS_FIELD_NUMBER: _ClassVar[int]
    SPEECH_END_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    kind: EndpointKind
    probability: float
    silence_ms: int
    speech_end_samples: int
    cause: str
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., kind: _Optional[_Union[EndpointKind, str]] = ..., probability: _Optional[float] = ..., silence_ms: _Optional[int] = ..., speech_end_samples: _Optional[int] = ..., cause: _Optional[str] = ...) -> None: ...

class TurnDrafted(_message.Message):
    __slots__ = ("stamp", "transcript", "budget_left_ms")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    BUDGET_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    transcript: str
    budget_left_ms: int
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., transcript: _Optional[str] = ..., budget_left_ms: _Optional[int] = ...) -> None: ...

class TurnCommitted(_message.Message):
    __slots__ = ("stamp", "transcript", "budget_left_ms", "is_prompted", "instructions", "wants_answer", "adopts_draft", "prompt_cause")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    BUDGET_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    IS_PROMPTED_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    WANTS_ANSWER_FIELD_NUMBER: _ClassVar[int]
    ADOPTS_DRAFT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_CAUSE_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    transcript: str
    budget_left_ms: int
    is_prompted: bool
    instructions: str
    wants_answer: bool
    adopts_draft: bool
    prompt_cause: PromptCause
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., transcript: _Optional[str] = ..., budget_left_ms: _Optional[int] = ..., is_prompted: _Optional[bool] = ..., instructions: _Optional[str] = ..., wants_answer: _Optional[bool] = ..., adopts_draft: _Optional[bool] = ..., prompt_cause: _Optional[_Union[PromptCause, str]] = ...) -> None: ...

class Heard(_message.Message):
    __slots__ = ("stamp", "clause", "chars", "played_ms", "is_complete", "is_cut")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    CLAUSE_FIELD_NUMBER: _ClassVar[int]
    CHARS_FIELD_NUMBER: _ClassVar[int]
    PLAYED_MS_FIELD_NUMBER: _ClassVar[int]
    IS_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    IS_CUT_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    clause: int
    chars: int
    played_ms: int
    is_complete: bool
    is_cut: bool
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., clause: _Optional[int] = ..., chars: _Optional[int] = ..., played_ms: _Optional[int] = ..., is_complete: _Optional[bool] = ..., is_cut: _Optional[bool] = ...) -> None: ...

class TurnDone(_message.Message):
    __slots__ = ("stamp", "v2v_ms", "hops_ms", "is_interrupted", "barge_in_ms", "trace_id", "drafts", "is_draft_adopted", "over_budget", "barge_in_hops_ms")
    class HopsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class BargeInHopsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    STAMP_FIELD_NUMBER: _ClassVar[int]
    V2V_MS_FIELD_NUMBER: _ClassVar[int]
    HOPS_MS_FIELD_NUMBER: _ClassVar[int]
    IS_INTERRUPTED_FIELD_NUMBER: _ClassVar[int]
    BARGE_IN_MS_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    DRAFTS_FIELD_NUMBER: _ClassVar[int]
    IS_DRAFT_ADOPTED_FIELD_NUMBER: _ClassVar[int]
    OVER_BUDGET_FIELD_NUMBER: _ClassVar[int]
    BARGE_IN_HOPS_MS_FIELD_NUMBER: _ClassVar[int]
    stamp: _common_pb2.Stamp
    v2v_ms: int
    hops_ms: _containers.ScalarMap[str, int]
    is_interrupted: bool
    barge_in_ms: int
    trace_id: str
    drafts: int
    is_draft_adopted: bool
    over_budget: _containers.RepeatedScalarFieldContainer[str]
    barge_in_hops_ms: _containers.ScalarMap[str, int]
    def __init__(self, stamp: _Optional[_Union[_common_pb2.Stamp, _Mapping]] = ..., v2v_ms: _Optional[int] = ..., hops_ms: _Optional[_Mapping[str, int]] = ..., is_interrupted: _Optional[bool] = ..., barge_in_ms: _Optional[int] = ..., trace_id: _Optional[str] = ..., drafts: _Optional[int] = ..., is_draft_adopted: _Optional[bool] = ..., over_budget: _Optional[_Iterable[str]] = ..., barge_in_hops_ms: _Optional[_Mapping[str, int]] = ...) -> None: ...
