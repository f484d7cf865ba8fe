"""What is really said: told by the caller's end to the scripted workers, a line of JSON for each clip."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from halfbeat.audio import RATE_HZ

DEFAULT_ANSWER = "Okay, that is taken care of now."


@dataclass
class Truth:
    """What callers say and should hear.

    Attributes:
        words: by session: text, first and last sample of the call, in order.
        answers: by the caller's words, without punctuation.
    """

    words: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)

    def take(self, line: str) -> None:
        """Takes what `line_for` made."""
        said = json.loads(line)
        self.words.setdefault(said["sid"], []).extend((t, int(a), int(b)) for t, a, b in said["words"])
        if said["answer"]:
            self.answers[_plain(" ".join(word[0] for word in said["words"]))] = said["answer"]

    def between(self, sid: str, begin: int, end: int) -> str:
        """Returns the words whose middle lies between two samples."""
        return " ".join(t for t, a, b in self.words.get(sid, ()) if begin <= (a + b) // 2 < end)

    def answer(self, said: str) -> str:
        """Returns what the agent says to these words."""
        return self.answers.get(_plain(said), DEFAULT_ANSWER)


def line_for(sid: str, words: Sequence[tuple[str, float, float]], start: int, answer: str) -> str:
    """Returns the line that tells of a clip which begins at sample `start` of a call; word times in s of the clip."""
    placed = [[t, start + int(a * RATE_HZ), start + int(b * RATE_HZ)] for t, a, b in words]
    return json.dumps({"sid": sid, "words": placed, "answer": answer})


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
