"""Silero VAD: tells voice from silence, 32 ms at a time, in about 0.2 ms."""

from pathlib import Path
from typing import Any

import numpy as np

from halfbeat.audio import RATE_HZ, Samples
from halfbeat.errors import EngineFailed
from services.router.engine import WINDOW_SAMPLES

#: Samples of the window before that the model wants to see again.
CONTEXT_SAMPLES = 64
#: A window without any sample louder than this (-54 dBFS) is quiet; a caller at a telephone is 10-40 dB louder.
QUIET_PEAK = 64
#: After so many quiet windows the model, which has heard the silence by then, is spared the rest of it.
QUIET_WINDOWS = 10
_RATE = np.array(RATE_HZ, dtype=np.int64)


class Silero:
    """The model, shared by all calls of a process; it keeps nothing between windows."""

    def __init__(self, folder: Path) -> None:
        """Loads the model from where `halfbeat models pull silero-vad` put it.

        Raises:
            EngineFailed: the file cannot be used.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            (file,) = folder.glob("*.onnx")
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as e:
            raise EngineFailed(f"Silero VAD cannot be loaded from {folder}: {e}") from e
        self.detector().probability(np.zeros(WINDOW_SAMPLES, dtype=np.int16))

    def detector(self) -> "SileroDetector":
        """Makes the detector of one call."""
        return SileroDetector(self._session)


class SileroDetector:
    """One call's state. Implements `services.router.engine.VoiceDetector`."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._state = np.zeros((2, 1, 128), dtype=np.float32)
        self._input = np.zeros((1, CONTEXT_SAMPLES + WINDOW_SAMPLES), dtype=np.float32)
        self._quiet_windows = 0

    def probability(self, window: Samples) -> float:
        """See `services.router.engine.VoiceDetector`."""
        is_quiet = int(window.max()) < QUIET_PEAK and int(window.min()) > -QUIET_PEAK
        self._quiet_windows = self._quiet_windows + 1 if is_quiet else 0
        if self._quiet_windows > QUIET_WINDOWS:
            return 0.0
        self._input[0, :CONTEXT_SAMPLES] = self._input[0, -CONTEXT_SAMPLES:]
        np.divide(window, 32768.0, out=self._input[0, CONTEXT_SAMPLES:], casting="unsafe")
        output, self._state = self._session.run(None, {"input": self._input, "state": self._state, "sr": _RATE})
        return float(output[0, 0])
