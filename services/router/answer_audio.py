"""One answer's audio on its way to the caller: clauses in order, what left and can be repeated, what was heard. No I/O.

Two timelines meet here. The *call's* counts samples sent to the edge and never goes back. The *answer's* counts its
content: when sound is repeated, the same content is sent again at a later place of the call's. A `Take` is a stretch of
the call's timeline in which content leaves in order.
"""

from dataclasses import dataclass, field

from halfbeat.audio import BYTES_PER_SAMPLE, RATE_HZ, Resampler
from services.router.heard import Word, chars_heard

#: What left is kept this long, so that it can be repeated from the start of a word on.
KEEP_MS = 5000


@dataclass(slots=True)
class Clause:
    """A clause: its text, its audio that waits and how much of it left."""

    index: int
    text: str
    # Where it begins on the answer's timeline and how much of it has left, in samples at the edge's rate.
    begin: int | None = None
    received: int = 0
    sent: int = 0
    is_last: bool = False
    is_failed: bool = False
    words: list[Word] = field(default_factory=list)
    # At 16 kHz, as it came; and at the edge's rate, ready to leave.
    raw: bytearray = field(default_factory=bytearray)
    ready: bytearray = field(default_factory=bytearray)
    is_converted: bool = False

    @property
    def is_all_sent(self) -> bool:
        """Whether all of its audio came and left."""
        return self.is_last and self.is_converted and not self.ready

    def convert(self, resampler: Resampler, frame_bytes: int) -> None:
        """Brings what came to the edge's rate; the end is padded to a whole frame."""
        if self.raw:
            self.ready += resampler.process(bytes(self.raw))
            self.raw.clear()
        if self.is_last and not self.is_converted:
            self.is_converted = True
            if self.received:
                self.ready += resampler.flush()
                self.ready += bytes(-len(self.ready) % frame_bytes)

    def chars(self, heard: int, rate_hz: int) -> int:
        """Characters whose audio is among the first `heard` samples."""
        if self.is_all_sent and heard >= self.sent:
            return len(self.text)
        total = self.received if self.is_last else None
        return chars_heard(self.text, self.words, heard * RATE_HZ // rate_hz, self.received, total)


@dataclass(slots=True)
class Take:
    """From `call_begin` on the call's timeline the answer's content leaves from `begin` on.

    Attributes:
        cap: content from here on does not count as heard: it was ducked, and nobody knows yet whether it will be
            repeated; None when all counts.
    """

    call_begin: int
    begin: int
    cap: int | None = None


@dataclass(slots=True)
class AnswerAudio:
    """An answer as the playout holds it. Positions in samples at the edge's rate."""

    epoch: int
    turn: int
    revision: int
    # A draft: rendered, but silent until a commit opens it.
    is_draft: bool = False
    clauses: dict[int, Clause] = field(default_factory=dict)
    # Clause being played, and how many there will be.
    position: int = 0
    expected: int | None = None
    has_begun: bool = False
    is_audible: bool = False
    marked_ms: int = -1
    marked_clause: int = -1
    # The next content to leave; behind `sent` while something is repeated.
    cursor: int = 0
    sent: int = 0
    takes: list[Take] = field(default_factory=list)
    _kept: bytearray = field(default_factory=bytearray)

    def is_numbered(self, epoch: int, turn: int, revision: int) -> bool:
        """Whether these are its numbers."""
        return (self.epoch, self.turn, self.revision) == (epoch, turn, revision)

    def clause(self, index: int) -> Clause:
        """The clause of this index, made when it is new."""
        return self.clauses.setdefault(index, Clause(index, ""))

    # --- leaving and repeating --------------------------------------------------------------------------------------

    @property
    def is_repeating(self) -> bool:
        """Whether what leaves next has left before."""
        return self.cursor < self.sent

    def take_frame(self, clause: Clause | None, frame_bytes: int, rate_hz: int) -> bytes:
        """Returns the next whole frame: one that is repeated, or the clause's next."""
        if self.is_repeating:
            at = len(self._kept) - (self.sent - self.cursor) * BYTES_PER_SAMPLE
            pcm = bytes(self._kept[at : at + frame_bytes])
        else:
            assert clause is not None
            pcm = bytes(clause.ready[:frame_bytes])
            del clause.ready[:frame_bytes]
            self._kept += pcm
            keep = KEEP_MS * rate_hz // 1000 * BYTES_PER_SAMPLE
            if len(self._kept) > 2 * keep:
                del self._kept[:-keep]
            self.sent += len(pcm) // BYTES_PER_SAMPLE
            clause.sent += len(pcm) // BYTES_PER_SAMPLE
        self.cursor += len(pcm) // BYTES_PER_SAMPLE
        return pcm

    def go_back(self, content: int, call_position: int, frame_samples: int) -> None:
        """Repeats from the frame with this content on, as far back as is kept."""
        oldest = self.sent - len(self._kept) // BYTES_PER_SAMPLE
        self.cursor = max(content // frame_samples * frame_samples, oldest)
        self.takes.append(Take(call_position, self.cursor))

    def word_start(self, content: int, rate_hz: int) -> int:
        """Where the word begins that sounds at this place; the place itself between words, or without timings."""
        for clause in self.clauses.values():
            if clause.begin is None or not clause.begin <= content < clause.begin + clause.sent:
                continue
            at = (content - clause.begin) * RATE_HZ // rate_hz
            for word in clause.words:
                if word.start_samples <= at < word.end_samples:
                    return clause.begin + word.start_samples * rate_hz // RATE_HZ
        return content

    # --- what was heard ---------------------------------------------------------------------------------------------

    def heard_until(self, call_position: int) -> int:
        """How much of the content was heard once the caller's end has played the call's audio up to there."""
        heard, end = 0, call_position
        for take in reversed(self.takes):
            content = take.begin + max(0, min(end, call_position) - take.call_begin)
            heard = max(heard, content if take.cap is None else min(content, take.cap))
            end = take.call_begin
        return heard
