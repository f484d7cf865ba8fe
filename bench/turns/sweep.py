"""The turn detector replayed over labelled pauses, swept over its settings, and fitted. No I/O, no model.

A policy has the three knobs of public end-of-turn benchmarks: the probability that suffices, the shortest silence that
ends a turn, and the longest. Each pause becomes one trace of probabilities in steps of 20 ms, so that a policy is a
look-up and thousands of them cost a second. Cut-offs are counted per pause (fired before the caller went on), dead air
per end of a turn (silence at which it fired); a pause's compute time counts, as the router waits for it too.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import exp, log

import numpy as np
import numpy.typing as npt

from bench.turns.evidence import TAIL_S, Pause
from services.router.detector import Evidence, TurnEnd
from services.router.endpoint import EndpointSettings, least_ms

STEP_MS = 20
_NEVER_MS = 1_000_000
_STEPS = int(TAIL_S * 1000) // STEP_MS
#: Grid of policies: shortest and longest silence in ms, probability.
SURE_MS = (120, 160, 200, 250, 300, 400, 500, 600, 700, 800, 900, 1000)
UNSURE_MS = (600, 800, 1000, 1200, 1500, 1600, 1800, 2000, 2500)
THRESHOLDS = tuple(round(1 / (1 + exp(-x / 4)), 4) for x in range(-20, 25))

Floats = npt.NDArray[np.float64]
#: Returns the probability of the end, or None where the caller asked for time and the silence counts for nothing.
Judge = Callable[[Evidence], float | None]


#: Not swept: as the router is set by default.
_HESITATION_MS = EndpointSettings().hesitation_ms


@dataclass(frozen=True)
class Timing:
    """When the sources know something, in ms of silence.

    Attributes:
        asked_ms: the audio model is asked; the second time only if the turn is not over by then.
        audio_ms: it takes so long.
        words_ms: the final words are there.
    """

    asked_ms: tuple[int, ...] = (120, 300)
    audio_ms: int = 60
    words_ms: int = 200


@dataclass(frozen=True)
class Policy:
    """Three knobs; see `services.router.endpoint.EndpointSettings`."""

    threshold: float
    sure_ms: int
    unsure_ms: int


@dataclass(frozen=True, eq=False)
class Traces:
    """Every pause of a set under one detector, row by row.

    Attributes:
        pauses: what each row is.
        silence_ms: the router's measure at each step; -1 while it hears a voice, and after the caller went on.
        probability: of the end at each step.
    """

    pauses: tuple[Pause, ...]
    silence_ms: Floats
    probability: Floats

    def only(self, keep: Callable[[Pause], bool]) -> "Traces":
        """Returns the rows whose pause is kept."""
        rows = [i for i, pause in enumerate(self.pauses) if keep(pause)]
        return Traces(tuple(self.pauses[i] for i in rows), self.silence_ms[rows], self.probability[rows])

    @property
    def is_end(self) -> npt.NDArray[np.bool_]:
        """Which rows are ends of turns."""
        return np.array([pause.is_end for pause in self.pauses], bool)


@dataclass(frozen=True)
class Point:
    """What a policy does on a set; times in ms."""

    policy: Policy
    cut_off_rate: float
    mean_ms: float
    p50_ms: float
    p95_ms: float


def evidence_at(pause: Pause, timing: Timing, heard: bool = True) -> list[Evidence | None]:
    """Returns what the detector is told at each step of a pause; None while a voice is heard or the caller has gone on.

    Args:
        pause: the pause.
        timing: of the sources.
        heard: the recogniser's words; else the true ones.
    """
    told: list[Evidence | None] = []
    views = list(pause.voices)
    voice = None
    for step in range(1, _STEPS + 1):
        now_ms = step * STEP_MS
        while views and views[0][0] <= now_ms:
            voice = views.pop(0)[1]
        if now_ms > pause.length_ms or voice is None or voice.is_active:
            told.append(None)
            continue
        asked = [ms for ms in timing.asked_ms if ms + timing.audio_ms <= now_ms and ms in pause.audio]
        has_final = now_ms >= timing.words_ms
        told.append(
            Evidence(
                silence_ms=voice.silence_ms,
                turn_ms=pause.start_ms + now_ms,
                voice=voice.probability,
                audio=pause.audio[asked[-1]] if asked else None,
                audio_at_ms=asked[-1] if asked else None,
                text=(pause.heard if heard else pause.said) if has_final else "",
                has_final=has_final,
            )
        )
    return told


def replay(
    turns: Sequence[Sequence[Pause]],
    detector: Callable[[], TurnEnd],
    *,
    timing: Timing | None = None,
    heard: bool = True,
) -> Traces:
    """Replays the router's detector: one for each turn, told of every pause that the caller ended."""
    rows = []
    for turn in turns:
        turn_end = detector()
        judge = partial(_probability, turn_end)
        for pause in turn:
            told = evidence_at(pause, timing or Timing(), heard)
            rows.append(_row(pause, told, judge))
            if not pause.is_end and any(told):
                turn_end.resumed(pause.length_ms)
    return _stacked(rows)


