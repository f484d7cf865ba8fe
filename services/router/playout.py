"""What the agent says, in real time, and how much of it was heard. No I/O: `advance(now)` says what leaves now.

Audio of an answer comes faster than it is spoken. Each clause is converted to the edge's rate, padded to whole frames
of 20 ms, and leaves frame by frame, `lead_ms` ahead of the moment it sounds. The timeline of the caller's end is
simulated: it plays what it has without a gap; when it runs dry, what comes next begins a new run, so that a stall of
ours is never made up for by a burst. An edge that reports what it played replaces the simulation.
"""

from collections import deque
from dataclasses import dataclass, field

from halfbeat.audio import BYTES_PER_SAMPLE, FRAME_MS, RATE_HZ, Resampler, first_audible, samples_of
from halfbeat.clock import NS_PER_MS, NS_PER_S

HEARD_EVERY_MS = 500
#: An answer longer than this is a defect; what exceeds it is dropped.
MAX_ANSWER_MS = 180_000
#: Without a report for this long the simulation counts again.
REPORT_PATIENCE_MS = 3000


@dataclass(frozen=True, slots=True)
class Word:
    """Characters of a clause's text and when they sound, in samples at 16 kHz since the clause began."""

    char_start: int
    char_end: int
    start_samples: int
    end_samples: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame to be sent now. `offset_samples`: agent audio before it since the call began, at the edge's rate."""

    pcm: bytes
    epoch: int
    turn: int
    offset_samples: int


@dataclass(frozen=True, slots=True)
class Began:
    """The first audible sample of an answer sounds at `audible_ns` at the caller's end, the network aside."""

    turn: int
    audible_ns: int


@dataclass(frozen=True, slots=True)
class ClauseBegan:
    """The first frame of a clause leaves."""

    turn: int
    clause: int
    text: str


@dataclass(frozen=True, slots=True)
class HeardMark:
    """How much of an answer the caller has heard. `text`: the words, fillers included."""

    epoch: int
    turn: int
    revision: int
    clause: int
    chars: int
    played_ms: int
    text: str = ""
    is_complete: bool = False
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class RanDry:
    """The caller heard silence within an answer, known when sound goes on. `in_clause`: within a word, likely."""

    gap_ms: int
    in_clause: bool


Output = Frame | Began | ClauseBegan | HeardMark | RanDry


@dataclass(slots=True)
class _Clause:
    index: int
    text: str
    # Where it begins and how much of it has left, in edge samples since the call began.
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
        return self.is_last and self.is_converted and not self.ready


@dataclass(slots=True)
class _Answer:
    epoch: int
    turn: int
    revision: int
    clauses: dict[int, _Clause] = field(default_factory=dict)
    position: int = 0
    expected: int | None = None
    has_begun: bool = False
    is_audible: bool = False
    marked_ms: int = -1
    marked_clause: int = -1
    # A draft: rendered, but silent until a commit opens it.
    is_draft: bool = False


