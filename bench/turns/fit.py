"""Fits the turn detector's constants on labelled pauses: what silence, sound and words count, and the three knobs.

A logistic regression over moments: at some silences of every pause that has lasted so long, what the sources say, and
whether the pause was an end. Pauses that ended early are no longer asked, so the weight of the silence is what
outlasting most pauses is worth. The knobs are then chosen where the dead air is least within 5 % cut-offs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.turns.evidence import Pause
from bench.turns.sweep import (
    STEP_MS,
    Policy,
    Timing,
    Traces,
    evidence_at,
    logistic,
    logit,
    measured,
    replay,
    swept,
)
from services.router import completeness
from services.router.completeness import Reader, Reading
from services.router.detector import Evidence, TurnEnd, Weights
from services.router.endpoint import EndpointSettings
from services.router.pauses import Pauses

#: Silences at which a pause is asked, in ms.
MOMENTS_MS = (140, 200, 260, 320, 400, 500, 600, 800, 1000, 1300, 1600, 1900)
#: A reading that was seen less often keeps the odds it has.
_MIN_SEEN = 6
_RIDGE = 2.0


@dataclass(frozen=True)
class Constants:
    """What a fit gives: for `services.router.detector.Weights`, `completeness.ODDS` and `EndpointSettings`."""

    weights: Weights
    odds: dict[Reading, float]
    policy: Policy

    def __str__(self) -> str:
        odds = ", ".join(f"{reading.name}: {value:.1f}" for reading, value in self.odds.items())
        return f"{self.weights}\nODDS {odds}\nthreshold, sure_ms, unsure_ms: {self.policy}"


def fit(
    turns: Sequence[Sequence[Pause]],
    settings: EndpointSettings,
    *,
    heard: bool = True,
    timing: Timing | None = None,
    cut_off_rate: float = 0.05,
) -> Constants:
    """Fits the constants on some turns."""
    weights, odds = _regressed(turns, heard, timing or Timing())
    constants = Constants(weights, odds, Policy(settings.threshold, settings.sure_ms, settings.unsure_ms))
    sweep = swept(_replayed(turns, settings, constants, heard, timing))
    return replace(constants, policy=sweep.policies[sweep.best(cut_off_rate)[0]])


def fitted(
    tune: Sequence[Sequence[Pause]],
    report: Sequence[Sequence[Pause]],
    settings: EndpointSettings,
    *,
    heard: bool = True,
) -> str:
    """Fits on one half, tries on the other, and says both in words."""
    lines: list[str] = []
    for rate in (0.05, 0.10):
        constants = fit(tune, settings, heard=heard, cut_off_rate=rate)
        points = [measured(_replayed(half, settings, constants, heard), constants.policy) for half in (tune, report)]
        if not lines:
            lines = ["\nfitted on the tuning half:", str(constants)]
        lines += [
            f"  chosen for {rate:.0%}: {constants.policy}",
            *(
                f"  {name:<10}{point.cut_off_rate:6.1%} cut off, dead air {point.mean_ms:5.0f} ms "
                f"(p50 {point.p50_ms:.0f}, p95 {point.p95_ms:.0f})"
                for name, point in zip(("tuned", "reported"), points, strict=True)
            ),
        ]
        best = swept(_replayed(report, settings, constants, heard))
        lines.append(f"  best policy on the reporting half: {best.best(rate)[2]:.0f} ms")
    return "\n".join(lines)


def _replayed(
    turns: Sequence[Sequence[Pause]],
    settings: EndpointSettings,
    constants: Constants,
    heard: bool,
    timing: Timing | None = None,
) -> Traces:
    """Replays the router's detector with other constants than it has."""
    kept, completeness.ODDS = completeness.ODDS, constants.odds
    try:
        return replay(turns, lambda: TurnEnd(settings, weights=constants.weights), heard=heard, timing=timing)
    finally:
        completeness.ODDS = kept


def _regressed(turns: Sequence[Sequence[Pause]], heard: bool, timing: Timing) -> tuple[Weights, dict[Reading, float]]:
    reader, known = Reader(), Weights()
    rows: list[list[float]] = []
    labels: list[float] = []
    offsets: list[float] = []
    seen = dict.fromkeys(Reading, 0)
    for turn in turns:
        pauses = Pauses()
        for pause in turn:
            told = evidence_at(pause, timing, heard)
            seen[reader.read(pause.heard if heard else pause.said)] += 1
            for moment_ms in MOMENTS_MS:
                evidence = told[moment_ms // STEP_MS - 1]
                if evidence is not None:
                    rows.append(_features(evidence, reader, pauses))
                    labels.append(float(pause.is_end))
                    offsets.append(evidence.voice * known.voice + pauses.end_odds + _beside_reading(evidence, reader))
            if not pause.is_end:
                pauses.resumed(pause.length_ms)
    found = logistic(np.array(rows), np.array(labels), ridge=_RIDGE, offsets=np.array(offsets))
    odds = {
        reading: round(float(value), 1) if seen[reading] >= _MIN_SEEN else completeness.ODDS[reading]
        for reading, value in zip(Reading, found[3:], strict=True)
    }
    bias, silence, audio = (round(float(value), 2) for value in found[:3])
    return replace(known, bias=bias, silence=silence, audio=audio), odds


def _beside_reading(evidence: Evidence, reader: Reader) -> float:
    """Returns what the words count beside the kind of text they are (their number): that is not fitted."""
    if not evidence.has_final:
        return 0.0
    return reader.log_odds(evidence.text) - completeness.ODDS[reader.read(evidence.text)]


def _features(evidence: Evidence, reader: Reader, pauses: Pauses) -> list[float]:
    reading = reader.read(evidence.text) if evidence.has_final else None
    audio = 0.0 if evidence.audio is None else logit(evidence.audio)
    return [1.0, evidence.silence_ms / pauses.mean_ms, audio, *(float(reading is one) for one in Reading)]