def replay_with(
    turns: Sequence[Sequence[Pause]], judge: Judge, *, timing: Timing | None = None, heard: bool = True
) -> Traces:
    """Replays a detector that is one function of the evidence: a source alone, say."""
    return _stacked([_row(p, evidence_at(p, timing or Timing(), heard), judge) for turn in turns for p in turn])


def fire_ms(traces: Traces, policy: Policy) -> Floats:
    """Returns the silence at which the policy ends the turn, for each row; infinite where it does not."""
    is_sure = traces.probability >= policy.threshold
    is_over = is_sure & (
        traces.silence_ms >= least_ms(traces.probability, policy.threshold, policy.sure_ms, _HESITATION_MS)
    )
    is_over |= traces.silence_ms >= policy.unsure_ms
    first = (np.argmax(is_over, axis=1) + 1) * float(STEP_MS)
    return np.where(is_over.any(axis=1), first, np.inf)


def measured(traces: Traces, policy: Policy) -> Point:
    """Returns what a policy does. A turn that is never ended counts as `TAIL_S`."""
    fired, is_end = fire_ms(traces, policy), traces.is_end
    delays = np.minimum(fired[is_end], TAIL_S * 1000)
    cut_off_rate = float(np.isfinite(fired[~is_end]).mean()) if (~is_end).any() else 0.0
    p50, p95 = (float(np.percentile(delays, q)) for q in (50, 95))
    return Point(policy, cut_off_rate, float(delays.mean()), p50, p95)


@dataclass(frozen=True, eq=False)
class Sweep:
    """All policies of the grid on one set: when each fires (rows: pauses, columns: policies)."""

    policies: tuple[Policy, ...]
    is_end: npt.NDArray[np.bool_]
    cut: npt.NDArray[np.float32]
    delay_ms: npt.NDArray[np.float32]

    def best(self, cut_off_rate: float, weights: Floats | None = None) -> tuple[int, float, float]:
        """Returns the policy with the least mean dead air within a rate of cut-offs: column, its rate, its mean in ms.

        Args:
            cut_off_rate: the most that may be cut.
            weights: how often each pause counts, for a bootstrap.
        """
        w = np.ones(len(self.is_end)) if weights is None else weights
        holds, ends = w[~self.is_end], w[self.is_end]
        rates = holds @ self.cut / max(holds.sum(), 1e-9)
        means = ends @ self.delay_ms / max(ends.sum(), 1e-9)
        column = int(np.argmin(np.where(rates <= cut_off_rate, means, np.inf)))
        return column, float(rates[column]), float(means[column])


