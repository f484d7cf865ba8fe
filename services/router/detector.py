"""When a turn is over: three sources of evidence, fused into one probability over time. No I/O.

Each source gives log odds for "the caller has finished" against "this is a pause": how long the silence lasts (against
the pauses that this caller makes), what the audio model heard, how the words read. Their weighted sum, through the
logistic function, is the probability of the end. It rises with the silence, so a caller who sounds finished is answered
after `sure_ms`, one who does not after up to `unsure_ms`, and everything between follows from one threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, log
from typing import Protocol

from services.router.completeness import Reader
from services.router.endpoint import EndpointSettings
from services.router.pauses import Pauses

#: Resolution of the moment at which a turn is over.
_STEP_MS = 1


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a pause at one moment.

    Attributes:
        silence_ms: since the last voiced sample.
        turn_ms: since the first voiced sample.
        voice: Silero's probability of the newest window.
        audio: the audio model's newest opinion in this pause; None before it has one.
        audio_at_ms: silence at which that opinion was formed.
        text: words so far, partial or final.
        has_final: the words cover everything said.
        is_asked: the agent has just asked something.
    """

    silence_ms: int
    turn_ms: int
    voice: float
    audio: float | None
    audio_at_ms: int | None
    text: str
    has_final: bool
    is_asked: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the detector says of a pause.

    Attributes:
        cause: why the turn is over ("detector", "silence", "limit"); "" when it is not.
        probability: of the turn being over, all sources fused.
        in_ms: silence still to come before the verdict may change by itself.
        is_wait: the caller asked for time: stay quiet, keep listening.
    """

    cause: str
    probability: float
    in_ms: int = 0
    is_wait: bool = False


@dataclass(frozen=True, slots=True)
class Weights:
    """What the sources count. Fitted on the tuning half of the labelled callers (`python -m bench.detector --fit`).

    Attributes:
        bias: log odds of the end at the beginning of a pause, before anything is known.
        silence: for each mean pause of the caller that the silence lasts.
        audio: of the log odds of the audio model's opinion.
        partial: of what the words say, as long as they are not final.
        voice: for a newest window that is surely voice.
    """

    bias: float = -0.7
    silence: float = 1.1
    audio: float = 0.22
    partial: float = 0.3
    voice: float = -2.0


class Source(Protocol):
    """One kind of evidence. A language model that reads the words could be another."""

    def log_odds(self, evidence: Evidence) -> float:
        """Returns how much it speaks for the end (above 0) or against it; 0 when it knows nothing.

        Must not fall while only `evidence.silence_ms` grows.
        """


class Silence:
    """How long it has been quiet, in units of this caller's mean pause.

    If pauses end at a steady rate and ends of turns never do, the log odds of an end grow by 1 in each mean pause.
    """

    def __init__(self, pauses: Pauses, weights: Weights) -> None:
        self._pauses, self._weights = pauses, weights

    @property
    def per_ms(self) -> float:
        """How fast the log odds grow."""
        return self._weights.silence / self._pauses.mean_ms

    def log_odds(self, evidence: Evidence) -> float:
        """See `Source`."""
        return self._pauses.end_odds + evidence.silence_ms * self.per_ms + evidence.voice * self._weights.voice


class Audio:
    """The audio model's opinion of how the turn sounded."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def log_odds(self, evidence: Evidence) -> float:
        """See `Source`."""
        return 0.0 if evidence.audio is None else self._weights.audio * _logit(evidence.audio)


class Text:
    """How the words read."""

    def __init__(self, reader: Reader, weights: Weights) -> None:
        self._reader, self._weights = reader, weights

    def log_odds(self, evidence: Evidence) -> float:
        """See `Source`."""
        odds = self._reader.log_odds(evidence.text, is_asked=evidence.is_asked)
        return odds * (1.0 if evidence.has_final else self._weights.partial)


class TurnEnd:
    """Judges the pauses of one call and learns from them."""

    def __init__(self, settings: EndpointSettings, language: str = "en", weights: Weights | None = None) -> None:
        """Takes the call's language as a BCP 47 tag; words of one that is not known count nothing."""
        weights = weights or Weights()
        self.settings = settings
        self._bias = weights.bias
        self._reader = Reader(language)
        self._pauses = Pauses()
        self._silence = Silence(self._pauses, weights)
        self._sources: Sequence[Source] = (self._silence, Audio(weights), Text(self._reader, weights))
        self._threshold = _logit(settings.threshold)

    def judge(self, evidence: Evidence) -> Verdict:
        """Says whether a pause ends the turn."""
        settings, silence_ms = self.settings, evidence.silence_ms
        odds = self._bias + sum(source.log_odds(evidence) for source in self._sources)
        probability = _logistic(odds)
        if evidence.turn_ms >= settings.max_turn_ms:
            return Verdict("limit", probability)
        if evidence.has_final and self._reader.is_wait(evidence.text):
            rest_ms = int(settings.wait_s * 1000) - silence_ms
            return Verdict("", 0.0, rest_ms, is_wait=True) if rest_ms > 0 else Verdict("silence", probability)
        if silence_ms >= settings.unsure_ms:
            return Verdict("silence", probability)
        rest_ms = min(self._rest_ms(odds, silence_ms), settings.unsure_ms - silence_ms)
        return Verdict("detector", probability) if rest_ms <= 0 else Verdict("", probability, rest_ms)

    def _rest_ms(self, odds: float, silence_ms: int) -> int:
        """How much more silence makes it sure: log odds grow with the silence alone, steadily, so it is known now."""
        per_ms = self._silence.per_ms
        rest_ms = ceil(max(0.0, self._threshold - odds) / per_ms)
        while silence_ms + rest_ms < self.settings.least_ms(_logistic(odds + rest_ms * per_ms)):
            rest_ms += _STEP_MS
        return rest_ms

    def resumed(self, pause_ms: int) -> None:
        """The caller went on after a pause of that length: it was no end."""
        self._pauses.resumed(pause_ms)

    def ended(self, pause_ms: int) -> None:
        """The turn was committed and not reopened; the caller was quiet for that long, and may be quiet for longer."""
        self._pauses.ended(pause_ms)


def _logistic(odds: float) -> float:
    return 1 / (1 + exp(-odds))


def _logit(probability: float) -> float:
    bounded = min(max(probability, 0.005), 0.995)
    return log(bounded / (1 - bounded))
