"""Lets the page look over the edges' shoulders: calls pass through unchanged, their events also reach the board."""

import time
from collections.abc import AsyncIterator

from halfbeat.v1 import session_pb2
from services.router.board import Board
from services.router.edge import CallEvent, Calls, EdgeFormat, Ended, LiveCall


class WatchedCalls:
    """`Calls` whose calls appear on the board."""

    def __init__(self, calls: Calls, board: Board) -> None:
        """Takes where calls really come from, and the board."""
        self._calls, self._board = calls, board

    async def open(self, config: session_pb2.SessionConfig, fmt: EdgeFormat, *, edge: str, sid: str = "") -> LiveCall:
        """See `Calls.open`."""
        call = await self._calls.open(config, fmt, edge=edge, sid=sid)
        self._board.opened(call.sid, config, edge, time.time())
        return _WatchedCall(call, self._board)


class _WatchedCall:
    def __init__(self, call: LiveCall, board: Board) -> None:
        self._call, self._board = call, board
        self.sid = call.sid
        self.receive_audio, self.played = call.receive_audio, call.played
        self.send_text, self.add_text = call.send_text, call.add_text
        self.commit_input, self.clear_input = call.commit_input, call.clear_input
        self.create_response, self.interrupt, self.truncate = call.create_response, call.interrupt, call.truncate
        self.return_tool, self.update = call.return_tool, call.update

    async def events(self) -> AsyncIterator[CallEvent]:
        async for event in self._call.events():
            self._board.happened(self.sid, event)
            if isinstance(event, Ended):
                self._board.ended(self.sid, event.by)
            yield event

    def end(self, by: str = "caller") -> None:
        self._call.end(by)
        self._board.ended(self.sid, by)
