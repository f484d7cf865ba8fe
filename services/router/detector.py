"""When a turn is over: three sources of evidence, fused into one probability over time. No I/O.

Each source gives log odds for "the caller has finished" against "this is a pause": how long the silence lasts (against
the pauses that this caller makes), what the audio model heard, how the words read. Their weighted sum, through the
logistic function, is the probability of the end. It rises with the silence, so a caller who sounds finished is answered
after `sure_ms`, one who does not after up to `unsure_ms`, and everything between follows from one threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Protocol

from services.router.completeness import Reader
from services.router.endpoint import EndpointSettings
from services.router.pauses import Pauses


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
    """

    silence_ms: int
    turn_ms: int
    voice: float
    audio: float | None
    audio_at_ms: int | None
    text: str
    has_final: bool


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


class Source(Protocol):
    """One kind of evidence. A language model that reads the words could be another."""

    def log_odds(self, evidence: Evidence) -> float:
        """Returns how much it speaks for the end (above 0) or against it; 0 when it knows nothing.

        Never falls while only `evidence.silence_ms` grows.
        """


class Silence:
    """How long it has been quiet, in units of this caller's mean pause: pauses end at a steady rate, ends do not."""

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses

    def log_odds(self, evidence: Evidence) -> float:
        """See `Source`."""
        return self._pauses.end_odds + evidence.silence_ms / self._pauses.mean_ms


class Audio:
    """The audio model's opinion."""

    def log_odds(self, evidence: Evidence) -> float:
        """See `Source`."""
        if evidence.audio is None:
            return 0.0
        return 0.6 * _logit(evidence.audio)


class Text:
    """How the words read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def log_odds(self, evidence: Evidence) -> float:
        """See `Source`."""
        if not evidence.text:
            return 0.0
        odds = self._reader.log_odds(evidence.text)
        return odds if evidence.has_final else 0.3 * odds


class TurnEnd:
    """Judges the pauses of one call and learns from them."""

    def __init__(self, settings: EndpointSettings, language: str = "en") -> None:
        self.settings = settings
        self._reader = Reader(language)
        self._pauses = Pauses()
        self._sources: Sequence[Source] = (Silence(self._pauses), Audio(), Text(self._reader))
        self._threshold = _logit(settings.threshold)

    def judge(self, evidence: Evidence) -> Verdict:
        """Says whether a pause ends the turn."""
        settings = self.settings
        silence_ms = evidence.silence_ms
        odds = sum(source.log_odds(evidence) for source in self._sources)
        probability = 1 / (1 + exp(-odds))
        if evidence.turn_ms >= settings.max_turn_ms:
            return Verdict("limit", probability)
        is_wait = evidence.has_final and self._reader.is_wait(evidence.text)
        limit_ms = int(settings.wait_s * 1000) if is_wait else settings.unsure_ms
        if silence_ms >= limit_ms:
            return Verdict("silence", probability, is_wait=is_wait)
        if is_wait:
            return Verdict("", probability, limit_ms - silence_ms, is_wait=True)
        rest_ms = int((self._threshold - odds) * self._pauses.mean_ms) + 1 if odds < self._threshold else 0
        rest_ms = min(max(rest_ms, settings.sure_ms - silence_ms), limit_ms - silence_ms)
        if rest_ms <= 0:
            return Verdict("detector", probability)
        return Verdict("", probability, rest_ms)

    def resumed(self, pause_ms: int) -> None:
        """The caller went on after a pause: it was no end."""
        self._pauses.resumed(pause_ms)

    def ended(self, pause_ms: int) -> None:
        """The turn was committed and not reopened."""
        self._pauses.ended(pause_ms)


def _logit(probability: float) -> float:
    bounded = min(max(probability, 0.005), 0.995)
    return log(bounded / (1 - bounded))
