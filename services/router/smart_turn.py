"""Smart Turn v3: a small audio model that hears whether a caller has finished or only pauses."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np

from halfbeat.audio import RATE_HZ, Floats, Samples
from halfbeat.errors import EngineFailed, TimedOut
from services.router.mel import log_mel

#: The model hears the last 8 s; shorter turns get silence before them.
SPAN_SAMPLES = 8 * RATE_HZ


def features(turn: Samples) -> Floats:
    """Returns what the model takes: the last 8 s, brought to zero mean and unit variance, as log-mel, 1 x 80 x 800."""
    recent = turn[-SPAN_SAMPLES:].astype(np.float32) / 32768.0
    span = np.zeros(SPAN_SAMPLES, dtype=np.float32)
    span[SPAN_SAMPLES - recent.size :] = recent
    span = (span - span.mean()) / np.sqrt(span.var() + 1e-7)
    return log_mel(span)[None]


class SmartTurn:
    """The model on one thread of its own. Implements `services.router.engine.TurnDetector`."""

    def __init__(self, folder: Path, *, deadline_s: float = 0.6) -> None:
        """Loads the model.

        Args:
            folder: where `halfbeat models pull smart-turn-v3` put it.
            deadline_s: longest wait for an answer, queueing included; silence decides after that anyway.

        Raises:
            EngineFailed: the file cannot be used.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A spinning thread would take a whole core from the models that answer meanwhile.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            (file,) = folder.glob("*.onnx")
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as e:
            raise EngineFailed(f"Smart Turn cannot be loaded from {folder}: {e}") from e
        self._input = self._session.get_inputs()[0].name
        self._deadline_s = deadline_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="smart-turn")
        self.judge(np.zeros(RATE_HZ, dtype=np.int16))

    def judge(self, turn: Samples) -> float:
        """Blocks for one judgement; see `probability`."""
        (output,) = self._session.run(None, {self._input: features(turn)})
        return float(np.asarray(output).reshape(-1)[0])

    async def probability(self, turn: Samples) -> float:
        """See `services.router.engine.TurnDetector`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._deadline_s):
                return await loop.run_in_executor(self._thread, self.judge, turn)
        except TimeoutError:
            raise TimedOut(f"Smart Turn took longer than {self._deadline_s} s") from None
        except Exception as e:
            raise EngineFailed(f"Smart Turn failed: {e}") from e

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
