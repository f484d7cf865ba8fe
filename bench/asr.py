"""Word error rate and latency of the recognisers, whole and as a stream, clean and over the phone edge.

    python -m bench.asr --audio-dir DIR [--engine moonshine] [--engine faster-whisper] [--snr 10] [--json OUT]

DIR holds `manifest.tsv` (columns `file` and `transcript`) and the WAV files. "Stream" runs the router's ear and VAD and
the service's own session on the call's clock: 20 ms frames, partials, a flush at each pause; an engine's time counts as
it was measured. "flush" is from the last flush to its final, "ready" the share of those whose words were there already,
"after voice" from the last voiced sample to the final. Run it on a quiet machine, or with --cpu-time on a busy one, and
compare only numbers of one run.
"""

import argparse
import csv
import json
import os
import re
import statistics
import sys
import time
import wave
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import jiwer
import numpy as np
import soxr

sys.path.insert(0, str(Path(__file__).parent.parent))

from halfbeat import models
from halfbeat.audio import MU_LAW, samples_of
from services.asr import gate
from services.asr.agreement import words_of
from services.asr.config import AsrSettings
from services.asr.engine import NO_HINT, SAMPLE_RATE, AsrEngine, Samples
from services.asr.engines import make_engine
from services.asr.session import AsrSession, Decode, Final, Output, Partial, StreamPolicy
from services.router.ear import Ear
from services.router.endpoint import VoiceActivity, VoiceSettings
from services.router.vad import Silero

FRAME = 320


@dataclass(frozen=True)
class Clip:
    """One recording and what is said in it."""

    name: str
    pcm: Samples
    text: str


@dataclass(frozen=True)
class Hearing:
    """What stands before the engine: the router's VAD, when it flushes, and the session's policy."""

    vad: Silero
    flush_after_ms: int
    policy: StreamPolicy
    clock: Callable[[], float]


@dataclass
class Streamed:
    """What the session made of one clip; latencies of its last flush."""

    final: str = ""
    flush_ms: float = 0.0
    after_voice_ms: float = 0.0
    flushes: int = 0
    decodes: int = 0
    engine_ms: float = 0.0
    first_words_ms: float | None = None
    stable_words: int = 0
    retracted: int = 0


@dataclass
class Row:
    """One line of the report; latencies in ms."""

    engine: str
    condition: str
    clips: int
    words: int
    wer: float
    wer_stream: float
    rejected: int
    whole_p50: float
    whole_p95: float
    flush_p50: float
    flush_p95: float
    after_voice_p50: float
    after_voice_p95: float
    decodes: float
    ready_share: float
    load: float


