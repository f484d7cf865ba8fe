"""Audio as halfbeat handles it: mono s16 little endian, 16 kHz inside, other rates and G.711 only at edges."""

import math

import numpy as np
import numpy.typing as npt

from halfbeat.errors import InvalidRequest

RATE_HZ = 16_000
FRAME_MS = 20
FRAME_SAMPLES = RATE_HZ * FRAME_MS // 1000
BYTES_PER_SAMPLE = 2
#: Quieter than this nobody hears on a phone; decides what counts as the first audible sample.
AUDIBLE_DBFS = -45.0

Samples = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float32]

_FULL_SCALE = 32768.0


def samples_of(pcm: bytes) -> Samples:
    """Views bytes as samples, without copying.

    Raises:
        InvalidRequest: half a sample is left over.
    """
    if len(pcm) % BYTES_PER_SAMPLE:
        raise InvalidRequest(f"audio of {len(pcm)} bytes: a sample is {BYTES_PER_SAMPLE} bytes, one is cut in half")
    return np.frombuffer(pcm, dtype="<i2")


def duration_ms(pcm: bytes, rate_hz: int) -> float:
    """Returns how long mono 16 bit audio lasts."""
    return len(pcm) / BYTES_PER_SAMPLE * 1000 / rate_hz


def level_dbfs(samples: npt.NDArray[np.int16 | np.float32]) -> float:
    """Returns the RMS level of 16 bit samples in dB below full scale; -120 for silence."""
    if not samples.size:
        return -120.0
    rms = math.sqrt(float(np.mean(np.square(samples, dtype=np.float64))))
    return max(-120.0, 20 * math.log10(rms / _FULL_SCALE)) if rms else -120.0


