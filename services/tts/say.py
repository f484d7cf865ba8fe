"""Speaks text into WAV files: one line from the command line, or many from standard input with one start of the engine.

    python -m services.tts.say "My trash was not picked up." --voice caller --out caller.wav
    echo '[{"text": "Hello.", "out": "0.wav"}, {"text": "Bye.", "out": "1.wav"}]' | python -m services.tts.say --json

Files are 16 kHz mono 16 bit. With --json, standard output holds for each file its length and when each word sounds.
"""

import argparse
import json
import sys
import wave
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from halfbeat.audio import BYTES_PER_SAMPLE, RATE_HZ
from halfbeat.errors import HalfbeatError, InvalidRequest
from services.tts.config import TtsSettings
from services.tts.engine import TtsEngine
from services.tts.engines import make_engine
from services.tts.framing import ClauseAudio, Piece
from services.tts.voices import VOICES, PitchedEngine, voice_named


class Job(BaseModel):
    """One file to make."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    text: str
    out: Path


def say(engine: TtsEngine, job: Job, speed: float = 1.0) -> dict[str, Any]:
    """Speaks one text into its file; returns what --json prints for it."""
    audio = ClauseAudio(engine.sample_rate)
    pieces: list[Piece] = []
    for chunk in engine.synthesize(job.text, speed=speed):
        pieces += audio.push(chunk)
    pieces += audio.finish()
    pcm = b"".join(p.pcm for p in pieces)
    with wave.open(str(job.out), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(BYTES_PER_SAMPLE)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm)
    return {
        "text": job.text,
        "out": str(job.out),
        "sample_rate_hz": RATE_HZ,
        "duration_s": len(pcm) / BYTES_PER_SAMPLE / RATE_HZ,
        "words": [
            {
                "text": job.text[w.char_start : w.char_end],
                "start_s": w.start_samples / RATE_HZ,
                "end_s": w.end_samples / RATE_HZ,
            }
            for p in pieces
            for w in p.words
        ],
    }


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m services.tts.say", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", nargs="?", help="what to say")
    parser.add_argument("--out", type=Path, help="WAV file to write")
    parser.add_argument("--voice", default="agent", help=f"one of {', '.join(VOICES)} (default: agent)")
    parser.add_argument("--json", action="store_true", help='read [{"text", "out"}, ...] from standard input')
    parser.add_argument("--seed", type=int, help="the same words sound the same in each run (engines on ONNX Runtime)")
    arguments = parser.parse_args(argv)
    try:
        jobs = _jobs(arguments)
        settings = TtsSettings.load()
        if arguments.seed is not None:
            import onnxruntime

            onnxruntime.set_seed(arguments.seed)  # before the graphs are loaded: their noise is drawn from it
        engine = PitchedEngine(make_engine(settings), voice_named(arguments.voice))
        engine.load()
        said = [say(engine, job, settings.speed) for job in jobs]
    except (HalfbeatError, OSError) as e:
        print(f"say: {e}", file=sys.stderr)
        return 1
    if arguments.json:
        json.dump(said, sys.stdout)
    return 0


def _jobs(arguments: argparse.Namespace) -> list[Job]:
    if not arguments.json:
        if not arguments.text or arguments.out is None:
            raise InvalidRequest("give a text and --out, or --json and the list on standard input")
        return [Job(text=arguments.text, out=arguments.out)]
    try:
        return TypeAdapter(list[Job]).validate_json(sys.stdin.read())
    except ValidationError as e:
        raise InvalidRequest(f"standard input is not a list of texts and files: {e.errors()[0]['msg']}") from e


if __name__ == "__main__":
    sys.exit(main())
