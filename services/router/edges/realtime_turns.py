"""The caller's spoken turns as items: which item a turn of the call belongs to, and its transcript so far. No I/O."""

from collections import deque

from services.router.edges.realtime_events import Event, NewId


class CallerTurns:
    """Maps turns of the call to items of the conversation.

    A turn gets its item when speech starts, or when the client commits; a commit may come before the call has named
    the turn, then the next one committed takes the item. A turn that the caller goes on with after its commit keeps
    its item; only the transcript grows.
    """

    def __init__(self, new_id: NewId) -> None:
        self._new_id = new_id
        self._items: dict[int, str] = {}
        self._open: int | None = None
        self._shown: deque[str] = deque()
        self._is_speaking = False
        self._said: dict[str, str] = {}
        self._last: tuple[int, str] | None = None

    def started(self, turn: int, offset_ms: int) -> list[Event]:
        """The caller began to speak."""
        self._open, self._is_speaking = turn, True
        return [{"type": "input_audio_buffer.speech_started", "audio_start_ms": offset_ms, "item_id": self._item(turn)}]

    def stopped(self, turn: int, offset_ms: int) -> list[Event]:
        """The caller paused or ended."""
        if not self._is_speaking:
            return []
        self._is_speaking = False
        return [{"type": "input_audio_buffer.speech_stopped", "audio_end_ms": offset_ms, "item_id": self._item(turn)}]

    def heard(self, turn: int, text: str) -> list[Event]:
        """More of the transcript; silent while words that were shown already are being revised."""
        item = self._item(turn)
        said = self._said.get(item, "")
        if not text.startswith(said) or text == said:
            return []
        self._said[item] = text
        return [_delta(item, text[len(said) :])]

    def commit(self) -> str:
        """The client ended the turn: returns the item, which is shown at once."""
        turn, self._open, self._is_speaking = self._open, None, False
        item = self._item(turn) if turn is not None else self._new_id("item")
        self._shown.append(item)
        return item

    def expect(self, item: str) -> None:
        """The client added a spoken message as this item; the next turn committed is it."""
        self._shown.append(item)

    def clear(self) -> None:
        """The client threw the uncommitted audio away."""
        if self._open is not None:
            self._items.pop(self._open, None)
        self._open, self._is_speaking = None, False

    def knows(self, turn: int) -> bool:
        """Whether this turn has an item, or will take one that is shown already."""
        return turn in self._items or bool(self._shown)

    def committed(self, turn: int) -> tuple[str, bool]:
        """The call ended the turn: returns its item, and whether it must be shown now."""
        is_again = self._last is not None and self._last[0] == turn
        item = self._items.pop(turn, None)
        if self._open == turn:
            self._open, self._is_speaking = None, False
        is_shown = item in self._shown or is_again
        if item is None:
            is_shown = bool(self._shown)
            item = self._shown.popleft() if self._shown else self._new_id("item")
        elif item in self._shown:
            self._shown.remove(item)
        if self._last is not None and self._last[1] != item:
            self._said.pop(self._last[1], None)
        self._last = (turn, item)
        return item, not is_shown

    def transcribed(self, item: str, transcript: str) -> list[Event]:
        """The whole transcript of a committed turn."""
        said = self._said.get(item, "")
        self._said[item] = transcript
        rest = transcript[len(said) :] if transcript.startswith(said) else ""
        return [
            *([_delta(item, rest)] if rest else []),
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "item_id": item,
                "content_index": 0,
                "transcript": transcript,
                "usage": {"type": "tokens", "input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
            },
        ]

    def _item(self, turn: int) -> str:
        if turn not in self._items:
            last_turn, last_item = self._last or (None, "")
            self._items[turn] = last_item if turn == last_turn else self._new_id("item")
        return self._items[turn]


def _delta(item: str, text: str) -> Event:
    return {
        "type": "conversation.item.input_audio_transcription.delta",
        "item_id": item,
        "content_index": 0,
        "delta": text,
    }
