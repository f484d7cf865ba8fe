"""Tools that the client executes: which calls wait for a result. No I/O."""

from halfbeat import subjects
from halfbeat.errors import NotFound
from halfbeat.v1 import common_pb2, dialogue_pb2
from services.router.wire import Wire


class ClientTools:
    """Remembers the calls of one session until their results come."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._stamps: dict[str, common_pb2.Stamp] = {}

    def called(self, tool: dialogue_pb2.ToolCall) -> None:
        """The client was told of a call."""
        self._stamps[tool.call_id] = tool.stamp

    def returned(self, call_id: str, output_json: str) -> dialogue_pb2.ToolResult:
        """Makes the message for dialogue; a result counts once.

        Raises:
            NotFound: no such call waits.
        """
        stamp = self._stamps.pop(call_id, None)
        if stamp is None:
            raise NotFound(f"no tool call {call_id!r} waits for a result")
        return dialogue_pb2.ToolResult(
            stamp=self._wire.stamp(subjects.TOOL_RESULT, stamp.epoch, stamp.turn, stamp.revision),
            call_id=call_id,
            result_json=output_json,
        )
