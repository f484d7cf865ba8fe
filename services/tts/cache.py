"""Audio that was made before: openers, frequent clauses and drafts that come again sound at once. No I/O, no clock.

The key is what is spoken, not how it is written: "Okay, " and "Okay," are the same. Words are told by the characters of
the text that asks.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.tts.engine import WordTiming
from services.tts.framing import Piece
from services.tts.normalise import Spoken, normalise

#: Longer clauses hardly come twice, and would push out many that do.
LONGEST_S = 6.0
_ENTRY_BYTES = 1024  # of an entry without its audio, roughly
_BYTES_PER_S = 32_000


@dataclass(frozen=True, slots=True)
class Saying:
    """A clause as one voice says it.

    Attributes:
        voice: engine, voice and speed.
        items: spoken words and the pause after them, in order.
        spans: characters of the text where each item is written.
    """

    voice: tuple[str, str, float]
    items: tuple[tuple[tuple[str, ...], str], ...]
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, text: str, *, engine: str, voice: str, speed: float) -> "Saying":
        """Returns how the text is said."""
        spoken: tuple[Spoken, ...] = normalise(text)
        return cls(
            (engine, voice, speed),
            tuple((s.words, s.pause) for s in spoken),
            tuple((s.char_start, s.char_end) for s in spoken),
        )


class AudioCache:
    """Pieces of whole clauses, the most recently used ones.

    Attributes:
        bytes: what is held now, roughly.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Takes the bound; 0 keeps nothing."""
        self._limit_bytes = limit_bytes
        self._largest_bytes = min(limit_bytes, int(LONGEST_S * _BYTES_PER_S) + _ENTRY_BYTES)
        self._entries: OrderedDict[object, tuple[Saying, tuple[Piece, ...]]] = OrderedDict()
        self.bytes = 0

    def __contains__(self, saying: Saying) -> bool:
        return (saying.voice, saying.items) in self._entries

    def get(self, saying: Saying) -> tuple[Piece, ...] | None:
        """Returns all pieces of the clause, or None."""
        key = saying.voice, saying.items
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        written, pieces = self._entries[key]
        if written.spans == saying.spans:
            return pieces
        spans = dict(zip(written.spans, saying.spans, strict=True))
        return tuple(replace(piece, words=tuple(_moved(w, spans) for w in piece.words)) for piece in pieces)

    def put(self, saying: Saying, pieces: Sequence[Piece]) -> None:
        """Keeps a clause that was made to its end, if it is short; the least recently used ones go."""
        key = saying.voice, saying.items
        size = _size(pieces)
        if key in self._entries or not saying.items or size > self._largest_bytes:
            return
        self._entries[key] = saying, tuple(pieces)
        self.bytes += size
        while self.bytes > self._limit_bytes:
            _, (_, oldest) = self._entries.popitem(last=False)
            self.bytes -= _size(oldest)


def _size(pieces: Sequence[Piece]) -> int:
    return _ENTRY_BYTES + sum(len(p.pcm) for p in pieces)


def _moved(word: WordTiming, spans: dict[tuple[int, int], tuple[int, int]]) -> WordTiming:
    char_start, char_end = spans[word.char_start, word.char_end]
    return replace(word, char_start=char_start, char_end=char_end)
