"""What can go wrong, sorted by what the receiver can do about it.

    HalfbeatError
    ├── InvalidRequest      the message or setting is wrong; do not repeat it
    │   └── NotFound        the session, item or method does not exist
    ├── Denied              no permission
    ├── AtCapacity          no free slot; another worker or later       (retryable)
    ├── Unavailable         nobody serves this now                      (retryable)
    ├── TimedOut            took longer than its deadline               (retryable)
    ├── TooFast             the sender exceeds the agreed rate
    ├── EngineFailed        a model or the LLM server failed            (retryable)
    ├── ToolFailed          a tool raised, hung or does not exist
    └── InternalError       a defect of ours

Each class has one `ErrorCode`; `CODES` maps it to gRPC, HTTP and WebSocket close codes.
"""

from dataclasses import dataclass
from typing import ClassVar

from halfbeat.v1 import common_pb2 as pb


class HalfbeatError(Exception):
    """Root of all errors that cross a boundary. The text is for a person and holds no caller's words."""

    code: ClassVar["pb.ErrorCode"] = pb.ERROR_CODE_INTERNAL
    retryable: ClassVar[bool] = False

    def to_message(self) -> pb.Error:
        """Returns the error as it travels on the bus and over gRPC."""
        return pb.Error(code=self.code, message=str(self), retryable=self.retryable)


class InvalidRequest(HalfbeatError):
    """The message or setting is wrong; sending it again will not help."""

    code = pb.ERROR_CODE_INVALID


class NotFound(InvalidRequest):
    """The session, item or method does not exist."""

    code = pb.ERROR_CODE_NOT_FOUND


class Denied(HalfbeatError):
    """Called without permission."""

    code = pb.ERROR_CODE_DENIED


class AtCapacity(HalfbeatError):
    """No free slot; another worker may have one."""

    code = pb.ERROR_CODE_AT_CAPACITY
    retryable = True


class Unavailable(HalfbeatError):
    """Nobody serves this now: no worker, or the connection is down."""

    code = pb.ERROR_CODE_UNAVAILABLE
    retryable = True


class TimedOut(HalfbeatError):
    """It took longer than its deadline."""

    code = pb.ERROR_CODE_TIMED_OUT
    retryable = True


class TooFast(HalfbeatError):
    """The sender exceeds the agreed rate."""

    code = pb.ERROR_CODE_TOO_FAST


class EngineFailed(HalfbeatError):
    """A model or the LLM server failed."""

    code = pb.ERROR_CODE_ENGINE
    retryable = True


class ToolFailed(HalfbeatError):
    """A tool raised, hung, does not exist or was called with wrong arguments."""

    code = pb.ERROR_CODE_TOOL


class InternalError(HalfbeatError):
    """A defect of ours."""

    code = pb.ERROR_CODE_INTERNAL


@dataclass(frozen=True)
class Codes:
    """One error in the terms of each edge."""

    grpc: str
    http: int
    websocket: int


CODES: dict[int, Codes] = {
    pb.ERROR_CODE_INVALID: Codes("INVALID_ARGUMENT", 400, 1008),
    pb.ERROR_CODE_NOT_FOUND: Codes("NOT_FOUND", 404, 1008),
    pb.ERROR_CODE_DENIED: Codes("PERMISSION_DENIED", 403, 1008),
    pb.ERROR_CODE_AT_CAPACITY: Codes("RESOURCE_EXHAUSTED", 503, 1013),
    pb.ERROR_CODE_UNAVAILABLE: Codes("UNAVAILABLE", 503, 1013),
    pb.ERROR_CODE_TIMED_OUT: Codes("DEADLINE_EXCEEDED", 504, 1013),
    pb.ERROR_CODE_TOO_FAST: Codes("RESOURCE_EXHAUSTED", 429, 1008),
    pb.ERROR_CODE_ENGINE: Codes("UNAVAILABLE", 502, 1011),
    pb.ERROR_CODE_TOOL: Codes("FAILED_PRECONDITION", 500, 1011),
    pb.ERROR_CODE_INTERNAL: Codes("INTERNAL", 500, 1011),
}

_CLASSES: dict[int, type[HalfbeatError]] = {
    c.code: c
    for c in (
        InvalidRequest, NotFound, Denied, AtCapacity, Unavailable, TimedOut, TooFast, EngineFailed, ToolFailed,
        InternalError,
    )
}  # fmt: skip


def code_name(code: int) -> str:
    """Name of an error code as metrics and APIs spell it, e.g. "at_capacity"."""
    return pb.ErrorCode.Name(code).removeprefix("ERROR_CODE_").lower()


def from_message(error: pb.Error) -> HalfbeatError:
    """Turns an error received on the bus back into its class; unknown codes become `InternalError`."""
    return _CLASSES.get(error.code, InternalError)(error.message)