def first_audible(samples: Samples, threshold_dbfs: float = AUDIBLE_DBFS) -> int | None:
    """Returns the position of the first sample louder than the threshold, or None."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > _FULL_SCALE * 10 ** (threshold_dbfs / 20))
    return int(loud[0]) if loud.size else None


# --- G.711 (ITU-T G.711, 1988): tables, so that both directions are one look-up -------------------------------------


def _mu_law_expansion() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    expansion: Samples = np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)
    return expansion


def _a_law_expansion() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment = (code & 0x70) >> 4
    mantissa = ((code & 0x0F) << 4) + np.where(segment > 0, 0x108, 8)
    magnitude = mantissa << np.maximum(segment - 1, 0)
    expansion: Samples = np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)
    return expansion


def _compression(expansion: Samples) -> npt.NDArray[np.uint8]:
    """For each 16 bit sample, as unsigned index, the code whose expansion is nearest."""
    # Of two codes for the same value (mu-law has +0 and -0) the later one, positive zero, is G.711's.
    values, codes = np.unique(expansion[::-1], return_index=True)
    codes = 255 - codes
    middles = (values[1:].astype(np.float64) + values[:-1]) / 2
    samples = np.arange(65536, dtype=np.uint16).view(np.int16)
    return codes[np.searchsorted(middles, samples, side="left")].astype(np.uint8)


class _G711:
    def __init__(self, expansion: Samples) -> None:
        self._expand = expansion.astype("<i2")
        self._compress = _compression(expansion)

    def decode(self, codes: bytes) -> bytes:
        """Expands one byte a sample to 16 bit audio."""
        return self._expand[np.frombuffer(codes, dtype=np.uint8)].tobytes()

    def encode(self, pcm: bytes) -> bytes:
        """Compresses 16 bit audio to one byte a sample."""
        return self._compress[samples_of(pcm).view(np.uint16)].tobytes()


MU_LAW = _G711(_mu_law_expansion())
A_LAW = _G711(_a_law_expansion())


# --- Resampling -----------------------------------------------------------------------------------------------------


class Resampler:
    """Converts a stream from one rate to another, any chunk sizes, without seams.

    A polyphase FIR: a Kaiser-windowed sinc with 70 dB of stopband (formula of Kaiser, 1974). soxr was measured and not
    taken for the live path: as a stream it holds back 26-115 ms between 8 and 16 kHz whatever its quality (its blocks
    are long), this one `delay_ms`, 1-3 ms.
    """

    STOPBAND_DB = 70.0
    #: Width of the filter's slope as part of the band that is kept.
    TRANSITION = 0.18

    def __init__(self, from_hz: int, to_hz: int) -> None:
        if min(from_hz, to_hz) < 4000 or max(from_hz, to_hz) > 192_000:
            raise InvalidRequest(f"cannot convert audio from {from_hz} Hz to {to_hz} Hz")
        divisor = math.gcd(from_hz, to_hz)
        self._up, self._down = to_hz // divisor, from_hz // divisor
        self._is_identity = from_hz == to_hz
        virtual_hz = from_hz * self._up
        cutoff_hz = min(from_hz, to_hz) / 2
        width = self.TRANSITION * cutoff_hz / virtual_hz
        wanted = (self.STOPBAND_DB - 7.95) / (14.36 * width) + 1
        self._taps = max(2, math.ceil(wanted / self._up))
        length = self._taps * self._up
        beta = 0.1102 * (self.STOPBAND_DB - 8.7)
        # The slope ends where the kept band ends: what would fold back is gone, at the price of the topmost tenth.
        centre = cutoff_hz * (1 - self.TRANSITION / 2) / virtual_hz
        t = np.arange(length) - (length - 1) / 2
        kernel = 2 * centre * np.sinc(2 * centre * t) * np.kaiser(length, beta) * self._up
        # Row p holds the taps of phase p, oldest sample first.
        self._phases = np.ascontiguousarray(kernel.reshape(self._taps, self._up).T[:, ::-1], dtype=np.float32)
        self._kernels = np.ascontiguousarray(self._phases[:, ::-1])
        self.delay_ms = 0.0 if self._is_identity else (length - 1) / 2 / virtual_hz * 1000
        self.clear()

    def clear(self) -> None:
        """Forgets the stream; the next chunk begins a new one."""
        self._history: Floats = np.zeros(self._taps - 1, dtype=np.float32)
        # Position of the next output sample after the first sample of the next chunk, in steps of 1 / up.
        self._position = 0

    def process(self, pcm: bytes) -> bytes:
        """Converts the next chunk; what comes out lags by `delay_ms`.

        Raises:
            InvalidRequest: half a sample is left over.
        """
        samples = samples_of(pcm)
        if self._is_identity:
            return bytes(pcm)
        return self._convert(samples.astype(np.float32))

    def flush(self) -> bytes:
        """Returns the rest of the stream and forgets it."""
        if self._is_identity:
            return b""
        tail = self._convert(np.zeros(self._taps // 2, dtype=np.float32))
        self.clear()
        return tail

    def _convert(self, chunk: Floats) -> bytes:
        if not chunk.size:
            return b""
        x = np.concatenate((self._history, chunk))
        steps = np.arange(self._position, chunk.size * self._up, self._down)
        self._history = x[x.size - self._taps + 1 :]
        self._position += steps.size * self._down - chunk.size * self._up
        if not steps.size:
            return b""
        at, phase = steps // self._up, steps % self._up
        if self._up <= 4:  # every phase at every sample costs less than gathering the windows
            y = np.stack([np.convolve(x, row, "valid") for row in self._kernels])[phase, at]
        else:
            windows = np.lib.stride_tricks.sliding_window_view(x, self._taps)
            y = np.einsum("nt,nt->n", windows[at], self._phases[phase])
        pcm: bytes = np.rint(y).clip(-32768, 32767).astype("<i2").tobytes()
        return pcm


class Framer:
    """Cuts a stream of bytes into frames of one length."""

    def __init__(self, frame_bytes: int) -> None:
        self._frame_bytes = frame_bytes
        self._rest = bytearray()

    def push(self, pcm: bytes) -> list[bytes]:
        """Returns the frames that became whole."""
        self._rest += pcm
        whole = len(self._rest) // self._frame_bytes * self._frame_bytes
        frames = [bytes(self._rest[i : i + self._frame_bytes]) for i in range(0, whole, self._frame_bytes)]
        del self._rest[:whole]
        return frames

    def clear(self) -> None:
        """Forgets what is not a whole frame."""
        self._rest.clear()
