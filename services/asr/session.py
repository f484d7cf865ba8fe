"""One call's recognition: when to decode what, and what may be said about it. No I/O, no clock, no model.

Audio flows in all the time and costs a copy into the ring. Work begins when the router says that the caller speaks: a
partial every few hundred ms of new speech, one more as soon as the caller pauses (so that it is ready when the router
asks), and a final on `on_flush`. At most one decode is wanted at a time. A turn may have several stretches of speech,
because a flush may turn out wrong and the caller goes on; a final always covers the whole turn. After `max_window_s` of
speech the oldest part is committed at a pause and never decoded again, so the cost of a decode stays bounded.
"""

from dataclasses import dataclass, field, replace

from halfbeat.audio import Samples as Pcm16
from services.asr.agreement import Agreement, Words, words_of
from services.asr.engine import NOTHING, SAMPLE_RATE, Hint, Recognition, Samples
from services.asr.ring import AudioRing
from services.asr.stretches import Stretches

# A decode is taken for a flush only if it reaches this far beyond the last voice.
_MARGIN_MS = 40
# Between the last voice and a flush nothing was said, unless it was longer than this: VAD may have missed something.
_SILENCE_MS = 400
# Hypotheses that agree prove something only if each has heard this much more than the one before. Gaps within speech
# are decoded too: counting those cost 2 of 402 words (bench/asr.py, 311 lines over the phone).
_NEW_MS = 300


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """How eagerly to decode.

    Attributes:
        interval_ms: new speech before the next partial; longer when decoding is slow (see `max_load`).
        max_load: share of one core that the partials of one caller may take.
        pause_ms: silence after which the pause is decoded ahead of the flush.
        tail_ms: audio kept after the last voiced sample: the end of a consonant is not voiced.
        flush_wait_ms: how long a flush waits for audio that is still on its way.
        max_window_s: speech that is decoded at once; more is committed piece by piece.
        ring_s: audio of the caller that is kept.
    """

    interval_ms: int = 400
    max_load: float = 0.3
    pause_ms: int = 40
    tail_ms: int = 100
    flush_wait_ms: int = 60
    max_window_s: float = 12.0
    ring_s: float = 40.0


@dataclass(frozen=True, slots=True)
class Decode:
    """A piece of audio to recognise; the answer comes back by `on_recognised`.

    Attributes:
        serial: a later one makes this one void.
        pcm: 16 kHz, the stretches of the turn one after the other.
        hint: for the engine.
        speech_s: how much of it VAD held for speech; None when nothing is known.
        end: position in the call of the last sample, in samples.
        is_flush: somebody waits for it.
        is_commit: it is decoded for the last time.
        is_pause: the caller has paused, so a flush for it is likely to come.
    """

    serial: int
    pcm: Samples
    hint: Hint
    speech_s: float | None
    end: int
    is_flush: bool
    is_commit: bool
    is_pause: bool = False

    @property
    def purpose(self) -> str:
        """What it is for, in one word, for metrics."""
        return "commit" if self.is_commit else "flush" if self.is_flush else "pause" if self.is_pause else "partial"


@dataclass(frozen=True, slots=True)
class Partial:
    """The turn's words so far: `stable` only ever grows, `unstable` may change. Positions in samples of the call."""

    stable: str
    unstable: str
    start: int
    end: int
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Final:
    """Answer to a flush: the words of the whole turn; begins with what was stable."""

    text: str
    start: int
    end: int
    confidence: float | None


Output = Decode | Partial | Final


@dataclass(frozen=True, slots=True)
class _Result:
    """The newest recognition: up to where, all words of the turn up to there, and which flush it answered."""

    end: int
    words: Words
    recognition: Recognition
    flushed_at: int | None = None


@dataclass(slots=True)
class _Flush:
    """A flush that is not answered yet."""

    offset: int
    deadline_ms: float


@dataclass(slots=True)
class _Turn:
    """All that is known of one turn."""

    number: int
    audio: Stretches
    agreement: Agreement = field(default_factory=Agreement)
    speech_samples: int = 0
    committed: Words = ()
    result: _Result | None = None
    wanted: Decode | None = None
    flush: _Flush | None = None
    shown: tuple[Words, int] = ((), 0)
    agreed_until: int = 0


