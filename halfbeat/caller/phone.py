"""The caller's end of a call on one clock: a mouth, an ear, a stereo recording (no I/O).

Every 20 ms `tick` gives the next frame to send and plays the next frame that was received, as a telephone does. Both go
into the recording at the same position, so voice to voice is a distance between two samples of one file.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FRAME_MS = 20
# First agent sample above this level counts as heard (design: -45 dBFS).
AUDIBLE = 10 ** (-45 / 20) * 32768

Samples = NDArray[np.int16]


def last_audible(pcm: Samples) -> int:
    """Returns the position after the last audible sample; 0 when there is none."""
    loud = np.flatnonzero(np.abs(pcm.astype(np.int32)) > AUDIBLE)
    return int(loud[-1]) + 1 if loud.size else 0


def first_audible(pcm: Samples) -> int | None:
    """Returns the position of the first audible sample, or None."""
    loud = np.flatnonzero(np.abs(pcm.astype(np.int32)) > AUDIBLE)
    return int(loud[0]) if loud.size else None


@dataclass(frozen=True)
class Line:
    """Something the caller says.

    Attributes:
        text: the words, for reports; empty when unknown.
        pcm: mono at the phone's rate.
    """

    text: str
    pcm: Samples


@dataclass
class Said:
    """A line that was spoken and what came of it. Positions are samples of the recording.

    Attributes:
        text: what was said.
        start: first sample sent.
        end: after the last audible sample sent.
        answer: first audible sample of the agent after `end`, if any.
        cut_in: the agent began before the line had ended.
    """

    text: str
    start: int
    end: int
    answer: int | None = None
    cut_in: bool = False


@dataclass
class Phone:
    """Mouth, ear and recording.

    Attributes:
        sample_rate_hz: of everything.
        patience_ms: the caller speaks when the agent has been silent for this long.
        give_up_ms: an answer that has not begun by then will not come.
    """

    sample_rate_hz: int
    patience_ms: int = 1500
    give_up_ms: int = 10_000
    said: list[Said] = field(default_factory=list)
    caller: list[Samples] = field(default_factory=list)
    agent: list[Samples] = field(default_factory=list)
    underruns: int = 0

    def __post_init__(self) -> None:
        self.frame = self.sample_rate_hz * FRAME_MS // 1000
        self.position = 0  # samples since the call began
        self.played_marks: deque[str] = deque()
        self._mouth: Samples = np.zeros(0, np.int16)
        self._ear: deque[Samples | str] = deque()
        self._agent_last_audible = 0
        self._agent_has_spoken = False
        self.played_samples = 0

    @property
    def is_speaking(self) -> bool:
        """Whether the caller is in the middle of a line."""
        return self._mouth.size > 0

    @property
    def waiting_samples(self) -> int:
        """Agent audio that has arrived and not played."""
        return sum(x.size for x in self._ear if isinstance(x, np.ndarray))

    @property
    def is_audio_waiting(self) -> bool:
        """Whether agent audio has arrived that has not played."""
        return self.waiting_samples > 0

    @property
    def is_my_turn(self) -> bool:
        """Whether the agent has answered and then been quiet for long enough, or will not answer any more."""
        if self.is_speaking or self.is_audio_waiting:
            return False
        since = self.said[-1].end if self.said else 0
        if self._agent_has_spoken:
            return self._ms_since(self._agent_last_audible) >= self.patience_ms
        return self._ms_since(since) >= self.give_up_ms

    def speak(self, line: Line) -> None:
        """Begins a line with the next tick."""
        if self.is_speaking:
            raise ValueError("the caller is still speaking")
        self._mouth = line.pcm
        self.said.append(Said(line.text, self.position, self.position + last_audible(line.pcm)))
        self._agent_has_spoken = False

    def receive(self, pcm: Samples) -> None:
        """The agent's audio arrived; it plays after what is waiting."""
        self._ear.append(pcm)

    def receive_mark(self, name: str) -> None:
        """A mark arrived; it comes out of `played_marks` when all audio before it has played."""
        if self._ear:
            self._ear.append(name)
        else:
            self.played_marks.append(name)

    def clear(self) -> None:
        """Throws away what has not played; its marks come out at once, as Twilio does."""
        self.played_marks.extend(x for x in self._ear if isinstance(x, str))
        self._ear.clear()

    def tick(self) -> Samples:
        """Moves on by 20 ms; returns the frame to send."""
        sent = np.zeros(self.frame, np.int16)
        head, self._mouth = self._mouth[: self.frame], self._mouth[self.frame :]
        sent[: head.size] = head
        played = self._play()
        self.caller.append(sent)
        self.agent.append(played)
        heard = first_audible(played)
        if heard is not None:
            self._heard(self.position + heard, self.position + last_audible(played))
        self.position += self.frame
        return sent

    def _play(self) -> Samples:
        out = np.zeros(self.frame, np.int16)
        at = 0
        while self._ear and at < self.frame:
            head = self._ear.popleft()
            if isinstance(head, str):
                self.played_marks.append(head)
                continue
            take = head[: self.frame - at]
            out[at : at + take.size] = take
            at += take.size
            if take.size < head.size:
                self._ear.appendleft(head[take.size :])
        while self._ear and isinstance(self._ear[0], str):
            self.played_marks.append(str(self._ear.popleft()))
        self.played_samples += at
        if 0 < at < self.frame:
            self.underruns += 1
        return out

    def _heard(self, first: int, last: int) -> None:
        quiet_before = self._ms_between(self._agent_last_audible, first) >= 150 or self._agent_last_audible == 0
        if self.said and self.said[-1].answer is None and not self.said[-1].cut_in:
            line = self.said[-1]
            if first >= line.end:
                line.answer = first
            elif quiet_before and first > line.start:
                line.cut_in = True
        if not self.is_speaking:
            self._agent_has_spoken = True
        self._agent_last_audible = last

    def v2v_ms(self, line: Said) -> float | None:
        """Voice to voice of one line: its last audible sample to the agent's first."""
        return None if line.answer is None else self._ms_between(line.end, line.answer)

    def stereo(self) -> NDArray[np.int16]:
        """Returns the recording, shape (samples, 2): caller left, agent right."""
        if not self.caller:
            return np.zeros((0, 2), np.int16)
        return np.stack([np.concatenate(self.caller), np.concatenate(self.agent)], axis=1)

    def _ms_since(self, position: int) -> float:
        return self._ms_between(position, self.position)

    def _ms_between(self, start: int, end: int) -> float:
        return (end - start) * 1000 / self.sample_rate_hz
