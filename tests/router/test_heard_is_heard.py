"""Whatever a caller utters over the agent, at any moment: the history is what was heard, and no word is lost or cut.

Whole calls in virtual time. The agent's voice has a level of its own for every 20 ms, so the caller's end knows which
part of which word sounded, and whether at full level or ducked.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from callers_end import Piece, played
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from scene import Line, Scene, Script, tone

from halfbeat.audio import Samples, level_dbfs, samples_of
from halfbeat.clock import run_virtual
from halfbeat.v1 import tts_pb2
from services.router import edge

CLAUSES = [
    "Well, the rules about bulky",
    "items are long and I",
    "will read them all now.",
]
ANSWER = " ".join(CLAUSES)
WORD_MS, GAP_MS = 240, 60
FRAMES_PER_WORD = (WORD_MS + GAP_MS) // 20
WORDS_PER_CLAUSE = 5
FRAMES = len(CLAUSES) * WORDS_PER_CLAUSE * FRAMES_PER_WORD
DUCKED = 10 ** (-15 / 20)
#: Sounds of the caller: amplitude, what the recogniser makes of it, range of its length in ms.
SOUNDS = {
    "barge_in": (8000, "No, stop that.", (320, 1200)),
    "backchannel": (8000, "Mm-hm.", (160, 480)),
    "cough": (600, "", (96, 480)),
    "click": (8000, "", (30, 30)),
}


def voice(text: str) -> tuple[bytes, list[tts_pb2.WordTiming]]:
    """A clause in which each frame can be told from every other of the answer."""
    first = CLAUSES.index(text) * WORDS_PER_CLAUSE * FRAMES_PER_WORD
    numbers = np.arange(first, first + WORDS_PER_CLAUSE * FRAMES_PER_WORD)
    words, at = [], 0
    for i, word in enumerate(text.split()):
        char = text.index(word, at)
        at = char + len(word)
        start = i * FRAMES_PER_WORD * 320
        words.append(
            tts_pb2.WordTiming(char_start=char, char_end=at, start_samples=start, end_samples=start + WORD_MS * 16)
        )
    return np.repeat(3000 + 20 * numbers, 320).astype("<i2").tobytes(), words


class UnsureDetector:
    """Loud is voice; not so loud may be."""

    def probability(self, window: Samples) -> float:
        level = level_dbfs(window)
        return 0.95 if level > -28 else 0.55 if level > -42 else 0.02


class UnsureModels:
    turn_detector = None
    cleaner = None

    def voice_detector(self) -> UnsureDetector:
        return UnsureDetector()


@dataclass(frozen=True)
class Sounded:
    """A frame of an answer as it was played."""

    number: int
    is_ducked: bool
    at_s: float
    is_whole: bool


def sounded(pieces: Sequence[Piece], turn: int) -> list[Sounded]:
    """Reads the frames of a turn's answer; those that were faded away are left out."""
    frames = []
    for piece in pieces:
        level = int(piece.samples[-1]) if piece.turn == turn and piece.samples.size > 160 else 0
        if level >= 2900:
            frames.append(Sounded((level - 3000) // 20, False, piece.at_s, piece.samples.size == 320))
        elif level > 0:
            frames.append(Sounded(round((level / DUCKED - 3000) / 20), True, piece.at_s, piece.samples.size == 320))
    return frames


def heard_frames(frames: Sequence[Sounded]) -> int:
    """How many frames from the first on were heard; ducked ones only if the agent went straight on, or had ended."""
    heard = 0
    for i, frame in enumerate(frames):
        later = next((f for f in frames[i + 1 :] if not f.is_ducked), None)
        between = [f.number for f in frames[i:] if later is None or f.at_s < later.at_s]
        goes_on = (later is not None and later.number == between[-1] + 1) or between[-1] == FRAMES - 1
        if frame.is_whole and (not frame.is_ducked or goes_on):
            heard = max(heard, frame.number + 1)
    return heard


def words_in(frames: int) -> str:
    """The words whose audio is among so many frames."""
    words = ANSWER.split()
    whole = sum(1 for i in range(len(words)) if i * FRAMES_PER_WORD + WORD_MS // 20 <= frames)
    return " ".join(words[:whole])


@dataclass
class Uttered:
    kind: str
    start_s: float
    ms: int
    # How long the answer had sounded by then; None when it did not.
    into_answer_ms: int | None


async def utter(scene: Scene, line: Line, kind: str, ms: int) -> Uttered:
    amplitude, text, (shortest, longest) = SOUNDS[kind]
    ms = min(longest, max(shortest, ms))
    scene.script.heard[:] = [text]
    now_s = line.clock.now_ns() / 1e9
    pieces = [p for p in played(line.events) if p.at_s <= now_s < p.at_s + 0.02]
    starts = line.when(edge.AnswerStarted)
    into = round((now_s - starts[-1]) * 1000) if pieces and starts else None
    uttered = Uttered(kind, now_s, ms, into)
    await line._send(tone(ms, amplitude=amplitude))
    return uttered


async def held(steps: Sequence[tuple[str, int, int]]) -> tuple[Scene, Line, list[Uttered]]:
    """A call in which the caller asks once and then utters these: kind, ms before it, ms of it."""
    script = Script(heard=["Tell me the rules."], answers=[CLAUSES], clause_s=0.05, voice=voice)
    scene = Scene(script, silence_prompt_s=0)
    scene.models = UnsureModels()  # type: ignore[assignment]
    uttered = []
    async with asyncio.timeout(600), scene:
        line = await scene.dial()
        await line.speak(800)
        await line.until(edge.AnswerStarted)
        for kind, after_ms, ms in steps:
            await line.pause(after_ms)
            uttered.append(await utter(scene, line, kind, ms))
        while line.call.floor.answer is not None or line.call.floor.utterance is not None:
            await line.pause(200)
        await line.hang_up()
    return scene, line, uttered


STEPS = st.lists(
    st.tuples(st.sampled_from(sorted(SOUNDS)), st.integers(240, 1800), st.integers(30, 1200)), min_size=1, max_size=5
)

#: A whole call takes a second; shrinking one that fails would take minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


@given(STEPS)
@example([("backchannel", 700, 300), ("barge_in", 900, 600)])
@example([("cough", 900, 300), ("click", 300, 30), ("backchannel", 200, 480), ("barge_in", 60, 900)])
@example([("click", 900, 30), ("barge_in", 900, 600)])
@example([("barge_in", 4300, 400)])
@example([("backchannel", 1482, 528), ("cough", 1200, 573), ("click", 1137, 1163), ("click", 581, 1163)])  # spun once
@settings(max_examples=25, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
def test_the_history_is_what_was_heard_and_nothing_is_lost_or_cut(steps: list[tuple[str, int, int]]) -> None:
    scene, line, uttered = run_virtual(held(steps))
    pieces = played(line.events)
    (dialogue,) = scene.dialogue
    done = [e for e in line.of(edge.AnswerDone) if isinstance(e, edge.AnswerDone)]
    for answer in done:
        frames = sounded(pieces, answer.turn)
        expected = words_in(heard_frames(frames))
        assert answer.text_heard == expected, f"turn {answer.turn}: {uttered}"
        _check_marks(dialogue.heard, answer.turn, expected)
        _check_order(frames)
        if not answer.is_cut:
            assert answer.text_heard == ANSWER, "an answer that was not stopped is heard as a whole"
    offsets = [a.offset_samples for _, a in line.audio()]
    assert offsets == list(range(0, 320 * len(offsets), 320)), "one timeline, whatever was repeated"
    _check_stops(line, pieces, uttered)


def _check_marks(marks: Sequence[object], turn: int, expected: str) -> None:
    """Marks grow, and their sum is what was heard."""
    of_turn = [m for m in marks if m.stamp.turn == turn]  # type: ignore[attr-defined]
    positions = [(m.clause, m.chars) for m in of_turn]  # type: ignore[attr-defined]
    assert positions == sorted(positions)
    if positions:
        clause, chars = positions[-1]
        assert " ".join([*CLAUSES[:clause], CLAUSES[clause][:chars]]).strip() == expected


def _check_order(frames: Sequence[Sounded]) -> None:
    """The agent goes straight on, or back to the start of the word at which the ducking began."""
    ducked_from = None
    for before, after in pairwise(frames):
        if before.is_ducked and ducked_from is None:
            ducked_from = before.number
        if after.number == before.number + 1:
            ducked_from = ducked_from if after.is_ducked else None
            continue
        assert after.at_s - before.at_s > 0.03, "it went back without having been silent"
        if ducked_from is None:  # muted at once, as under the echo guard
            ducked_from = before.number + 1
        into_word = ducked_from % FRAMES_PER_WORD
        begin = ducked_from - into_word if into_word < WORD_MS // 20 else ducked_from
        # The first frame of what is repeated fades in.
        assert after.number in (begin, begin + 1), f"ducked at {ducked_from}, went on at {after.number}"
        ducked_from = after.number if after.is_ducked else None


def _check_stops(line: Line, pieces: Sequence[Piece], uttered: Sequence[Uttered]) -> None:
    """Only who means it stops the agent, and he has silence within 250 ms."""
    for at_s in line.when(edge.Interrupted):
        assert any(u.kind == "barge_in" and u.start_s < at_s < u.start_s + u.ms / 1000 + 1 for u in uttered)
    for one in uttered:
        remaining_ms = FRAMES * 20 - (one.into_answer_ms or 0)
        is_early = one.into_answer_ms is None or one.into_answer_ms < 450
        if one.kind != "barge_in" or is_early or remaining_ms < 1500:
            continue
        end_s = one.start_s + one.ms / 1000
        loud = [p.last_audible_s for p in pieces if one.start_s <= p.at_s < end_s and p.last_audible_s is not None]
        silent_ms = (max(loud, default=one.start_s) - one.start_s) * 1000
        assert silent_ms <= 250, f"{one}: {silent_ms:.0f} ms"


def test_the_first_sound_of_the_caller_ducks_the_agent_within_60_ms() -> None:
    for after_ms in range(900, 960, 20):  # wherever it falls between windows and frames
        _, line, (one,) = run_virtual(held([("backchannel", after_ms, 300)]))
        ducked = [at for at, a in line.audio() if 0 < int(samples_of(a.pcm)[-1]) < 2900]
        assert 0 < ducked[0] - one.start_s <= 0.06