class Playout:
    """One call's agent voice. Deliveries may come out of order and twice; what is not of this answer is refused."""

    def __init__(self, rate_hz: int, *, lead_ms: int, reports: bool) -> None:
        self._rate, self._reports = rate_hz, reports
        self._lead_ns = max(FRAME_MS, lead_ms) * NS_PER_MS
        self._frame_bytes = rate_hz * FRAME_MS // 1000 * BYTES_PER_SAMPLE
        self._resampler = Resampler(RATE_HZ, rate_hz)
        self._answer: _Answer | None = None
        self._is_held = False
        self._sent = 0
        # When sample `_run_begin` sounded or will sound, as simulated.
        self._run_ns, self._run_begin = 0, 0
        self._reported, self._reported_ns = 0, -REPORT_PATIENCE_MS * NS_PER_MS
        self._finished: deque[_Answer] = deque(maxlen=4)
        self.dropped_ms = 0

    # --- filling ----------------------------------------------------------------------------------------------------

    def begin(self, epoch: int, turn: int, revision: int, *, is_draft: bool = False) -> None:
        """An answer was asked for; from now on only its audio is taken. A draft is silent until `adopt`."""
        self._answer = _Answer(epoch, turn, revision, is_draft=is_draft)
        self._resampler.clear()

    def adopt(self, epoch: int, turn: int, revision: int) -> bool:
        """Makes the draft with these numbers the answer, which may sound at once; returns whether there was one."""
        answer = self._of(epoch, turn, revision)
        if answer is None or not answer.is_draft:
            return False
        answer.is_draft = False
        return True

    def drop_draft(self) -> None:
        """Throws a draft away, of which nothing was heard."""
        if self._answer is not None and self._answer.is_draft:
            self._answer = None

    def add_clause(self, epoch: int, turn: int, revision: int, index: int, text: str) -> bool:
        """Takes a clause's text; returns False for a stale or repeated one."""
        answer = self._of(epoch, turn, revision)
        if answer is None or (index in answer.clauses and answer.clauses[index].text):
            return False
        self._clause(answer, index).text = text
        return True

    def add_audio(
        self,
        epoch: int,
        turn: int,
        revision: int,
        index: int,
        offset_samples: int,
        pcm: bytes,
        *,
        words: tuple[Word, ...] = (),
        is_last: bool = False,
        is_failed: bool = False,
    ) -> bool:
        """Takes audio of a clause at 16 kHz; returns False for what is stale or came before."""
        answer = self._of(epoch, turn, revision)
        if answer is None:
            return False
        clause = self._clause(answer, index)
        if clause.is_last or offset_samples < clause.received:
            return False
        if offset_samples > clause.received:  # lost on the way: silence keeps the word timings true
            gap = min(offset_samples - clause.received, RATE_HZ)
            clause.raw += bytes(gap * BYTES_PER_SAMPLE)
        clause.received = offset_samples + len(pcm) // BYTES_PER_SAMPLE
        if clause.received * 1000 // RATE_HZ > MAX_ANSWER_MS:
            self.dropped_ms += len(pcm) // BYTES_PER_SAMPLE * 1000 // RATE_HZ
        else:
            clause.raw += pcm
        clause.words.extend(words)
        clause.is_last, clause.is_failed = is_last, is_failed
        return True

    def finish(self, epoch: int, turn: int, revision: int, clauses: int) -> None:
        """The answer has this many clauses and no more."""
        answer = self._of(epoch, turn, revision)
        if answer is not None:
            answer.expected = clauses

    def hold(self) -> None:
        """Begins no answer until `release`; one that sounds already goes on."""
        self._is_held = True

    def release(self) -> None:
        """Takes `hold` back."""
        self._is_held = False

    def cut(self, now_ns: int) -> HeardMark | None:
        """Throws the answer away; returns what was heard of it, or None when there was none."""
        answer, self._answer = self._answer, None
        self._is_held = False
        if answer is None:
            return None
        mark = self._mark(answer, now_ns, is_cut=True)
        # What the caller's end still holds is thrown away there, too.
        heard_until = self._position(now_ns)
        self._run_ns, self._run_begin = now_ns, self._sent
        self._reported = max(self._reported, heard_until)
        self._finished.append(answer)
        return mark

    def played(self, samples: int, now_ns: int) -> None:
        """The caller's end has played this many samples since the call began. More than was sent is taken as all."""
        self._reported = max(self._reported, min(samples, self._sent))
        self._reported_ns = now_ns

    def truncated(self, turn: int, played_ms: int) -> HeardMark | None:
        """The caller's end says how much of a cut answer it played; None for a turn long gone."""
        for answer in reversed(self._finished):
            if answer.turn == turn:
                begin = min((c.begin for c in answer.clauses.values() if c.begin is not None), default=0)
                return self._mark_at(answer, begin + played_ms * self._rate // 1000, is_cut=True)
        return None

    # --- playing ----------------------------------------------------------------------------------------------------

    @property
    def turn(self) -> int | None:
        """The turn whose answer is awaited or playing."""
        return self._answer.turn if self._answer is not None else None

    @property
    def has_begun(self) -> bool:
        """Whether audio of the present answer was sent."""
        return self._answer is not None and self._answer.has_begun

    def advance(self, now_ns: int) -> list[Output]:
        """Returns what leaves now and what became known."""
        answer = self._answer
        if answer is None or answer.is_draft:
            return []
        outputs: list[Output] = []
        if answer.has_begun or not self._is_held:
            self._send(answer, now_ns, outputs)
        if answer.has_begun or self._is_all_sent(answer):
            self._report(answer, now_ns, outputs)
        return outputs

    def next_ns(self, now_ns: int) -> int | None:
        """When to call `advance` again, if nothing is added meanwhile."""
        answer = self._answer
        if answer is None or answer.is_draft or (self._is_held and not answer.has_begun):
            return None
        if self._current(answer) is not None and self._has_frame(answer):
            return max(now_ns, self._due_ns())
        if self._is_all_sent(answer) or (answer.has_begun and self._position(now_ns) < self._sent):
            return now_ns + FRAME_MS * NS_PER_MS
        return None

    def _send(self, answer: _Answer, now_ns: int, outputs: list[Output]) -> None:
        while self._has_frame(answer):
            clause = self._current(answer)
            assert clause is not None
            dry_ns = now_ns - self._sounds_ns(self._sent)
            if dry_ns > 0:
                if answer.has_begun and dry_ns > NS_PER_MS:
                    outputs.append(RanDry(dry_ns // NS_PER_MS, in_clause=clause.begin is not None))
                self._run_ns, self._run_begin = now_ns, self._sent
            if now_ns < self._due_ns():
                return
            if clause.begin is None:
                clause.begin = self._sent
                outputs.append(ClauseBegan(answer.turn, clause.index, clause.text))
            self._send_frame(answer, clause, outputs)

    def _send_frame(self, answer: _Answer, clause: _Clause, outputs: list[Output]) -> None:
        pcm = bytes(clause.ready[: self._frame_bytes])
        del clause.ready[: self._frame_bytes]
        if not answer.is_audible and (loud := first_audible(samples_of(pcm))) is not None:
            answer.is_audible = True
            outputs.append(Began(answer.turn, self._sounds_ns(self._sent + loud)))
        answer.has_begun = True
        outputs.append(Frame(pcm, answer.epoch, answer.turn, self._sent))
        samples = len(pcm) // BYTES_PER_SAMPLE
        self._sent += samples
        clause.sent += samples

    def _has_frame(self, answer: _Answer) -> bool:
        """Whether the current clause has a whole frame."""
        clause = self._current(answer)
        return clause is not None and len(clause.ready) >= self._frame_bytes

    def _convert(self, clause: _Clause) -> None:
        """Brings what came of the clause being played to the edge's rate; its end is padded to a whole frame."""
        if clause.raw:
            clause.ready += self._resampler.process(bytes(clause.raw))
            clause.raw.clear()
        if clause.is_last and not clause.is_converted:
            clause.is_converted = True
            if clause.received:
                clause.ready += self._resampler.flush()
                clause.ready += bytes(-len(clause.ready) % self._frame_bytes)

    def _current(self, answer: _Answer) -> _Clause | None:
        """The clause being played; steps over those that are done."""
        while True:
            clause = answer.clauses.get(answer.position)
            if clause is None:
                return None
            self._convert(clause)
            if not clause.is_all_sent:
                return clause
            answer.position += 1

    def _is_all_sent(self, answer: _Answer) -> bool:
        self._current(answer)
        return answer.expected is not None and answer.position >= answer.expected

    def _sounds_ns(self, sample: int) -> int:
        """When a sample sounds at the caller's end, as simulated."""
        return self._run_ns + (sample - self._run_begin) * NS_PER_S // self._rate

    def _due_ns(self) -> int:
        return self._sounds_ns(self._sent) - self._lead_ns + FRAME_MS * NS_PER_MS

    def _of(self, epoch: int, turn: int, revision: int) -> _Answer | None:
        answer = self._answer
        if answer is None or (answer.epoch, answer.turn, answer.revision) != (epoch, turn, revision):
            return None
        return answer

    @staticmethod
    def _clause(answer: _Answer, index: int) -> _Clause:
        return answer.clauses.setdefault(index, _Clause(index, ""))

    # --- what was heard ---------------------------------------------------------------------------------------------

    def _position(self, now_ns: int) -> int:
        """Samples played at the caller's end since the call began."""
        simulated = min(self._sent, self._run_begin + max(0, now_ns - self._run_ns) * self._rate // NS_PER_S)
        if self._reports and now_ns - max(self._reported_ns, self._run_ns) < REPORT_PATIENCE_MS * NS_PER_MS:
            return min(self._reported, self._sent)
        return max(simulated, self._reported)

    def _report(self, answer: _Answer, now_ns: int, outputs: list[Output]) -> None:
        position = self._position(now_ns)
        is_complete = position >= self._sent and self._is_all_sent(answer)
        mark = self._mark_at(answer, position, is_complete=is_complete)
        is_new_clause = mark.clause != answer.marked_clause and answer.marked_clause >= 0
        if is_complete or is_new_clause or mark.played_ms >= answer.marked_ms + HEARD_EVERY_MS:
            answer.marked_ms, answer.marked_clause = mark.played_ms, mark.clause
            outputs.append(mark)
        if is_complete:
            self._finished.append(answer)
            self._answer = None

    def _mark(self, answer: _Answer, now_ns: int, *, is_cut: bool) -> HeardMark:
        return self._mark_at(answer, self._position(now_ns), is_cut=is_cut)

    def _mark_at(self, answer: _Answer, position: int, *, is_complete: bool = False, is_cut: bool = False) -> HeardMark:
        clause_index = chars = played = 0
        text: list[str] = []
        for index in sorted(answer.clauses):
            clause = answer.clauses[index]
            if clause.begin is None or (clause.begin >= position and index > 0):
                continue
            heard = min(max(0, position - clause.begin), clause.sent)
            played += heard
            clause_index, chars = index, self._chars(clause, heard)
            text.append(clause.text[:chars])
        return HeardMark(
            answer.epoch,
            answer.turn,
            answer.revision,
            clause_index,
            chars,
            played * 1000 // self._rate,
            " ".join(part for part in text if part),
            is_complete,
            is_cut,
        )

    def _chars(self, clause: _Clause, heard: int) -> int:
        """Characters of a clause whose audio was played: by the engine's words, else in proportion."""
        if clause.is_all_sent and heard >= clause.sent:
            return len(clause.text)
        samples = heard * RATE_HZ // self._rate
        if clause.words:
            return max((w.char_end for w in clause.words if w.end_samples <= samples), default=0)
        # Before all of it came its length is guessed: 15 characters a second (a common speaking rate).
        total = clause.received if clause.is_last else max(clause.received, len(clause.text) * RATE_HZ // 15)
        chars = len(clause.text) * samples // total if total else 0
        space = clause.text.rfind(" ", 0, chars + 1)
        return chars if chars >= len(clause.text) else max(0, space)
