"""Gathers speech to train with: `python -m train.echo.gather --out DIR`.

One Opus file for each voice: six sets of telephone prompts from Debian's packages of Asterisk, the agent's own voice,
and three voices of Flite. What is there already stays. Needs Debian or Ubuntu, or the packages in `--packages`.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import soxr

from halfbeat import models
from halfbeat.audio import RATE_HZ, Floats
from halfbeat.errors import HalfbeatError
from services.tts.engines.vits import VitsEngine

#: Voices, which are folders in the packages, and the packages.
PROMPTS = {
    "en_US_f_Allison": "asterisk-core-sounds-en-g722",
    "es_MX_f_Allison": "asterisk-core-sounds-es-g722",
    "fr_CA_f_June": "asterisk-core-sounds-fr-g722",
    "it_IT_f_Menardi": "asterisk-prompt-it-menardi-wav",
    "it_IT_m_Carlo": "asterisk-core-sounds-it-g722",
    "ru_RU_f_IvrvoiceRU": "asterisk-core-sounds-ru-g722",
}
FLITE = ("awb", "rms", "slt")
AGENT = "joe"
AGENT_MODEL = "piper-en-us-joe-medium"

_SOUNDS = Path("usr/share/asterisk/sounds")
_LINES = Path(__file__).parents[2] / "bench" / "turns" / "lines.toml"
#: What the agent says, for the agent's and Flite's voices, among what callers say.
_AGENT_LINES = (
    "I'm sorry, a truck broke down, so Oak Street was missed. "
    "I can send a truck tomorrow between 8 AM and noon. Shall I book it?",
    "Okay, a truck comes to Oak Street tomorrow, Monday, November 23, between 8 AM and noon. Is there anything else?",
    "Hi, I see you're calling from Oak Street. Are you reporting today's missed trash pickup?",
    "You're welcome. Goodbye, and have a good day.",
    "Sure, I'll text you a confirmation with the reference number. Anything else I can do for you?",
)
_LINES_EACH = 160
_PEAK = 0.7
_SILENCE = np.zeros(RATE_HZ * 3 // 20, np.float32)
#: Shorter prompts are digits, letters and beeps: at least so many bytes as a file, and so many samples as a sound.
_LEAST_BYTES, _LEAST_SAMPLES = 8000, RATE_HZ * 3 // 4
_TO_INSTALL = {
    "apt-get": "it comes with Debian and Ubuntu; elsewhere, put the packages into a folder and name it by --packages",
    "dpkg": "it comes with Debian and Ubuntu; elsewhere there is a package dpkg",
    "ffmpeg": "apt-get install ffmpeg",
    "flite": "apt-get install flite",
}


class GatherError(Exception):
    """Something is missing here; the message says what helps."""


def gather(out: Path, packages: Path | None) -> None:
    """Writes what is missing of all voices.

    Args:
        out: the folder.
        packages: where the packages lie, or are kept when they come; None to download and forget them.

    Raises:
        GatherError: something is missing here.
    """
    out.mkdir(parents=True, exist_ok=True)

    def missing(voices: Iterable[str]) -> list[str]:
        return [v for v in voices if not _file(out, v).is_file()]

    prompts, flite, agent = missing(PROMPTS), missing(FLITE), missing([AGENT])
    # All that is missing is said before anything takes long.
    _require(*(["dpkg", "ffmpeg"] if prompts else []), *(["flite"] if flite else []))
    engine = _engine() if agent else None
    if prompts:
        with tempfile.TemporaryDirectory() as scratch:
            _gather_prompts(out, prompts, packages or Path(scratch), Path(scratch))
    lines = _lines()
    if engine is not None:
        _write(out, AGENT, (_spoken(engine, line) for line in lines[:_LINES_EACH]))
    for voice in flite:
        _write(out, voice, (_by_flite(voice, line) for line in lines[_LINES_EACH : 2 * _LINES_EACH]))


# --- prompts --------------------------------------------------------------------------------------------------------


def _gather_prompts(out: Path, voices: list[str], packages: Path, scratch: Path) -> None:
    packages.mkdir(parents=True, exist_ok=True)
    _download([PROMPTS[v] for v in voices if _package(packages, PROMPTS[v]) is None], packages)
    for voice in voices:
        package = _package(packages, PROMPTS[voice])
        if package is None:
            raise GatherError(f"apt-get did not put {PROMPTS[voice]} into {packages}")
        unpacked = scratch / voice
        _run(["dpkg", "-x", str(package), str(unpacked)])
        _write(out, voice, _decoded(unpacked / _SOUNDS / voice))
        shutil.rmtree(unpacked)


def _package(folder: Path, name: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{name}_*.deb"))), None)


def _download(names: list[str], folder: Path) -> None:
    """Lets apt-get bring packages; it checks them, and needs no root for that."""
    if not names:
        return
    _require("apt-get")
    print(f"downloading {', '.join(names)}", flush=True)
    try:
        _run(["apt-get", "-q", "-o", "Acquire::Retries=3", "download", *names], folder)
    except GatherError as e:
        raise GatherError(
            f"{e}\nIf apt-get does not know the packages: run `apt-get update` (root) first. "
            "Debian has them in main, Ubuntu in universe. Or put them into a folder and name it by --packages."
        ) from e


def _decoded(folder: Path) -> Iterable[Floats]:
    files = [
        p
        for p in sorted(folder.rglob("*"))
        if p.suffix in (".g722", ".wav") and "silence" not in p.parts and p.stat().st_size > _LEAST_BYTES
    ]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from pool.map(_decode, files)


def _decode(file: Path) -> Floats:
    kind = ["-f", "g722"] if file.suffix == ".g722" else []
    to = ["-ar", str(RATE_HZ), "-ac", "1", "-f", "s16le", "-"]
    raw = _run(["ffmpeg", "-nostdin", "-v", "error", *kind, "-i", str(file), *to])
    return np.frombuffer(raw, dtype="<i2").astype(np.float32) / 32768


# --- synthetic voices -----------------------------------------------------------------------------------------------


def _lines() -> list[str]:
    """What callers and the agent say, without the marks of pauses, in an order that is always the same."""
    kinds = tomllib.loads(_LINES.read_text(encoding="utf-8")).values()
    said = [line for kind in kinds if isinstance(kind, dict) for line in kind.get("lines", [])]
    lines = [re.sub(r"\[[^\]]*\]", "", line) for line in said] + 2 * list(_AGENT_LINES)
    random.Random(0).shuffle(lines)
    return lines


def _engine() -> VitsEngine:
    try:
        engine = VitsEngine(models.path(AGENT_MODEL))
        engine.load()
    except HalfbeatError as e:
        raise GatherError(f"the agent's voice cannot speak: {e}") from e
    return engine


def _spoken(engine: VitsEngine, line: str) -> Floats:
    return _at_our_rate(np.concatenate([chunk.samples for chunk in engine.synthesize(line)]), engine.sample_rate)


def _by_flite(voice: str, line: str) -> Floats:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "line.wav"
        _run(["flite", "-voice", voice, "-t", line, str(file)])
        samples, rate = soundfile.read(file, dtype="float32")
    return _at_our_rate(samples, rate)


def _at_our_rate(samples: Floats, rate_hz: int) -> Floats:
    if rate_hz == RATE_HZ:
        return samples
    resampled: Floats = soxr.resample(samples, rate_hz, RATE_HZ).astype(np.float32)
    return resampled


# --- small things ---------------------------------------------------------------------------------------------------


def _file(folder: Path, voice: str) -> Path:
    return folder / f"{voice}.ogg"


def _write(folder: Path, voice: str, sounds: Iterable[Floats]) -> None:
    """Writes sounds with a pause behind each, all equally loud at their peaks; the file appears when it is whole."""
    began, parts = time.monotonic(), []
    for sound in sounds:
        peak = np.abs(sound).max(initial=0)
        if len(sound) >= _LEAST_SAMPLES and peak >= 1e-3:
            parts += [sound * (_PEAK / peak), _SILENCE]
    if not parts:
        raise GatherError(f"no speech for {voice}: its package or program is not as expected")
    samples = np.concatenate(parts)
    part = folder / f"{voice}.part"
    soundfile.write(part, samples, RATE_HZ, format="OGG", subtype="OPUS")
    part.replace(_file(folder, voice))
    minutes, took = len(samples) / RATE_HZ / 60, time.monotonic() - began
    print(f"{voice}: {len(parts) // 2} utterances, {minutes:.1f} min, made in {took:.0f} s", flush=True)


def _require(*programs: str) -> None:
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        raise GatherError("\n".join(f"the program {p} is missing: {_TO_INSTALL[p]}" for p in missing))


def _run(command: list[str], folder: Path | None = None) -> bytes:
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-2000:]
        raise GatherError(f"{' '.join(command[:3])} ... ended with {done.returncode}: {said}")
    return done.stdout


def main() -> None:
    """Gathers; says what to install where something is missing."""
    parser = argparse.ArgumentParser(prog="python -m train.echo.gather", description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for one recording of each voice")
    parser.add_argument("--packages", type=Path, help="folder that holds or keeps the packages (default: a temporary)")
    args = parser.parse_args()
    try:
        gather(args.out, args.packages)
    except GatherError as e:
        sys.exit(f"gather: {e}")


if __name__ == "__main__":
    main()