def swept(traces: Traces, thresholds: Sequence[float] = THRESHOLDS) -> Sweep:
    """Tries every policy of the grid."""
    policies = [Policy(t, s, u) for t, s, u in itertools.product(thresholds, SURE_MS, UNSURE_MS) if s <= u]
    # A policy fires when it is sure or when it has waited long enough, whichever is first: each is looked up once.
    sure = {(t, s): fire_ms(traces, Policy(t, s, _NEVER_MS)) for t, s in itertools.product(thresholds, SURE_MS)}
    waited = {u: fire_ms(traces, Policy(2.0, u, u)) for u in UNSURE_MS}
    fired = np.stack([np.minimum(sure[p.threshold, p.sure_ms], waited[p.unsure_ms]) for p in policies], axis=1)
    is_end = traces.is_end
    delays = np.minimum(fired[is_end], TAIL_S * 1000)
    return Sweep(tuple(policies), is_end, np.isfinite(fired[~is_end]).astype(np.float32), delays.astype(np.float32))


def interval(
    sweep: Sweep, traces: Traces, cut_off_rate: float, *, rounds: int = 500, seed: int = 1
) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of the least mean dead air within a rate; drawn are texts, all takes."""
    rng = np.random.default_rng(seed)
    # A clip's name is its kind, its text and a number of its own.
    texts = [pause.clip.rsplit("-", 1)[0] for pause in traces.pauses]
    names = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    turn = np.array([names[text] for text in texts])
    means = []
    for _ in range(rounds):
        counts = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names)).astype(float)
        means.append(sweep.best(cut_off_rate, counts[turn])[2])
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def tradeoff(
    traces: Traces, settings: EndpointSettings, thresholds: Sequence[float] = THRESHOLDS
) -> list[tuple[float, float, float]]:
    """Returns (threshold, cut-off rate, median dead air in ms) as the router's threshold sweeps, its delays as set."""
    points = [measured(traces, Policy(t, settings.sure_ms, settings.unsure_ms)) for t in thresholds]
    return [(point.policy.threshold, point.cut_off_rate, point.p50_ms) for point in points]


def auc(traces: Traces, at_ms: int = 300) -> float:
    """Returns how often an end scores above a pause: each at `at_ms` of silence, or at its last step before that."""
    column = at_ms // STEP_MS
    scores = np.array([row[:column][~np.isnan(row[:column])][-1:].sum() for row in traces.probability])
    ends, rest = scores[traces.is_end], scores[~traces.is_end]
    above = (ends[:, None] > rest[None, :]).mean() + 0.5 * (ends[:, None] == rest[None, :]).mean()
    return float(above)


def logistic(features: Floats, labels: Floats, *, ridge: float = 1.0, offsets: Floats | None = None) -> Floats:
    """Returns the weights of a logistic regression (Newton's method).

    Args:
        features: a row for each sample; the first column, all ones, is not shrunk.
        labels: 0 or 1.
        ridge: how strongly the others are drawn to 0.
        offsets: log odds that are there already.
    """
    known = np.zeros(len(labels)) if offsets is None else offsets
    weights = np.zeros(features.shape[1])
    shrink = np.full(features.shape[1], ridge)
    shrink[0] = 1e-6
    for _ in range(50):
        p = 1 / (1 + np.exp(-(features @ weights + known)))
        gradient = features.T @ (p - labels) + shrink * weights
        hessian = (features * (p * (1 - p))[:, None]).T @ features + np.diag(shrink)
        step = np.linalg.solve(hessian, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def logit(probability: float) -> float:
    """Returns log odds, bounded to about 5."""
    bounded = min(max(probability, 0.005), 0.995)
    return log(bounded / (1 - bounded))


def _row(pause: Pause, told: Sequence[Evidence | None], judge: Judge) -> tuple[Pause, list[float], list[float]]:
    silence, probability = [-1.0] * len(told), [np.nan] * len(told)
    for step, evidence in enumerate(told):
        found = None if evidence is None else judge(evidence)
        if evidence is not None and found is not None:
            silence[step], probability[step] = float(evidence.silence_ms), found
    return pause, silence, probability


def _probability(turn_end: TurnEnd, evidence: Evidence) -> float | None:
    verdict = turn_end.judge(evidence)
    return None if verdict.is_wait else verdict.probability


def _stacked(rows: Sequence[tuple[Pause, list[float], list[float]]]) -> Traces:
    pauses, silence, probability = zip(*rows, strict=True)
    return Traces(tuple(pauses), np.array(silence), np.array(probability))