class AsrSession:
    """Decisions for one call. Every method returns what to do now, in order; times are of any monotonic clock."""

    def __init__(self, policy: StreamPolicy | None = None) -> None:
        self._policy = policy or StreamPolicy()
        self._ring = AudioRing(int(self._policy.ring_s * SAMPLE_RATE))
        self._serial = 0
        # Whether the router marks frames as speech, and where the last one ended.
        self._knows_speech = False
        self._speech_end = 0
        self._took_ms = 0.0
        self._turn = self._new_turn(0)

    @property
    def lost_samples(self) -> int:
        """Audio that never arrived and was taken for silence."""
        return self._ring.lost_samples

    @property
    def is_speaking(self) -> bool:
        """Between a start of speech and its flush."""
        return self._turn.audio.is_open

    @property
    def is_flushing(self) -> bool:
        """A flush was asked for and not answered yet."""
        return self._turn.flush is not None

    # --- what happened ----------------------------------------------------------------------------------------------

    def on_audio(self, offset: int, pcm: Pcm16, is_speech: bool, now_ms: float) -> list[Output]:
        """The caller's audio from `offset` on, in samples since the call began."""
        self._ring.write(offset, pcm)
        if is_speech:
            self._knows_speech = True
            self._speech_end = max(self._speech_end, offset + len(pcm))
            self._turn.speech_samples += len(pcm) if self.is_speaking else 0
        return self._next(now_ms)

    def on_speech_started(self, turn: int, offset: int, now_ms: float) -> list[Output]:
        """The caller speaks from `offset` on; in the same turn as before if the flush was wrong."""
        if turn != self._turn.number:
            self._turn = self._new_turn(turn)
        self._turn.flush = None
        if not self.is_speaking:
            # The mark comes after the first voiced frames.
            self._turn.speech_samples += max(0, self._speech_end - max(offset, self._ring.begin))
            self._turn.audio.open(offset)
        return self._next(now_ms)

    def on_flush(self, turn: int, offset: int, now_ms: float) -> list[Output]:
        """Speech ended at `offset`: the words of the whole turn are wanted at once. May be repeated."""
        if turn != self._turn.number:
            # Speech that began as an interruption of the turn before is the beginning of this one.
            self._turn = self._turn if self.is_speaking else self._new_turn(turn)
            self._turn.number = turn
        if not self._turn.audio:
            return [Final("", offset, offset, None)]
        self._turn.audio.close(offset)
        self._turn.flush = _Flush(offset, now_ms + self._policy.flush_wait_ms)
        return self._next(now_ms)

    def on_reset(self) -> list[Output]:
        """The turn is over or void: its words and stretches are forgotten, the audio stays in the ring."""
        self._turn = self._new_turn(self._turn.number)
        return []

    def on_tick(self, now_ms: float) -> list[Output]:
        """Time passed; needed `flush_wait_ms` after a flush, in case no audio comes any more."""
        return self._next(now_ms)

    def on_recognised(self, decode: Decode, recognition: Recognition, took_ms: float, now_ms: float) -> list[Output]:
        """The answer to a `Decode`; one that is void by now is ignored."""
        turn = self._turn
        if turn.wanted is None or decode.serial != turn.wanted.serial:
            return []
        turn.wanted = None
        self._took_ms = took_ms
        words = turn.committed + words_of(recognition.text)
        if decode.is_commit:
            turn.committed, turn.audio.decoded_from, turn.result = words, decode.end, None
        else:
            turn.result = _Result(decode.end, words, recognition)
        partial = [] if self.is_flushing else self._partial(words, decode.end, recognition)
        return partial + self._next(now_ms)

    def on_failed(self, decode: Decode) -> list[Output]:
        """The engine could not answer; a flush that waits ends with the words that are known."""
        turn = self._turn
        if turn.wanted is None or decode.serial != turn.wanted.serial:
            return []
        turn.wanted = None
        turn.result = _Result(decode.end, turn.result.words if turn.result else turn.committed, NOTHING)
        return [self._final(turn.result)] if self.is_flushing else []

    # --- what to do next --------------------------------------------------------------------------------------------

    def _next(self, now_ms: float) -> list[Output]:
        if self._turn.flush is not None:
            return self._next_of_flush(self._turn.flush, now_ms)
        if not self.is_speaking or self._turn.wanted is not None:
            return []
        end = self._ring.end
        limit = int(self._policy.max_window_s * SAMPLE_RATE)
        if self._turn.audio.samples(end) > limit:
            return [self._decode(self._turn.audio.cut(end, limit), is_commit=True)]
        if self._is_pause_due(end):
            return [self._decode(self._until_silence(end), is_pause=True)]
        return [self._decode(end)] if self._is_partial_due(end) else []

    def _next_of_flush(self, flush: _Flush, now_ms: float) -> list[Output]:
        turn = self._turn
        result = turn.result
        if result is not None and (result.flushed_at == flush.offset or self._covers(result.end, flush.offset)):
            return [self._final(result)]
        if turn.wanted is not None and (
            turn.wanted.is_flush or turn.wanted.is_commit or self._covers(turn.wanted.end, flush.offset)
        ):
            return []
        if self._ring.end < flush.offset and now_ms < flush.deadline_ms:
            return []
        end = max(min(flush.offset + self._samples(self._policy.tail_ms), self._ring.end), turn.audio.decoded_from)
        limit = int(self._policy.max_window_s * SAMPLE_RATE)
        if turn.audio.samples(end) > 1.5 * limit:
            return [self._decode(turn.audio.cut(end, limit), is_commit=True, is_flush=True)]
        return [self._decode(end, is_flush=True)]

    def _covers(self, end: int, offset: int) -> bool:
        """Whether a decode up to `end` has heard everything that was said until `offset`."""
        spoken_until = min(offset, self._speech_end) if self._knows_speech else offset
        needed = min(spoken_until + self._samples(_MARGIN_MS), self._ring.end)
        return end >= max(needed, min(offset, self._ring.end) - self._samples(_SILENCE_MS))

    def _is_pause_due(self, end: int) -> bool:
        """Whether the caller has paused and what was said before is not decoded to its end."""
        is_pausing = self._knows_speech and end - self._speech_end >= self._samples(self._policy.pause_ms)
        return is_pausing and self._decoded_until < self._speech_end + self._samples(_MARGIN_MS)

    def _is_partial_due(self, end: int) -> bool:
        """Whether there is enough new speech. None is begun in a pause: the decode of the pause would wait for it."""
        if self._knows_speech and end > self._speech_end:
            return False
        return end - self._decoded_until >= self._interval()

    @property
    def _decoded_until(self) -> int:
        audio, result = self._turn.audio, self._turn.result
        return result.end if result else max(audio.decoded_from, audio.start)

    def _interval(self) -> int:
        return self._samples(max(self._policy.interval_ms, self._took_ms / self._policy.max_load))

    def _until_silence(self, end: int) -> int:
        """A decode does not reach far into a silence."""
        if not self._knows_speech:
            return end
        return min(end, self._speech_end + self._samples(self._policy.tail_ms))

    def _decode(self, end: int, *, is_flush: bool = False, is_commit: bool = False, is_pause: bool = False) -> Decode:
        turn = self._turn
        self._serial += 1
        pcm = turn.audio.read(end)
        speech_s = min(turn.speech_samples, len(pcm)) / SAMPLE_RATE if self._knows_speech else None
        hint = Hint(turn.result.recognition if turn.result else None, turn.number)
        turn.wanted = Decode(self._serial, pcm, hint, speech_s, end, is_flush, is_commit, is_pause)
        return turn.wanted

    def _partial(self, words: Words, end: int, recognition: Recognition) -> list[Output]:
        turn = self._turn
        if end - turn.agreed_until >= self._samples(_NEW_MS):
            shown, turn.agreed_until = turn.agreement.update(words), end
        else:
            shown = turn.agreement.finish(words)
        stable = len(turn.agreement.stable)
        if (shown, stable) == turn.shown:
            return []
        turn.shown = (shown, stable)
        confidence = recognition.confidence
        return [Partial(" ".join(shown[:stable]), " ".join(shown[stable:]), turn.audio.start, end, confidence)]

    def _final(self, result: _Result) -> Final:
        flush, self._turn.flush = self._turn.flush, None
        self._turn.result = replace(result, flushed_at=flush.offset if flush else None)
        words = self._turn.agreement.finish(result.words)
        return Final(" ".join(words), self._turn.audio.start, result.end, result.recognition.confidence)

    def _new_turn(self, number: int) -> _Turn:
        return _Turn(number, Stretches(self._ring, self._samples(self._policy.tail_ms)))

    @staticmethod
    def _samples(ms: float) -> int:
        return int(ms * SAMPLE_RATE / 1000)
