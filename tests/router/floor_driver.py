"""Drives a floor alone: voice in 32 ms windows, answers and playout by hand, time as an argument."""

from dataclasses import dataclass, field

import numpy as np

from halfbeat.clock import NS_PER_MS
from services.router import edge
from services.router import floor_events as fe
from services.router.detector import Evidence, TurnEnd, Verdict
from services.router.endpoint import EndpointSettings, VoiceActivity, VoiceSettings
from services.router.floor import Floor

WINDOW_MS = 32
LOUD = np.full(512, 5000, dtype=np.int16)
FAINT = np.full(512, 1581, dtype=np.int16)
QUIET = np.zeros(512, dtype=np.int16)


class Patience(TurnEnd):
    """Ends a turn after a fixed silence, with the audio model's opinion for a probability."""

    def __init__(self, ms: int) -> None:
        super().__init__(EndpointSettings())
        self._ms = ms
        self.is_wait = False

    def judge(self, evidence: Evidence) -> Verdict:
        probability = 0.5 if evidence.audio is None else evidence.audio
        if evidence.silence_ms >= self._ms:
            return Verdict("detector", probability, is_wait=self.is_wait)
        return Verdict("", probability, self._ms - evidence.silence_ms, is_wait=self.is_wait)


@dataclass
class Driver:
    """One floor and everything it has said."""

    fmt: edge.EdgeFormat = field(default_factory=edge.EdgeFormat)
    settings: fe.FloorSettings = field(default_factory=fe.FloorSettings)
    # A low threshold: a whole sentence and a sure opinion suffice, however the sources are weighed.
    endpoint: EndpointSettings = field(default_factory=lambda: EndpointSettings(threshold=0.5, hesitation_ms=0))
    turn_end: TurnEnd | None = None

    def __post_init__(self) -> None:
        self.now_ms = 0
        self.samples = 0
        self.floor = Floor(self.settings, self.turn_end or TurnEnd(self.endpoint), self.fmt, 0)
        self.activity = VoiceActivity(VoiceSettings())
        self.said: list[fe.FloorOutput] = []

    def feed(self, event: fe.FloorEvent) -> list[fe.FloorOutput]:
        outputs = self.floor.on_event(event, self.now_ms * NS_PER_MS)
        self.said += outputs
        due_ns = self.floor.due_ns
        assert due_ns is None or due_ns > self.now_ms * NS_PER_MS, "a moment that has passed would be rung for at once"
        return outputs

    def voice(self, ms: int) -> list[fe.FloorOutput]:
        return self._sound(ms, LOUD, 0.95)

    def quiet(self, ms: int) -> list[fe.FloorOutput]:
        return self._sound(ms, QUIET, 0.01)

    def noise(self, ms: int) -> list[fe.FloorOutput]:
        """Loud, and the voice detector cannot tell."""
        return self._sound(ms, LOUD, 0.55)

    def faint(self, ms: int) -> list[fe.FloorOutput]:
        """Voice, 10 dB fainter than `voice`."""
        return self._sound(ms, FAINT, 0.95)

    def _sound(self, ms: int, window: np.ndarray, probability: float) -> list[fe.FloorOutput]:
        outputs: list[fe.FloorOutput] = []
        for _ in range(max(1, round(ms / WINDOW_MS))):
            self.now_ms += WINDOW_MS
            self.samples += 512
            outputs += self.feed(fe.VoiceWindow(self.activity.push(probability, window, self.samples)))
        return outputs

    def wait(self, ms: int) -> list[fe.FloorOutput]:
        """Time passes without any audio from the caller."""
        outputs: list[fe.FloorOutput] = []
        for _ in range(max(1, ms // 100)):
            self.now_ms += 100
            outputs += self.feed(fe.Ticked())
        return outputs

    def words(self, text: str, *, is_final: bool = True) -> list[fe.FloorOutput]:
        """What asr says of the utterance in progress."""
        utterance = self.floor.utterance
        assert utterance is not None, "nobody is speaking"
        return self.feed(fe.TranscriptArrived(utterance.turn, utterance.revision, text, is_final))

    def judge(self, probability: float | None) -> list[fe.FloorOutput]:
        utterance = self.floor.utterance
        assert utterance is not None, "nobody is speaking"
        return self.feed(fe.TurnJudged(utterance.turn, utterance.revision, probability))

    def turn(self, text: str = "Book a truck.", ms: int = 800) -> list[fe.FloorOutput]:
        """A whole turn of the caller, up to the commit."""
        return self.voice(ms) + self.quiet(224) + self.judge(0.95) + self.words(text)

    def answer(self, clauses: int = 1, *, sounds: bool = True, hangs_up: bool = False) -> list[fe.FloorOutput]:
        """The dialogue answers the live commit; the first of it sounds."""
        answer = self.floor.answer
        assert answer is not None, "no answer is awaited"
        key = (answer.epoch, answer.turn, answer.revision)
        outputs: list[fe.FloorOutput] = []
        for index in range(clauses):
            outputs += self.feed(fe.ClauseArrived(*key, index))
        outputs += self.feed(fe.AnswerEnded(*key, clauses, hangs_up))
        if sounds:
            outputs += self.feed(fe.PlayoutBegan(answer.turn))
        return outputs

    def speaks(self, clauses: int = 1) -> None:
        """An answer to a turn sounds, and the echo guard is over."""
        self.turn()
        self.answer(clauses)
        self.quiet(self.settings.overlap.guard_ms + WINDOW_MS)

    def played_out(self) -> list[fe.FloorOutput]:
        answer = self.floor.answer
        assert answer is not None
        return self.feed(fe.PlayoutEnded(answer.turn))

    def all(self, kind: type) -> list:
        return of(self.said, kind)


def of(outputs: list[fe.FloorOutput], kind: type) -> list:
    """The outputs, or the events told to the edge, of one kind."""
    told = [o.event for o in outputs if isinstance(o, fe.Tell)]
    return [o for o in (*outputs, *told) if isinstance(o, kind)]


def commands(outputs: list[fe.FloorOutput]) -> list[str]:
    """What was asked of the recogniser."""
    return [o.command for o in of(outputs, fe.Recognise)]
