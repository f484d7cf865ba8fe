"""How soon and how fast the voice speaks: first audio, and engine time for a second of audio.

    python -m bench.tts                      # the default voice, 20 rounds
    python -m bench.tts --rounds 5 --hurried --json

The engine is measured in this process, without the bus. Machines that share their cores are noisy: look at the spread,
or count CPU time (--cpu-time, one thread), which is what an idle core would need.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from services.tts.config import TtsSettings
from services.tts.engine import TtsEngine
from services.tts.engines import make_engine

# First clauses of one to eight words, and longer ones.
CLAUSES = (
    "Okay,",
    "Sure thing,",
    "Your trash pickup,",
    "Let me check that.",
    "I can help with that,",
    "A truck will come by tomorrow.",
    "I am sorry that your trash was missed.",
    "Hi, I see you're calling from Oak Street.",
    "A truck will come tomorrow, December 6th, between 7 and 11 AM.",
)


@dataclass(frozen=True)
class Figures:
    """What many measurements of one quantity look like."""

    n: int
    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, values: list[float]) -> "Figures":
        """Summarises at least one value."""
        ordered = sorted(values)
        at = [ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.1, 0.9)]
        return cls(len(ordered), round(statistics.median(ordered), 3), round(at[0], 3), round(at[1], 3))


def measure(
    engine: TtsEngine, text: str, rounds: int, *, is_hurried: bool, clock: Callable[[], float]
) -> dict[str, Figures | float | str]:
    """Speaks one clause several times."""
    first_ms, factor, seconds = [], [], 0.0
    for _ in range(rounds):
        began = clock()
        samples, first = 0, 0.0
        for chunk in engine.synthesize(text, is_hurried=is_hurried):
            first = first or clock() - began
            samples += len(chunk.samples)
        seconds = samples / engine.sample_rate
        first_ms.append(first * 1000)
        factor.append((clock() - began) / seconds)
    return {"text": text, "audio_s": seconds, "first_audio_ms": Figures.of(first_ms), "rtf": Figures.of(factor)}


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="measurements of each clause (default: 20)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--hurried", action="store_true", help="as when little of the budget is left")
    parser.add_argument("--cpu-time", action="store_true", help="count CPU time in place of time")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    engine = make_engine(TtsSettings.load())
    began = time.perf_counter()
    engine.load()
    load_s = time.perf_counter() - began
    rows = [measure(engine, text, arguments.rounds, is_hurried=arguments.hurried, clock=clock) for text in CLAUSES]
    if arguments.json:
        plain = [{k: asdict(v) if isinstance(v, Figures) else v for k, v in row.items()} for row in rows]
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        json.dump({"engine": engine.name, "load_s": load_s, "machine": machine, "clauses": plain}, sys.stdout, indent=2)
        return 0
    print(f"engine {engine.name}, loaded in {load_s:.1f} s, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'audio':>7}  {'first audio, ms: median (p10-p90)':<36}{'RTF: median (p10-p90)':<30}n   clause")
    for row in rows:
        first, factor = row["first_audio_ms"], row["rtf"]
        assert isinstance(first, Figures)
        assert isinstance(factor, Figures)
        spread = f"{first.median:6.0f} ({first.p10:.0f}-{first.p90:.0f})"
        rtf = f"{factor.median:.3f} ({factor.p10:.3f}-{factor.p90:.3f})"
        print(f"{row['audio_s']:6.2f}s  {spread:<36}{rtf:<30}{first.n:<4}{row['text']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
