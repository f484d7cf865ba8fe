"""Scores of a recorded call against what is known of the caller's clips. No I/O; positions in samples at 16 kHz."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench.turns.resumption import Resumption, resumption
from bench.turns.scenario import Role, Step
from halfbeat.audio import RATE_HZ, Samples
from halfbeat.caller.phone import AUDIBLE

#: The agent has stopped when it is silent for this long.
SILENCE_MS = 300
#: Shorter gaps between voiced spans are not pauses into which one could answer.
MIN_PAUSE_MS = 200
#: An interruption that has not silenced the agent by then has failed.
MAX_BARGE_IN_MS = 4000
#: The router tells of an answer within this of its sound.
NEAR_MS = 200
#: Around an aside, this is looked at to see how the agent went on.
BEFORE_S, AFTER_S = 1.0, 2.5

#: Returns an answer of these clauses as it sounds by itself, and where its words begin.
Clean = Callable[[Sequence[str]], tuple[Samples, list[int]]]


@dataclass(frozen=True)
class Happened:
    """What the router told the client: `position` is how far the call was, `detail` its JSON or text."""

    position: int
    name: str
    turn: int
    detail: str


@dataclass(frozen=True)
class Played:
    """A step and where its clip lies."""

    step: Step
    start: int
    end: int

    def at(self, seconds: float) -> int:
        """Position of a moment of the clip."""
        return self.start + round(seconds * RATE_HZ)


@dataclass(frozen=True, eq=False)
class Recording:
    """Both directions of a call as the caller's end had them.

    Attributes:
        sid: session.
        scenario: its name.
        caller: what was sent.
        agent: what was heard, same length.
        played: the steps that came to be played.
        happened: what the router told.
        missed: steps that did not come to be played.
    """

    sid: str
    scenario: str
    caller: Samples
    agent: Samples
    played: Sequence[Played]
    happened: Sequence[Happened] = ()
    missed: int = 0


@dataclass(frozen=True)
class Answer:
    """An answer as the router tells of it: its turn, its clauses, voice to voice, and where the time went."""

    turn: int
    text: str
    v2v_ms: int | None
    hops_ms: Mapping[str, int]


@dataclass(frozen=True)
class TurnScore:
    """What came of a turn, an interruption or a "hold on".

    Attributes:
        end_ms: the last voiced sample, since the clip began.
        v2v_ms: last voiced sample to the agent's next beginning; None without one, or when the agent spoke already.
        is_unanswered: an answer was wanted and the agent was not heard before the caller's next step.
        pauses_ms: pauses of 200 ms and more inside the turn: begin since its first sample, and length.
        cut_ins_ms: beginnings of the agent inside the turn since its first sample, at most one for each pause.
        barge_in_ms: of an interruption of a sounding agent: its first voiced sample to the agent's last one.
        is_deaf: it did not stop the agent in time.
        is_wait_answered: the agent spoke although it was asked to wait.
        stall_ms: longest silence inside the answer, of 300 ms and more: an opener, and then nothing for a while.
        answer: what the router says of the answer that was heard.
    """

    sid: str
    scenario: str
    clip: str
    text: str
    kind: str
    role: Role
    start_s: float
    end_ms: int
    v2v_ms: float | None
    is_unanswered: bool
    pauses_ms: tuple[tuple[int, int], ...] = ()
    cut_ins_ms: tuple[int, ...] = ()
    barge_in_ms: float | None = None
    is_deaf: bool = False
    is_wait_answered: bool = False
    stall_ms: float = 0.0
    answer: Answer | None = None


@dataclass(frozen=True)
class AsideScore:
    """What a backchannel, cough, noise or side talk over the agent did.

    Attributes:
        is_stopped: the agent gave its answer up.
        muted_ms: longest silence of the agent between the aside's start and 2 s after it.
        resumption: how it went on after a silence; None without one, or when its voice is not known.
    """

    sid: str
    scenario: str
    clip: str
    text: str
    kind: str
    start_s: float
    is_stopped: bool
    muted_ms: float
    resumption: Resumption | None = None


@dataclass(frozen=True)
class Run:
    """The agent sounds from `start` to `end`, without a silence of 300 ms."""

    start: int
    end: int


def runs(agent: Samples, silence_ms: int = SILENCE_MS) -> list[Run]:
    """Returns the stretches in which the agent is heard (a sample above -45 dBFS), shorter silences included."""
    loud = np.flatnonzero(np.abs(agent.astype(np.int32)) > AUDIBLE)
    if not loud.size:
        return []
    breaks = np.flatnonzero(np.diff(loud) > silence_ms * RATE_HZ // 1000)
    starts = np.concatenate([loud[:1], loud[breaks + 1]])
    ends = np.concatenate([loud[breaks], loud[-1:]]) + 1
    return [Run(int(a), int(b)) for a, b in zip(starts, ends, strict=True)]


def score(recording: Recording, clean: Clean | None = None) -> tuple[list[TurnScore], list[AsideScore]]:
    """Scores every step that was played; `clean` is the agent's voice, where it is known."""
    heard = runs(recording.agent)
    turns: list[TurnScore] = []
    asides: list[AsideScore] = []
    for played, until in _with_next(recording):
        if played.step.role is Role.ASIDE:
            if any(run.start <= played.start < run.end for run in heard):  # else there was nothing to stop
                asides.append(_aside(recording, played, until, clean))
        else:
            turns.append(_turn(recording, played, until, heard))
    return turns, asides


