"""A caller whose words can be read off the samples, and a recogniser that reads them."""

import numpy as np

from services.asr.engine import SAMPLE_RATE, Recognition, Samples
from services.asr.session import AsrSession, Decode, Final, Output, Partial, StreamPolicy

FRAME = 320
WORD_FRAMES = 15
SOUND_FRAMES = 12
STEP = 64


def word(number: int) -> str:
    """Word number n of the caller."""
    return f"w{number}"


def read_words(pcm: Samples) -> Recognition:
    """Recognises a word wherever at least half of its sound is there."""
    codes = np.rint(pcm * 32768 / STEP).astype(int)
    numbers, counts = np.unique(codes[codes > 0], return_counts=True)
    spoken = [n for n, c in zip(numbers, counts, strict=True) if c >= SOUND_FRAMES * FRAME // 2]
    order = sorted(spoken, key=lambda n: int(np.argmax(codes == n)))
    return Recognition(" ".join(word(n) for n in order), confidence=0.9)


class Talk:
    """A session under test with its clock, its caller and its engine."""

    def __init__(self, policy: StreamPolicy | None = None, decode_ms: float = 50.0) -> None:
        self.session = AsrSession(policy)
        self.decode_ms = decode_ms
        self.at = 0
        self.spoken = 0
        self.in_flight: tuple[float, Decode] | None = None
        self.decodes: list[Decode] = []
        self.partials: list[Partial] = []
        self.finals: list[Final] = []

    @property
    def now_ms(self) -> float:
        """The call's clock runs with its audio."""
        return self.at * 1000 / SAMPLE_RATE

    def do(self, outputs: list[Output]) -> None:
        """Takes what the session wants; a new decode replaces the one in progress."""
        for output in outputs:
            match output:
                case Decode():
                    self.decodes.append(output)
                    self.in_flight = (self.now_ms + self.decode_ms, output)
                case Partial():
                    self.partials.append(output)
                case Final():
                    self.finals.append(output)

    def answer(self) -> None:
        """The engine finishes now."""
        assert self.in_flight is not None
        _, decode = self.in_flight
        self.in_flight = None
        self.do(self.session.on_recognised(decode, read_words(decode.pcm), self.decode_ms, self.now_ms))

    def frame(self, level: int = 0, *, is_speech: bool | None = None) -> None:
        """20 ms of the caller."""
        if self.in_flight is not None and self.now_ms >= self.in_flight[0]:
            self.answer()
        pcm = np.full(FRAME, level * STEP, np.int16)
        voiced = level > 0 if is_speech is None else is_speech
        offset, self.at = self.at, self.at + FRAME
        self.do(self.session.on_audio(offset, pcm, voiced, self.now_ms))

    def silence(self, ms: int) -> None:
        """Nobody speaks."""
        for _ in range(ms // 20):
            self.frame()

    def say(self, words: int) -> None:
        """The next words, 300 ms each: 240 ms of sound, flagged as speech, and a gap too short for a pause."""
        for _ in range(words):
            self.spoken += 1
            for i in range(WORD_FRAMES):
                self.frame(self.spoken if i < SOUND_FRAMES else 0, is_speech=True)

    def start(self, turn: int = 1, back_ms: int = 0) -> None:
        """The router marks the start of speech."""
        self.do(self.session.on_speech_started(turn, max(0, self.at - back_ms * 16), self.now_ms))

    def flush(self, turn: int = 1, back_ms: int = 0) -> None:
        """The router wants the words; the last voice was `back_ms` ago."""
        self.do(self.session.on_flush(turn, self.at - back_ms * 16, self.now_ms))

    def settle(self) -> None:
        """Silence until the engine rests."""
        for _ in range(200):
            if self.in_flight is None:
                return
            self.frame()
        raise AssertionError("the engine never rests")

    def texts(self) -> list[str]:
        """All finals so far."""
        return [f.text for f in self.finals]


def words(first: int, last: int) -> str:
    """The text of the caller's words, both included."""
    return " ".join(word(n) for n in range(first, last + 1))
