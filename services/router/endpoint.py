"""When somebody speaks: windows of 32 ms become speech with a beginning and a precise end. No I/O."""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from halfbeat.audio import RATE_HZ, Samples

Number = TypeVar("Number", float, NDArray[np.float64])

#: Resolution of the first and last voiced sample: 4 ms.
BLOCK_SAMPLES = 64
_SAMPLES_PER_MS = RATE_HZ // 1000
#: 0 dBFS as power of 16 bit samples.
FULL_SCALE_DB = 20 * math.log10(32768)


def ms_of(samples: int) -> int:
    """Returns how long samples at 16 kHz last."""
    return samples // _SAMPLES_PER_MS


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """Thresholds of voice activity.

    Attributes:
        start_probability: a window at least this sure begins speech.
        stop_probability: a window at least this sure continues it; lower, so that soft endings are not cut.
        min_voice_ms: speech begins only after this much voice in a row; clicks are shorter.
        pause_ms: silence after which speech has paused: the eager endpoint.
        depth_db: how far below the loudest part of an utterance its end may fade and still be voice.
    """

    start_probability: float = 0.5
    stop_probability: float = 0.35
    min_voice_ms: int = 64
    pause_ms: int = 120
    depth_db: float = 30.0


@dataclass(frozen=True, slots=True)
class Voice:
    """What is known after one more window. All positions in samples at 16 kHz since the call began.

    Attributes:
        is_active: the caller speaks, short gaps included.
        start_samples: first voiced sample of this speech.
        last_voiced_samples: end of the last voiced sample of this speech.
        end_samples: end of the window.
        voiced_ms: voice within this speech so far, gaps left out.
        probability: the model's opinion of the window.
        row_ms: voice without any gap up to here, from its first window on; 0 when this window has none.
        is_pausing: the caller was quiet in this window, not long enough yet for a pause.
        peak_dbfs: level of the loudest 4 ms of this speech.
    """

    is_active: bool
    start_samples: int
    last_voiced_samples: int
    end_samples: int
    voiced_ms: int
    probability: float = 0.0
    row_ms: int = 0
    is_pausing: bool = False
    peak_dbfs: float = 0.0

    @property
    def silence_ms(self) -> int:
        """Silence since the last voiced sample."""
        return ms_of(self.end_samples - self.last_voiced_samples)


#: How much of the noise's estimate each silent window replaces: half of it in a quarter of a second.
_NOISE_SHARE = 0.08
#: Voice is at least 6 dB above the noise, and whatever is within 10 dB of the loudest part of the speech.
_ABOVE_NOISE, _MIN_DEPTH = 4.0, 10.0


def _powers(window: Samples) -> NDArray[np.float32]:
    """Returns the mean power of each whole block."""
    whole = window.size // BLOCK_SAMPLES * BLOCK_SAMPLES
    powers: NDArray[np.float32] = np.mean(
        np.square(window[:whole].astype(np.float32).reshape(-1, BLOCK_SAMPLES)), axis=1
    )
    return powers


class VoiceActivity:
    """Follows one caller's voice, window by window."""

    def __init__(self, settings: VoiceSettings) -> None:
        self._settings = settings
        self._depth = 10 ** (settings.depth_db / 10)
        self._is_active = False
        self._start = self._last_voiced = 0
        self._voiced = self._run = self._row = 0
        self._peak_power = 0.0
        # Of the line while nobody speaks.
        self._noise_power = 0.0

    def push(self, probability: float, window: Samples, end_samples: int) -> Voice:
        """Takes one window and the detector's opinion of it."""
        settings = self._settings
        threshold = settings.stop_probability if self._is_active or self._run else settings.start_probability
        if probability >= threshold:
            self._on_voice(window, end_samples)
        elif not self._is_active:
            self._run = 0
            self._noise_power += _NOISE_SHARE * (float(np.median(_powers(window))) - self._noise_power)
        elif ms_of(end_samples - self._last_voiced) >= settings.pause_ms:
            self._is_active, self._run = False, 0
        is_voiced = probability >= threshold and self._last_voiced > end_samples - window.size
        if is_voiced and not self._row:
            self._row = min(window.size, end_samples - self._start)
        else:
            self._row = self._row + window.size if is_voiced else 0
        return Voice(
            self._is_active,
            self._start,
            self._last_voiced,
            end_samples,
            voiced_ms=ms_of(self._voiced if self._is_active else 0),
            probability=probability,
            row_ms=ms_of(self._row),
            is_pausing=self._is_active and probability < threshold,
            peak_dbfs=10 * math.log10(max(self._peak_power, 1.0)) - FULL_SCALE_DB,
        )

    def _on_voice(self, window: Samples, end_samples: int) -> None:
        power = _powers(window)
        if not self._is_active and not self._run:
            self._peak_power, self._voiced = 0.0, 0
        self._peak_power = max(self._peak_power, float(power.max()))
        # The model stays sure for a window or two after the voice has gone; the level tells where it went.
        # On a noisy line the level falls to the noise, which may lie above a voice's depth.
        floor = min(self._noise_power * _ABOVE_NOISE, self._peak_power / _MIN_DEPTH)
        loud = np.flatnonzero(power >= max(self._peak_power / self._depth, floor))
        begin = end_samples - window.size
        if not self._is_active and not self._run:
            self._start = begin + int(loud[0]) * BLOCK_SAMPLES if loud.size else begin
            self._last_voiced = self._start
        if loud.size:
            self._last_voiced = begin + (int(loud[-1]) + 1) * BLOCK_SAMPLES
        self._run += window.size
        self._voiced += window.size
        if ms_of(self._run) >= self._settings.min_voice_ms:
            self._is_active = True


def least_ms(probability: Number, threshold: float, sure_ms: float, hesitation_ms: float) -> Number:
    """Returns the shortest silence that ends a turn, from `sure_ms` at probability 1 up to more at the threshold."""
    return sure_ms + hesitation_ms * (1 - probability) / (1 - threshold)


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """When a pause ends the turn; `services.router.detector` says how. Times in ms unless named otherwise.

    Attributes:
        threshold: probability of the end at which a turn is over.
        sure_ms: shortest silence that ends a turn, when the detector is quite sure.
        hesitation_ms: so much longer is the shortest silence when the detector is only just sure: between two sentences
            a voice pauses for 200 to 350 ms, which no source tells from an end.
        unsure_ms: longest silence: it ends a turn whatever the detector says, or when there is none.
        ask_ms: silence at which the audio model is asked: with less it knows little, and shorter gaps are no pauses.
        ask_again_ms: silence at which the audio model is asked once more.
        wait_s: silence that ends a turn of a caller who asked for time.
        max_turn_ms: longest turn, pauses or not (hold music never pauses).
        audio_gap_ms: caller's audio missing for this long counts as silence by the wall clock.
        final_ms: longest wait for the words after they were asked for; the partial ones count then.
    """

    threshold: float = 0.87
    sure_ms: int = 150
    hesitation_ms: int = 200
    unsure_ms: int = 1500
    ask_ms: int = 120
    ask_again_ms: int = 300
    wait_s: float = 10.0
    max_turn_ms: int = 30_000
    audio_gap_ms: int = 500
    final_ms: int = 3000

    def least_ms(self, probability: float) -> float:
        """Returns the shortest silence that ends a turn which is over with this probability, `threshold` or more."""
        return least_ms(probability, self.threshold, self.sure_ms, self.hesitation_ms)