def _with_next(recording: Recording) -> Iterator[tuple[Played, int]]:
    """Every step, and where the next begins (asides do not end what comes of a turn)."""
    for i, played in enumerate(recording.played):
        later = recording.played[i + 1 :]
        if played.step.role is not Role.ASIDE:
            later = [p for p in later if p.step.role is not Role.ASIDE]
        yield played, later[0].start if later else len(recording.agent)


def _turn(recording: Recording, played: Played, until: int, heard: list[Run]) -> TurnScore:
    clip = played.step.clip
    first, last = played.at(clip.spans[0][0]), played.at(clip.spans[-1][1])
    pauses = [(played.at(a), played.at(b)) for a, b in clip.pauses if (b - a) * 1000 >= MIN_PAUSE_MS]
    begun_inside = [run.start for run in heard if first < run.start < last]
    before = next((run for run in heard if run.start <= first < run.end), None)
    after = next((run.start for run in heard if last <= run.start < until), None)
    is_sounding = any(run.start < last < run.end for run in heard)
    wants = played.step.wants_answer
    barge_in_ms = None if before is None or not wants else _ms(before.end - first)
    is_deaf = barge_in_ms is not None and barge_in_ms > MAX_BARGE_IN_MS
    return TurnScore(
        sid=recording.sid,
        scenario=recording.scenario,
        clip=clip.name,
        text=clip.text,
        kind=clip.kind,
        role=played.step.role,
        start_s=round(played.start / RATE_HZ, 2),
        end_ms=round(_ms(last - played.start)),
        v2v_ms=_ms(after - last) if wants and after is not None and not is_deaf else None,
        is_unanswered=wants and after is None and not is_sounding,
        pauses_ms=tuple((round(_ms(a - played.start)), round(_ms(b - a))) for a, b in pauses),
        cut_ins_ms=_cut_ins(begun_inside, pauses, played.start),
        barge_in_ms=None if is_deaf else barge_in_ms,
        is_deaf=is_deaf,
        is_wait_answered=played.step.role is Role.WAIT and (after is not None or is_sounding),
        stall_ms=_stall_ms([run for run in heard if after is not None and after <= run.start < until]),
        answer=None if after is None else _answer(recording, after),
    )


def _stall_ms(answer: Sequence[Run]) -> float:
    return max((_ms(later.start - earlier.end) for earlier, later in pairwise(answer)), default=0.0)


def _answer(recording: Recording, onset: int) -> Answer | None:
    """What the router told of the answer that was heard from `onset` on."""
    near = [event for event in recording.happened if event.name == "answer_started"]
    near = [event for event in near if abs(event.position - onset) < NEAR_MS * RATE_HZ // 1000]
    if not near:
        return None
    started = min(near, key=lambda event: abs(event.position - onset))
    of_turn = [event for event in recording.happened if event.turn == started.turn]
    said = " ".join(event.detail for event in of_turn if event.name == "agent_said")
    done = next((_detail(event) for event in of_turn if event.name == "turn_done"), {})
    v2v_ms, hops_ms = _detail(started).get("v2v_ms"), done.get("hops_ms")
    return Answer(
        started.turn, said, v2v_ms if isinstance(v2v_ms, int) else None, hops_ms if isinstance(hops_ms, dict) else {}
    )


def _cut_ins(begun: list[int], pauses: list[tuple[int, int]], start: int) -> tuple[int, ...]:
    """The agent's beginnings inside a turn, the first after each pause; one before any pause counts for itself."""
    by_pause: dict[int, int] = {}
    for position in begun:
        index = sum(1 for begin, _ in pauses if begin <= position)
        by_pause.setdefault(index, position)
    return tuple(round(_ms(position - start)) for position in by_pause.values())


def _aside(recording: Recording, played: Played, until: int, clean: Clean | None) -> AsideScore:
    clip = played.step.clip
    first = played.at(clip.spans[0][0])
    is_stopped = any(
        first <= event.position <= until
        and (event.name == "interrupted" or (event.name == "answer_done" and _detail(event).get("is_cut")))
        for event in recording.happened
    )
    window = recording.agent[first : min(until, played.end + 2 * RATE_HZ)]
    loud = np.flatnonzero(np.abs(window.astype(np.int32)) > AUDIBLE)
    muted = int(np.diff(np.concatenate([[0], loud])).max()) if loud.size else len(window)
    return AsideScore(
        recording.sid,
        recording.scenario,
        clip.name,
        clip.text,
        clip.kind,
        round(played.start / RATE_HZ, 2),
        is_stopped=is_stopped,
        muted_ms=round(_ms(muted)),
        resumption=None if clean is None or is_stopped else _resumption(recording, played, until, clean),
    )


def _resumption(recording: Recording, played: Played, until: int, clean: Clean) -> Resumption | None:
    said = [event for event in recording.happened if event.name == "agent_said"]
    turn = next((event.turn for event in reversed(said) if event.position <= played.start), None)
    clauses = dict.fromkeys(event.detail for event in said if event.turn == turn)
    begin = max(0, played.start - int(BEFORE_S * RATE_HZ))
    heard = recording.agent[begin : min(until, played.end + int(AFTER_S * RATE_HZ))]
    return resumption(heard, *clean(tuple(clauses)))


def _detail(event: Happened) -> dict[str, object]:
    detail: dict[str, object] = json.loads(event.detail or "{}")
    return detail


def _ms(samples: int) -> float:
    return samples * 1000 / RATE_HZ
