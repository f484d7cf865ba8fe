"""The caller's audio on its way in: chunks at any rate become 20 ms frames and 32 ms windows. No I/O."""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

import numpy as np

from halfbeat.audio import BYTES_PER_SAMPLE, FRAME_SAMPLES, RATE_HZ, Framer, Resampler, Samples, samples_of
from halfbeat.clock import NS_PER_MS, NS_PER_S
from halfbeat.errors import InvalidRequest, TooFast
from services.router.endpoint import Voice, VoiceActivity
from services.router.engine import WINDOW_SAMPLES, VoiceDetector

#: How far ahead of real time a client may send.
MAX_LEAD_MS = 10_000
#: Pieces that are worked on at a time, so that one client's burst does not stall other calls.
PIECE_MS = 20
#: Chunks of up to this length were being spoken while they were collected; longer ones are bursts.
_LIVE_CHUNK_MS = 200
_RING_S = 12
#: While nobody has spoken for a second, frames are sent five at a time: a silent call costs everybody a fifth.
QUIET_MS = 1000
QUIET_FRAMES = 5


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame of 20 ms at 16 kHz, for the recogniser; several in one while nobody speaks."""

    offset_samples: int
    pcm: bytes
    is_speech: bool


class Intake:
    """What came from the client and was not worked on yet: at most 10 s more than real time."""

    def __init__(self, rate_hz: int) -> None:
        self._rate = rate_hz
        self._full_ns = 0
        self._chunks: deque[tuple[bytes | None, int]] = deque()
        self.waiting_bytes = 0
        #: Samples that were taken since the call began, less those that were cleared.
        self.taken_samples = 0

    def put(self, pcm: bytes, now_ns: int) -> None:
        """Takes a chunk.

        Raises:
            InvalidRequest: half a sample is left over, or more than 10 s at once.
            TooFast: it does not fit; nothing of it was taken.
        """
        samples_of(pcm)
        duration_ns = len(pcm) // BYTES_PER_SAMPLE * NS_PER_S // self._rate
        if duration_ns > MAX_LEAD_MS * NS_PER_MS:
            raise InvalidRequest(f"{duration_ns / NS_PER_S:.1f} s of audio at once; at most 10 s")
        full_ns = max(self._full_ns, now_ns) + duration_ns
        if full_ns - now_ns > MAX_LEAD_MS * NS_PER_MS:
            raise TooFast("audio comes faster than real time and is 10 s ahead; what does not fit is dropped")
        self._full_ns = full_ns
        piece = self._rate * PIECE_MS // 1000 * BYTES_PER_SAMPLE
        for at in range(0, len(pcm), piece):
            # A live chunk was complete now; its earlier pieces were spoken earlier.
            after_ns = (len(pcm) - at - len(pcm[at : at + piece])) // BYTES_PER_SAMPLE * NS_PER_S // self._rate
            self._chunks.append((bytes(pcm[at : at + piece]), now_ns - min(after_ns, _LIVE_CHUNK_MS * NS_PER_MS)))
        self.waiting_bytes += len(pcm)
        self.taken_samples += len(pcm) // BYTES_PER_SAMPLE

    def mark(self) -> None:
        """Puts a mark behind the audio that is there."""
        self._chunks.append((None, 0))

    def take(self) -> tuple[bytes | None, int] | None:
        """Returns the next piece and when its last sample came; (None, 0) for a mark; None when nothing waits."""
        if not self._chunks:
            return None
        pcm, received_ns = self._chunks.popleft()
        self.waiting_bytes -= len(pcm or b"")
        return pcm, received_ns

    def clear(self) -> None:
        """Forgets the audio that waits, not the marks."""
        self._chunks = deque(item for item in self._chunks if item[0] is None)
        self.taken_samples -= self.waiting_bytes // BYTES_PER_SAMPLE
        self.waiting_bytes = 0

    @property
    def waiting_ms(self) -> int:
        """How much audio waits."""
        return self.waiting_bytes // BYTES_PER_SAMPLE * 1000 // self._rate


class Ring:
    """The last seconds of the caller at 16 kHz, addressed by position in the call."""

    def __init__(self, seconds: int = _RING_S) -> None:
        self._samples: Samples = np.zeros(seconds * RATE_HZ, dtype=np.int16)
        self.end = 0

    def write(self, samples: Samples) -> None:
        """Appends."""
        at = self.end % self._samples.size
        head = min(samples.size, self._samples.size - at)
        self._samples[at : at + head] = samples[:head]
        self._samples[: samples.size - head] = samples[head:]
        self.end += samples.size

    def read(self, begin: int) -> Samples:
        """Returns a copy from a position to the end; what is gone already is left out."""
        begin = max(begin, self.end - self._samples.size, 0)
        length = self._samples.size
        return self._samples[np.arange(begin, self.end) % length]


class Ear:
    """Resamples, judges and cuts one caller's audio. All positions in samples at 16 kHz since the call began."""

    def __init__(self, rate_hz: int, detector: VoiceDetector, activity: VoiceActivity) -> None:
        self._resampler = Resampler(rate_hz, RATE_HZ)
        self._delay_ns = int(self._resampler.delay_ms * NS_PER_MS)
        self._detector, self._activity = detector, activity
        self._frames = Framer(FRAME_SAMPLES * BYTES_PER_SAMPLE)
        self._window = Framer(WINDOW_SAMPLES * BYTES_PER_SAMPLE)
        self._framed = self._judged = self._voiced_end = 0
        self._held: list[Heard] = []
        self._is_speech = False
        self._times: deque[tuple[int, int]] = deque(maxlen=_RING_S * 1000 // PIECE_MS)
        self.ring = Ring()

    def convert(self, pcm: bytes) -> bytes:
        """Brings the next piece from the edge's rate to 16 kHz."""
        return self._resampler.process(pcm)

    def hear(self, inside: bytes, received_ns: int, words: bytes | None = None) -> tuple[list[Heard], list[Voice]]:
        """Takes the next piece at 16 kHz.

        Args:
            inside: what decides when somebody speaks.
            received_ns: when it was complete.
            words: what the recogniser and the turn detector hear of it; as long.

        Returns:
            The frames and windows that became whole.
        """
        words = inside if words is None else words
        self.ring.write(samples_of(words))
        self._times.append((self.ring.end, received_ns))
        voices = []
        for window in self._window.push(inside):
            self._judged += WINDOW_SAMPLES
            samples = samples_of(window)
            voices.append(self._activity.push(self._detector.probability(samples), samples, self._judged))
            # Gaps are left out: the recogniser uses a short one to be ready for the eager endpoint.
            self._is_speech = voices[-1].is_active and voices[-1].last_voiced_samples > self._judged - WINDOW_SAMPLES
        if voices and voices[-1].is_active:
            self._voiced_end = self._judged
        for frame in self._frames.push(words):
            self._held.append(Heard(self._framed, frame, self._is_speech))
            self._framed += FRAME_SAMPLES
        is_quiet = self._framed - self._voiced_end > QUIET_MS * RATE_HZ // 1000
        if is_quiet and len(self._held) < QUIET_FRAMES:
            return [], voices
        return self.release(), voices

    def release(self) -> list[Heard]:
        """Returns the frames that are held back; they become one when nobody speaks."""
        held, self._held = self._held, []
        if len(held) != QUIET_FRAMES or any(frame.is_speech for frame in held):
            return held
        return [Heard(held[0].offset_samples, b"".join(frame.pcm for frame in held), is_speech=False)]

    def time_of(self, sample: int) -> int:
        """Returns when a sample was spoken, in monotonic ns, as far as its arrival tells."""
        if not self._times:
            return 0
        at = min(bisect_left(self._times, sample, key=lambda pair: pair[0]), len(self._times) - 1)
        end, received_ns = self._times[at]
        early_ns = max(0, end - sample) * NS_PER_S // RATE_HZ
        return received_ns - min(early_ns, PIECE_MS * NS_PER_MS) - self._delay_ns
