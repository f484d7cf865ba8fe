"""What the agent says, in real time, and how much of it was heard. No I/O: `advance(now)` says what leaves now.

Audio of an answer comes faster than it is spoken. Each clause is converted to the edge's rate, padded to whole frames
of 20 ms, and leaves frame by frame, `lead_ms` ahead of the moment it sounds. The timeline of the caller's end is
simulated: it plays what it has without a gap; when it runs dry, what comes next begins a new run, so that a stall of
ours is never made up for by a burst. An edge that reports what it played replaces the simulation.

While the caller makes a sound the agent is ducked, then muted, which holds its place. What left ducked counts as heard
once the agent goes on at full level; what was muted away is repeated, from the start of the word that was ducked first.
"""

from collections import deque
from dataclasses import dataclass

from halfbeat.audio import BYTES_PER_SAMPLE, FRAME_MS, RATE_HZ, Resampler, first_audible, samples_of
from halfbeat.clock import NS_PER_MS, NS_PER_S
from services.router.answer_audio import AnswerAudio, Clause, Take
from services.router.ducking import Fader, Level
from services.router.heard import HeardMark, Word

HEARD_EVERY_MS = 500
#: An answer longer than this is a defect; what exceeds it is dropped.
MAX_ANSWER_MS = 180_000
#: Without a report for this long the simulation counts again.
REPORT_PATIENCE_MS = 3000


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame to be sent now.

    Attributes:
        offset_samples: agent audio before it since the call began, at the edge's rate.
        soonest_ns: when it sounds at an edge that plays what comes at once.
    """

    pcm: bytes
    epoch: int
    turn: int
    offset_samples: int
    soonest_ns: int


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
class RanDry:
    """The caller heard silence within an answer, known when sound goes on. `in_clause`: within a word, likely."""

    gap_ms: int
    in_clause: bool


Output = Frame | Began | ClauseBegan | HeardMark | RanDry


class Playout:
    """One call's agent voice. Deliveries may come out of order and twice; what is not of this answer is refused."""

    def __init__(self, rate_hz: int, *, lead_ms: int, reports: bool, duck_db: float = 15.0) -> None:
        """Takes what the edge speaks.

        Args:
            rate_hz: of the edge.
            lead_ms: audio sent ahead of the moment it sounds.
            reports: the edge will say what it played.
            duck_db: how far below full level a ducked agent is.
        """
        self._rate, self._reports = rate_hz, reports
        self._lead_ns = max(FRAME_MS, lead_ms) * NS_PER_MS
        self._frame_samples = rate_hz * FRAME_MS // 1000
        self._frame_bytes = self._frame_samples * BYTES_PER_SAMPLE
        self._resampler = Resampler(RATE_HZ, rate_hz)
        self._fader = Fader(rate_hz, duck_db=duck_db)
        self._answer: AnswerAudio | None = None
        self._is_held = False
        # The frame in which a muted agent fades out has not left yet; the gap that follows is no underrun.
        self._is_fading = self._was_muted = False
        self._sent = 0
        # When sample `_run_begin` sounded or will sound, as simulated.
        self._run_ns, self._run_begin = 0, 0
        self._reported, self._reported_ns = 0, -REPORT_PATIENCE_MS * NS_PER_MS
        self._finished: deque[AnswerAudio] = deque(maxlen=4)
        self.dropped_ms = 0

    # --- filling ----------------------------------------------------------------------------------------------------

    def begin(self, epoch: int, turn: int, revision: int, *, is_draft: bool = False) -> None:
        """An answer was asked for; from now on only its audio is taken. A draft is silent until `adopt`."""
        self._answer = AnswerAudio(epoch, turn, revision, is_draft=is_draft)
        self._resampler.clear()
        self._reset_level()

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
        answer.clause(index).text = text
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
        clause = answer.clause(index)
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

    def _of(self, epoch: int, turn: int, revision: int) -> AnswerAudio | None:
        answer = self._answer
        return answer if answer is not None and answer.is_numbered(epoch, turn, revision) else None

    # --- the caller's sound -----------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Begins no answer until `release`; one that sounds already goes on."""
        self._is_held = True

    def release(self) -> None:
        """Takes `hold` back."""
        self._is_held = False

    def duck(self) -> None:
        """Makes what leaves from now on quieter; it counts as heard only after `unduck`, unless all of it leaves."""
        answer = self._sounding
        if answer is not None and self._fader.level is Level.FULL:
            answer.takes[-1].cap = answer.cursor
            self._fader.level = Level.DUCKED

    def mute(self) -> None:
        """Fades out within the next frame and holds the place; an answer that has left as a whole plays out."""
        answer = self._sounding
        if answer is not None and self._fader.level is not Level.MUTED:
            if answer.takes[-1].cap is None:
                answer.takes[-1].cap = answer.cursor
            self._fader.level = Level.MUTED
            self._is_fading = True

    def unduck(self) -> None:
        """Goes on: at full level when only ducked; when muted, from the start of the word that was ducked first."""
        answer, level = self._answer, self._fader.level
        self._fader.level, self._is_fading = Level.FULL, False
        if answer is None or not answer.takes or level is Level.FULL:
            return
        take = answer.takes[-1]
        if level is Level.MUTED and take.cap is not None:
            self._was_muted = True
            answer.go_back(answer.word_start(take.cap, self._rate), self._sent, self._frame_samples)
        else:
            take.cap = None

    @property
    def is_muted(self) -> bool:
        """Whether the agent holds its place in silence."""
        return self._fader.level is Level.MUTED

    def silent_ns(self, now_ns: int) -> int:
        """When the last of what was sent has sounded at the caller's end, as simulated; now, when it has already."""
        return max(now_ns, self._sounds_ns(self._sent))

    def _reset_level(self) -> None:
        self._fader.reset()
        self._is_fading = self._was_muted = False

    @property
    def _sounding(self) -> AnswerAudio | None:
        """The answer, when some of it has left and some has not."""
        answer = self._answer
        if answer is None or not answer.has_begun or self._is_all_sent(answer):
            return None
        return answer

    # --- the end ----------------------------------------------------------------------------------------------------

    def cut(self, now_ns: int) -> HeardMark | None:
        """Throws the answer away; returns what was heard of it, or None when there was none."""
        answer, self._answer = self._answer, None
        self._is_held = False
        self._reset_level()
        if answer is None:
            return None
        mark = self._mark(answer, answer.heard_until(self._position(now_ns)), is_cut=True)
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
                begin = answer.takes[0].call_begin if answer.takes else 0
                return self._mark(answer, answer.heard_until(begin + played_ms * self._rate // 1000), is_cut=True)
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
        if self._has_frame(answer):
            return max(now_ns, self._due_ns())
        if self._is_all_sent(answer) or (answer.has_begun and self._position(now_ns) < self._sent):
            return now_ns + FRAME_MS * NS_PER_MS
        return None

    def _send(self, answer: AnswerAudio, now_ns: int, outputs: list[Output]) -> None:
        while self._has_frame(answer):
            clause = self._current(answer)
            dry_ns = now_ns - self._sounds_ns(self._sent)
            if dry_ns > 0 and self._fader.level is Level.MUTED:
                self._is_fading = False  # it is silent already
                return
            if dry_ns > 0:
                if answer.has_begun and dry_ns > NS_PER_MS and not self._was_muted:
                    outputs.append(RanDry(dry_ns // NS_PER_MS, in_clause=clause is None or clause.begin is not None))
                self._run_ns, self._run_begin = now_ns, self._sent
            if now_ns < self._due_ns():
                return
            self._was_muted = False
            if clause is not None and clause.begin is None and not answer.is_repeating:
                clause.begin = answer.sent
                outputs.append(ClauseBegan(answer.turn, clause.index, clause.text))
            self._send_frame(answer, clause, outputs)

    def _send_frame(self, answer: AnswerAudio, clause: Clause | None, outputs: list[Output]) -> None:
        if not answer.has_begun:
            answer.has_begun = True
            answer.takes.append(Take(self._sent, 0))
        pcm = self._fader.apply(answer.take_frame(clause, self._frame_bytes, self._rate))
        self._is_fading = False
        if not answer.is_audible and (loud := first_audible(samples_of(pcm))) is not None:
            answer.is_audible = True
            outputs.append(Began(answer.turn, self._sounds_ns(self._sent + loud)))
        outputs.append(Frame(pcm, answer.epoch, answer.turn, self._sent, self._sounds_ns(self._sent)))
        self._sent += len(pcm) // BYTES_PER_SAMPLE

    def _has_frame(self, answer: AnswerAudio) -> bool:
        """Whether a whole frame may leave."""
        if self._fader.level is Level.MUTED and not self._is_fading:
            return False
        clause = self._current(answer)
        return answer.is_repeating or (clause is not None and len(clause.ready) >= self._frame_bytes)

    def _current(self, answer: AnswerAudio) -> Clause | None:
        """The clause being played; steps over those that are done."""
        while True:
            clause = answer.clauses.get(answer.position)
            if clause is None:
                return None
            clause.convert(self._resampler, self._frame_bytes)
            if not clause.is_all_sent:
                return clause
            answer.position += 1

    def _is_all_sent(self, answer: AnswerAudio) -> bool:
        self._current(answer)
        return answer.expected is not None and answer.position >= answer.expected and not answer.is_repeating

    def _sounds_ns(self, sample: int) -> int:
        """When a sample sounds at the caller's end, as simulated."""
        return self._run_ns + (sample - self._run_begin) * NS_PER_S // self._rate

    def _due_ns(self) -> int:
        return self._sounds_ns(self._sent) - self._lead_ns + FRAME_MS * NS_PER_MS

    # --- what was heard ---------------------------------------------------------------------------------------------

    def _position(self, now_ns: int) -> int:
        """Samples played at the caller's end since the call began."""
        simulated = min(self._sent, self._run_begin + max(0, now_ns - self._run_ns) * self._rate // NS_PER_S)
        if self._reports and now_ns - max(self._reported_ns, self._run_ns) < REPORT_PATIENCE_MS * NS_PER_MS:
            return min(self._reported, self._sent)
        return max(simulated, self._reported)

    def _report(self, answer: AnswerAudio, now_ns: int, outputs: list[Output]) -> None:
        position = self._position(now_ns)
        is_complete = position >= self._sent and self._is_all_sent(answer) and not self.is_muted
        if is_complete and answer.takes:
            answer.takes[-1].cap = None  # all of it was heard, the end of it ducked
        mark = self._mark(answer, answer.heard_until(position), is_complete=is_complete)
        is_new_clause = mark.clause != answer.marked_clause and answer.marked_clause >= 0
        if is_complete or is_new_clause or mark.played_ms >= answer.marked_ms + HEARD_EVERY_MS:
            answer.marked_ms, answer.marked_clause = mark.played_ms, mark.clause
            outputs.append(mark)
        if is_complete:
            self._finished.append(answer)
            self._answer = None
            self._reset_level()

    def _mark(self, answer: AnswerAudio, content: int, *, is_complete: bool = False, is_cut: bool = False) -> HeardMark:
        """The mark of an answer of which this much content was heard."""
        clause_index = chars = played = 0
        text: list[str] = []
        for index in sorted(answer.clauses):
            clause = answer.clauses[index]
            if clause.begin is None or (clause.begin >= content and index > 0):
                continue
            heard = min(max(0, content - clause.begin), clause.sent)
            played += heard
            clause_index, chars = index, clause.chars(heard, self._rate)
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
