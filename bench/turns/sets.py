"""The two sets of calls, built from the bank with a seed: which clips, in which order, when."""

import random
import zlib
from collections.abc import Callable, Iterable, Sequence

from bench.turns import bank
from bench.turns.scenario import Role, Scenario, Step
from bench.turns.speech import Clip, Line, make_speech

#: Each call of the scripted set wants this many answers.
TURNS_A_CALL = 10
#: Voices and lines that a line of the bank is made in.
TAKES = 2

Progress = Callable[[int, int], None]


class Casting:
    """Draws a clip for a line: a voice, a level, a telephone line or a wide one, noise or none."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._lines: dict[Line, None] = {}
        self._clips: dict[Line, Clip] = {}

    def line(self, text: str, kind: str, *, level_dbfs: float = -22.0) -> Line:
        """Returns a recipe of this text; the same text comes in `TAKES` versions."""
        take = self._rng.randrange(TAKES)
        rng = random.Random(f"{text}{kind}{take}")
        line = Line(
            text,
            kind,
            name=f"{kind}-{hash_of(text) % 10_000:04d}-{take}",
            level_dbfs=level_dbfs + rng.uniform(-4, 2),
            is_phone=rng.random() < 0.5,
            snr_db=rng.choice((None, None, 20.0, 30.0)),
        )
        self._lines[line] = None
        return line

    def make(self, seed: int, on_made: Progress) -> None:
        """Makes the clips of all lines that were asked for."""
        lines = list(self._lines)
        self._clips = dict(zip(lines, make_speech(lines, seed=seed, on_made=on_made), strict=True))

    def clip(self, line: Line) -> Clip:
        """The clip of a line, once made."""
        return self._clips[line]


def hash_of(text: str) -> int:
    """A number for a text, the same in every process."""
    return zlib.crc32(text.encode())


Draft = tuple[Line, Role, int | None, int | None]


def scripted(turns: int, seed: int, on_made: Progress) -> list[Scenario]:
    """Returns calls that want at least so many answers, of every kind of turn and aside."""
    rng, casting = random.Random(seed), Casting(seed)
    calls = [_scripted_call(rng, casting) for _ in range(max(1, -(-turns // TURNS_A_CALL)))]
    casting.make(seed, on_made)
    return [Scenario(f"scripted-{i:02d}", _steps(call, casting)) for i, call in enumerate(calls)]


def _scripted_call(rng: random.Random, casting: Casting) -> list[Draft]:
    def turn(texts: Sequence[str], kind: str) -> list[Draft]:
        return [(casting.line(rng.choice(texts), kind), Role.TURN, None, None)]

    early, late = rng.randrange(350, 900), rng.randrange(2000, 4200)
    asides = [_aside(rng, casting, at) for at in (rng.randrange(900, 1500), rng.randrange(3000, 3800))]
    blocks: list[list[Draft]] = [
        turn(bank.PLAIN, "plain"),
        turn(bank.PAUSED, "paused"),
        turn(bank.PAUSED, "paused"),
        turn(bank.SHORT, "short"),
        turn(bank.SPELLED, "spelled") if rng.random() < 0.5 else turn(bank.HESITANT, "hesitant"),
        [*turn(bank.QUESTIONS, "question"), *asides],
        [
            *turn(bank.QUESTIONS, "question"),
            (
                casting.line(rng.choice(bank.INTERRUPTIONS), "interruption"),
                Role.INTERRUPTION,
                rng.choice((early, late)),
                None,
            ),
        ],
        turn(bank.PLAIN, "plain"),
        [
            (casting.line(rng.choice(bank.WAITS), "wait"), Role.WAIT, None, None),
            (casting.line(rng.choice(bank.FOUND), "found"), Role.TURN, None, rng.randrange(1800, 3200)),
        ],
    ]
    rng.shuffle(blocks)
    return [draft for block in blocks for draft in block]


def _aside(rng: random.Random, casting: Casting, over_ms: int) -> Draft:
    kind = rng.choice(("backchannel", "backchannel", "cough", "sound", "side_talk"))
    if kind == "backchannel":
        line = casting.line(rng.choice(bank.BACKCHANNELS), kind, level_dbfs=-26.0)
    elif kind == "side_talk":
        line = casting.line(rng.choice(bank.SIDE_TALK), kind, level_dbfs=-36.0)
    else:
        line = casting.line("", "cough" if kind == "cough" else rng.choice(bank.SOUNDS), level_dbfs=-28.0)
    return (line, Role.ASIDE, over_ms, None)


def city(turns: int, seed: int, on_made: Progress) -> list[Scenario]:
    """Returns 311 calls that want at least so many answers; some callers interrupt or say "mm-hm"."""
    rng, casting = random.Random(seed), Casting(seed)
    calls: list[list[Draft]] = []
    while sum(draft[1] in (Role.TURN, Role.INTERRUPTION) for call in calls for draft in call) < turns:
        calls.append(_city_call(rng, casting, len(calls)))
    casting.make(seed, on_made)
    return [
        Scenario(
            f"city-{i:02d}",
            _steps(call, casting),
            number=f"+155501001{42 + i % 8:02d}",
            has_opening=True,
            patience_ms=800,
            give_up_ms=12_000,
        )
        for i, call in enumerate(calls)
    ]


def _city_call(rng: random.Random, casting: Casting, number: int) -> list[Draft]:
    call: list[Draft] = []
    for part, wordings in enumerate(bank.CITY):
        call.append((casting.line(rng.choice(wordings), "city"), Role.TURN, None, None))
        if part in (0, 1) and rng.random() < 0.5:
            call.append(_aside(rng, casting, rng.randrange(900, 1600)))
        elif part == 2 and number % 2:
            line = casting.line(rng.choice(("Wait, what time will they come?", "Is that free?")), "interruption")
            call.append((line, Role.INTERRUPTION, rng.randrange(400, 1500), None))
    return call


def _steps(call: Iterable[Draft], casting: Casting) -> tuple[Step, ...]:
    return tuple(Step(casting.clip(line), role, over_ms, gap_ms) for line, role, over_ms, gap_ms in call)


def answer_to(step: Step, sid: str) -> str:
    """What the scripted agent says to a step of a call."""
    rng = random.Random(f"{sid}{step.clip.name}")
    is_new = rng.random() < bank.NEW_SHARE
    begin = (
        bank.NEW_BEGINNING.format(rng.choice(bank.HOW), rng.choice(bank.WHAT)) if is_new else rng.choice(bank.OPENERS)
    )
    rest = rng.choice(bank.LONG_ANSWERS if step.clip.kind == "question" else bank.SHORT_ANSWERS)
    return f"{begin} {rest}"