def main() -> int:
    """Runs the benchmark and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio-dir", type=Path, required=True, help="folder with manifest.tsv")
    parser.add_argument("--engine", action="append", help="may be repeated; default: moonshine and faster-whisper")
    parser.add_argument("--model-dir", type=Path, help="folder with the model's files, with a single --engine")
    parser.add_argument("--only", default="", help="regular expression on file names")
    parser.add_argument("--snr", type=float, help="add a condition: white noise at this ratio in dB, then the phone")
    default = StreamPolicy()
    parser.add_argument("--flush-after", type=int, default=120, help="silence at which the router flushes, in ms")
    parser.add_argument(
        "--pause", type=int, default=default.pause_ms, help="silence at which a pause is decoded, in ms"
    )
    parser.add_argument("--tail", type=int, default=default.tail_ms, help="audio kept after the last voice, in ms")
    parser.add_argument("--threads", type=int, default=1, help="of the engine")
    parser.add_argument("--cpu-time", action="store_true", help="count CPU time: what an idle core needs; one thread")
    parser.add_argument("--conditions", default="clean,phone", help="which of them (default: both)")
    parser.add_argument("--show-errors", action="store_true")
    parser.add_argument("--json", type=Path, help="write the rows there")
    arguments = parser.parse_args()
    clips = load(arguments.audio_dir, arguments.only)
    conditions: dict[str, Callable[[Samples], Samples]] = {"clean": lambda x: x, "phone": phone}
    conditions = {name: conditions[name] for name in arguments.conditions.split(",")}
    if arguments.snr is not None:
        conditions[f"phone, {arguments.snr:g} dB"] = lambda x: phone(noisy(x, arguments.snr))
    policy = StreamPolicy(pause_ms=arguments.pause, tail_ms=arguments.tail)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    hearing = Hearing(Silero(models.path("silero-vad")), arguments.flush_after, policy, clock)
    rows = []
    print(f"{len(clips)} clips, {sum(len(c.pcm) for c in clips) / SAMPLE_RATE:.0f} s; load {os.getloadavg()[0]:.1f}")
    for name in arguments.engine or ["moonshine", "faster-whisper"]:
        engine = make_engine(
            AsrSettings.model_validate({"engine": name, "model_dir": arguments.model_dir, "threads": arguments.threads})
        )
        engine.load()
        for condition, change in conditions.items():
            rows.append(measure(engine, condition, clips, change, hearing, arguments.show_errors))
            print_row(rows[-1], is_first=len(rows) == 1)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(r) for r in rows], indent=2))
    return 0


def measure(
    engine: AsrEngine,
    condition: str,
    clips: list[Clip],
    change: Callable[[Samples], Samples],
    hearing: Hearing,
    show_errors: bool,
) -> Row:
    """Recognises every clip, whole and as a stream."""
    said, whole, streamed, whole_ms, rejected = [], [], [], [], 0
    streams: list[Streamed] = []
    for clip in clips:
        pcm = change(clip.pcm)
        began_s = hearing.clock()
        heard = gate.transcribe(engine, pcm, NO_HINT, None)
        whole_ms.append((hearing.clock() - began_s) * 1000)
        rejected += heard.rejection is not None
        streams.append(stream(engine, pcm, hearing))
        said.append(plain(clip.text))
        whole.append(plain(heard.recognition.text))
        streamed.append(plain(streams[-1].final))
        if show_errors and not said[-1] == whole[-1] == streamed[-1]:
            print(f"  said {said[-1]!r}\n whole {whole[-1]!r}\nstream {streamed[-1]!r}")
    flush_ms = [s.flush_ms for s in streams]
    audio_ms = sum(len(c.pcm) for c in clips) * 1000 / SAMPLE_RATE
    if any(s.retracted for s in streams):
        raise AssertionError("stable words were taken back")
    return Row(
        engine.name,
        condition,
        len(clips),
        sum(len(s.split()) for s in said),
        100 * jiwer.wer(said, whole),
        100 * jiwer.wer(said, streamed),
        rejected,
        *quantiles(whole_ms),
        *quantiles(flush_ms),
        *quantiles([s.after_voice_ms for s in streams]),
        sum(s.decodes for s in streams) / len(streams),
        sum(ms == 0 for ms in flush_ms) / len(flush_ms),
        sum(s.engine_ms for s in streams) / audio_ms,
    )


def stream(engine: AsrEngine, speech: Samples, hearing: Hearing) -> Streamed:
    """Plays one clip to a session as the router would, on the call's clock."""
    lead, tail = np.zeros(SAMPLE_RATE // 2, np.float32), np.zeros(SAMPLE_RATE, np.float32)
    pcm = np.rint(np.clip(np.concatenate((lead, speech, tail)), -1, 1) * 32767).astype("<i2")
    ear = Ear(SAMPLE_RATE, hearing.vad.detector(), VoiceActivity(VoiceSettings(pause_ms=hearing.flush_after_ms)))
    session, out = AsrSession(hearing.policy), Streamed()
    pending: list[tuple[float, Decode, float, gate.Heard]] = []
    before: tuple[str, ...] = ()
    flushed_ms, last_voiced, was_active = 0.0, 0, False

    def do(outputs: list[Output], now_ms: float) -> None:
        nonlocal before
        for output in outputs:
            if isinstance(output, Decode):
                began_s = hearing.clock()
                heard = gate.transcribe(engine, output.pcm, output.hint, output.speech_s)
                took_ms = (hearing.clock() - began_s) * 1000
                # One engine thread: what is replaced still runs to its end first.
                free_ms = max([now_ms, *(p[0] for p in pending)])
                pending.append((free_ms + took_ms, output, took_ms, heard))
                out.decodes += 1
                out.engine_ms += took_ms
            elif isinstance(output, Partial):
                stable = words_of(output.stable)
                out.retracted += stable[: len(before)] != before
                before = stable
                if out.first_words_ms is None:
                    out.first_words_ms = now_ms
            elif isinstance(output, Final):
                out.final, out.flush_ms = output.text, now_ms - flushed_ms
                out.after_voice_ms = now_ms - last_voiced * 1000 / SAMPLE_RATE
                out.retracted += words_of(output.text)[: len(before)] != before
                out.stable_words = len(before)

    for i in range(len(pcm) // FRAME + 100):
        now_ms = (i + 1) * 20.0
        while pending and pending[0][0] <= now_ms:
            ready_ms, decode, took_ms, heard = pending.pop(0)
            do(session.on_recognised(decode, heard.recognition, took_ms, ready_ms), ready_ms)
        piece = pcm[i * FRAME : (i + 1) * FRAME]
        frames, voices = ear.hear(ear.convert(piece.tobytes()), 0) if len(piece) == FRAME else ([], [])
        for frame in frames:
            do(session.on_audio(frame.offset_samples, samples_of(frame.pcm), frame.is_speech, now_ms), now_ms)
        for voice in voices:
            if voice.is_active and not was_active:
                do(session.on_speech_started(1, max(0, voice.start_samples - 4800), now_ms), now_ms)
            if was_active and not voice.is_active:
                flushed_ms, last_voiced = now_ms, voice.last_voiced_samples
                out.flushes += 1
                do(session.on_flush(1, last_voiced, now_ms), now_ms)
            was_active = voice.is_active
    return out


def load(folder: Path, only: str) -> list[Clip]:
    """Reads the clips of a manifest that have a text."""
    clips = []
    with (folder / "manifest.tsv").open() as manifest:
        for row in csv.DictReader(manifest, delimiter="\t"):
            name, text = row["file"], (row.get("transcript") or "").strip()
            if not text or "[" in text or not name.endswith(".wav") or not re.search(only, name):
                continue
            with wave.open(str(folder / name)) as file:
                rate, channels = file.getframerate(), file.getnchannels()
                samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, channels)[:, 0]
            pcm = samples.astype(np.float32) / 32768
            clips.append(Clip(name, soxr.resample(pcm, rate, SAMPLE_RATE) if rate != SAMPLE_RATE else pcm, text))
    return clips


def phone(pcm: Samples) -> Samples:
    """8 kHz mu-law and back."""
    narrow = np.rint(np.clip(soxr.resample(pcm, SAMPLE_RATE, 8000), -1, 1) * 32767).astype("<i2")
    back = np.frombuffer(MU_LAW.decode(MU_LAW.encode(narrow.tobytes())), "<i2").astype(np.float32) / 32768
    return np.asarray(soxr.resample(back, 8000, SAMPLE_RATE), np.float32)


def noisy(pcm: Samples, snr_db: float) -> Samples:
    """White noise on top, the same every time."""
    noise = np.random.default_rng(len(pcm)).normal(0, 1, len(pcm))
    level = np.sqrt(np.mean(np.square(pcm))) * 10 ** (-snr_db / 20)
    return (pcm + noise * level).astype(np.float32)


def plain(text: str) -> str:
    """Words as they sound, for counting errors."""
    text = text.lower().replace("mister", "mr").replace("-", " ")
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", text).split())


def quantiles(values: list[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    return statistics.median(values), float(np.percentile(values, 95))


def print_row(row: Row, *, is_first: bool) -> None:
    """Prints one line, and the head before the first."""
    if is_first:
        print(
            f"{'engine':<15}{'condition':<14}{'clips':>6}{'words':>6}{'WER %':>7}{'stream':>7}{'reject':>7}"
            f"{'whole p50/p95 ms':>18}{'flush p50/p95':>15}{'ready':>7}{'after voice':>14}{'decodes':>9}{'load':>6}"
        )
    print(
        f"{row.engine:<15}{row.condition:<14}{row.clips:>6}{row.words:>6}{row.wer:>7.1f}{row.wer_stream:>7.1f}"
        f"{row.rejected:>7}{row.whole_p50:>9.0f} /{row.whole_p95:>7.0f}"
        f"{row.flush_p50:>9.0f} /{row.flush_p95:>4.0f}{row.ready_share:>7.0%}"
        f"{row.after_voice_p50:>8.0f} /{row.after_voice_p95:>4.0f}{row.decodes:>9.1f}{row.load:>6.2f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
