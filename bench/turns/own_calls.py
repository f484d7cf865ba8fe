"""Calls made of your own recordings: WAV files, each with a JSON file of the same name that says what is in it.

    {"spans": [[0.0, 0.94], [1.71, 2.80]],         voiced stretches, in s
     "text": "My address is 12 Oak Street.",       what is said (else that of manifest.tsv)
     "words": [["My", 0.00, 0.18], ...],           when each word sounds, in s (default: evenly over the spans)
     "role": "turn",                               turn (default), wait, interruption or aside
     "kind": "paused",                             a name for the report (default: the role)
     "over_ms": 1200}                              of an interruption or aside: after the agent began to sound

Files are taken in the order of their names, ten wanted answers to a call. An interruption or an aside is said over the
answer to the turn before it. Without a JSON file a recording is one turn whose spans are found above -45 dBFS.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.turns.recordings import clips_of
from bench.turns.scenario import Role, Scenario, Step
from bench.turns.sets import TURNS_A_CALL
from bench.turns.speech import Clip, Word
from halfbeat.errors import InvalidRequest

OVER_MS = 1200


def calls_of(folder: Path) -> list[Scenario]:
    """Returns calls made of a folder's recordings.

    Raises:
        InvalidRequest: there are none, or one has wrong labels.
    """
    try:
        steps = [_step(clip, folder / f"{clip.name}.json") for clip in clips_of(folder)]
    except (ValueError, TypeError, KeyError) as e:
        raise InvalidRequest(f"labels in {folder}: {e!r}; docs/benchmarks.md has the format") from e
    calls: list[list[Step]] = [[]]
    for step in steps:
        if step.role is Role.TURN and sum(s.wants_answer for s in calls[-1]) >= TURNS_A_CALL:
            calls.append([])
        calls[-1].append(step)
    return [Scenario(f"own-{i:02d}", tuple(call)) for i, call in enumerate(calls)]


def _step(clip: Clip, labels: Path) -> Step:
    about: dict[str, Any] = json.loads(labels.read_text()) if labels.is_file() else {}
    role = Role(about.get("role", "turn"))
    begin_s = float(about["spans"][0][0]) if about else 0.0  # the clip begins with the first span
    words = tuple(Word(str(t), float(a) - begin_s, float(b) - begin_s) for t, a, b in about.get("words", ()))
    text = str(about.get("text", clip.text))
    made = replace(clip, kind=str(about.get("kind", role)), text=text, words=words or _spread(text, clip.spans))
    is_over = role in (Role.INTERRUPTION, Role.ASIDE)
    return Step(made, role, over_ms=int(about.get("over_ms", OVER_MS)) if is_over else None)


def _spread(text: str, spans: tuple[tuple[float, float], ...]) -> tuple[Word, ...]:
    """Puts the words evenly over the voiced time."""
    words = text.split()
    each_s = sum(b - a for a, b in spans) / max(1, len(words))

    def at(spoken_s: float) -> float:
        for a, b in spans:
            if spoken_s <= b - a:
                return a + spoken_s
            spoken_s -= b - a
        return spans[-1][1]

    return tuple(Word(word, at(i * each_s), at((i + 1) * each_s)) for i, word in enumerate(words))
