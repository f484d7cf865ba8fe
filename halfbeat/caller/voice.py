"""Speech for a caller: WAV files as they are, or text spoken by the tts service's own engine in a second voice."""

import asyncio
import json
import sys
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr

from halfbeat.caller.phone import Line, Samples
from halfbeat.errors import EngineFailed, InvalidRequest


def read_wav(path: Path, sample_rate_hz: int) -> Samples:
    """Reads a 16 bit WAV file as mono at the wanted rate.

    Raises:
        InvalidRequest: it is not such a file; the text says what to do.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != 2:
                raise InvalidRequest(f"{path} has {8 * file.getsampwidth()} bit samples; convert it to 16 bit")
            pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
            rate = file.getframerate()
    except (OSError, wave.Error, EOFError) as e:
        raise InvalidRequest(f"cannot read {path} as a WAV file: {e}") from e
    mono = pcm.astype(np.float32).mean(axis=1)
    resampled = soxr.resample(mono, rate, sample_rate_hz)
    clipped: Samples = np.clip(resampled, -32768, 32767).astype(np.int16)
    return clipped


async def speak(texts: Sequence[str], sample_rate_hz: int, *, voice: str = "caller") -> list[Line]:
    """Speaks the texts in a process of its own (models stay out of ours); the same texts sound the same each time.

    Raises:
        EngineFailed: the process failed; the text holds the end of what it said.
    """
    with tempfile.TemporaryDirectory(prefix="halfbeat-say-") as folder:
        jobs = [{"text": text, "out": str(Path(folder) / f"{i}.wav")} for i, text in enumerate(texts)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.tts.say", "--json", "--voice", voice, "--seed", "1",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60 + 10 * len(texts)):
            _, err = await process.communicate(json.dumps(jobs).encode())
        if process.returncode != 0:
            raise EngineFailed("speaking the caller's lines failed: " + err.decode(errors="replace").strip()[-400:])
        return [Line(text, read_wav(Path(job["out"]), sample_rate_hz)) for text, job in zip(texts, jobs, strict=True)]
