"""What every recogniser must do, with the real models, on speech of the project's own voice."""

import re
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soxr

from halfbeat import models
from halfbeat.audio import MU_LAW
from halfbeat.errors import EngineFailed
from services.asr import gate
from services.asr.config import AsrSettings
from services.asr.engine import NO_HINT, AsrEngine, Hint, Samples
from services.asr.engines import make_engine
from services.asr.engines.moonshine import MoonshineEngine, in_one_word, read_vocabulary
from services.tts.engines.vits import VitsEngine
from services.tts.voices import PitchedEngine, voice_named

RATE = 16_000
LINES = (
    "Yes please.",
    "No, that's all, thank you.",
    "Can you send me a text?",
    "The trash on Oak Street was not picked up this morning.",
    "Yes, that would be great.",
    "It was supposed to be picked up yesterday.",
)


@pytest.fixture(scope="module")
def speech() -> list[tuple[str, Samples]]:
    """A caller's lines over the phone: another voice than the agent's, 8 kHz mu-law."""
    caller = PitchedEngine(VitsEngine(models.path("piper-en-us-joe-medium")), voice_named("caller"))
    caller.load()
    lines = []
    for text in LINES:
        pcm = np.concatenate([c.samples for c in caller.synthesize(text)])
        narrow = np.clip(soxr.resample(pcm, caller.sample_rate, 8000), -1, 1)
        coded = MU_LAW.decode(MU_LAW.encode((narrow * 32767).astype("<i2").tobytes()))
        wide = soxr.resample(np.frombuffer(coded, "<i2").astype(np.float32) / 32768, 8000, RATE)
        lines.append((text, wide.astype(np.float32)))
    return lines


@pytest.fixture(scope="module", params=["moonshine", "faster-whisper"])
def engine(request: pytest.FixtureRequest) -> AsrEngine:
    made = make_engine(AsrSettings.model_validate({"engine": request.param}))
    made.load()
    return made


def plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower()).split())


@pytest.mark.models
def test_a_caller_is_understood_over_the_phone(engine: AsrEngine, speech: list[tuple[str, Samples]]) -> None:
    heard = [gate.transcribe(engine, pcm, NO_HINT, None).recognition.text for _, pcm in speech]
    assert jiwer.wer([plain(t) for t, _ in speech], [plain(h) for h in heard]) <= 0.15, heard


@pytest.mark.models
def test_the_same_audio_gives_the_same_words(engine: AsrEngine, speech: list[tuple[str, Samples]]) -> None:
    pcm = speech[3][1]
    assert engine.transcribe(pcm) == engine.transcribe(pcm)


@pytest.mark.models
def test_a_draft_of_the_beginning_changes_no_words(engine: AsrEngine, speech: list[tuple[str, Samples]]) -> None:
    for _, pcm in speech[2:]:
        draft = engine.transcribe(pcm[: len(pcm) * 2 // 3])
        assert plain(engine.transcribe(pcm, Hint(draft)).text) == plain(engine.transcribe(pcm).text)


@pytest.mark.models
def test_a_draft_that_is_all_wrong_changes_no_words(engine: AsrEngine, speech: list[tuple[str, Samples]]) -> None:
    wrong = engine.transcribe(speech[1][1])
    pcm = speech[3][1]
    assert plain(engine.transcribe(pcm, Hint(wrong)).text) == plain(engine.transcribe(pcm).text)


def melody() -> Samples:
    """A tune on a plucked string: pitch and rhythm, but no voice."""
    t = np.arange(RATE // 3) / RATE
    notes = (262, 330, 392, 523, 392, 330, 262, 392)
    tones = [sum(np.sin(2 * np.pi * f * k * t) / k for k in (1, 2, 3)) * np.exp(-6 * t) for f in notes]
    return (0.2 * np.concatenate(tones)).astype(np.float32)


def not_speech() -> dict[str, Samples]:
    rng = np.random.default_rng(3)
    t = np.arange(3 * RATE) / RATE
    brown = np.cumsum(rng.normal(0, 1, 3 * RATE))
    brown -= np.convolve(brown, np.ones(1600) / 1600, "same")
    ring = 0.2 * (np.sin(2 * np.pi * 440 * t) + np.sin(2 * np.pi * 480 * t)) * (t % 2 < 1)
    return {
        "silence": np.zeros(3 * RATE, np.float32),
        "hiss": rng.normal(0, 0.02, 3 * RATE).astype(np.float32),
        "rumble": (brown * 0.05 / brown.std()).astype(np.float32),
        "gusts": (rng.normal(0, 0.05, 3 * RATE) * (1 + np.sin(2 * np.pi * 3 * t))).astype(np.float32),
        "hum": (0.1 * np.sin(2 * np.pi * 100 * t)).astype(np.float32),
        "ring back": ring.astype(np.float32),
        "melody": melody(),
        "a click": np.eye(1, 3 * RATE, RATE, dtype=np.float32)[0] * 0.9,
    }


@pytest.mark.models
@pytest.mark.parametrize("name", not_speech())
def test_no_words_come_from_what_is_not_speech(engine: AsrEngine, name: str) -> None:
    heard = gate.transcribe(engine, not_speech()[name], NO_HINT, None)
    assert heard.recognition.text == "", heard


@pytest.mark.models
@pytest.mark.parametrize("samples", [0, 1, 100, 1_599, 1_600, 4_000])
def test_audio_of_any_length_is_taken(engine: AsrEngine, samples: int) -> None:
    engine.transcribe(np.full(samples, 0.01, np.float32))


@pytest.mark.models
def test_what_goes_on_and_on_does_not_make_the_decoder_loop_for_ever(
    engine: AsrEngine, speech: list[tuple[str, Samples]]
) -> None:
    pcm = np.tile(speech[0][1], 8)[: 16 * RATE]
    words = engine.transcribe(pcm).text.split()
    assert len(words) <= 8 * 16 + 14


@pytest.mark.models
def test_moonshine_s_draft_saves_most_of_the_decoder_s_work(speech: list[tuple[str, Samples]]) -> None:
    engine = MoonshineEngine(models.path("moonshine-tiny-en"))
    engine.load()
    pcm = speech[3][1]
    passes = CountingDecoder(engine._decoder)
    engine._decoder = passes
    whole = engine.transcribe(pcm)
    alone, passes.count = passes.count, 0
    engine.transcribe(pcm, Hint(whole))
    assert passes.count <= 2 < alone


class CountingDecoder:
    """Counts the decoder's passes."""

    def __init__(self, decoder: object) -> None:
        self._decoder = decoder
        self.count = 0

    def run(self, *args: object) -> object:
        self.count += 1
        return self._decoder.run(*args)  # type: ignore[attr-defined]


def test_weights_that_are_no_weights_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    for name in ("encoder_model.ort", "decoder_model_merged.ort"):
        (tmp_path / name).write_bytes(b"not a model")
    (tmp_path / "tokenizer.bin").write_bytes(b"\x05<unk>")
    with pytest.raises(EngineFailed, match=r"encoder_model\.ort"):
        MoonshineEngine(tmp_path).load()


@pytest.mark.parametrize(
    ("written", "now"),
    [
        ("A truck comes to-morrow.", "A truck comes tomorrow."),
        ("To day, good-bye!", "Today, goodbye!"),
        ("I want to dayton.", "I want to dayton."),
    ],
)
def test_words_of_old_books_are_written_as_one(written: str, now: str) -> None:
    assert in_one_word(written) == now


def test_a_vocabulary_that_is_cut_off_is_an_error() -> None:
    assert read_vocabulary(b"\x01a\x02bc") == [b"a", b"bc"]
    assert read_vocabulary(b"\x82\x01" + b"x" * 130) == [b"x" * 130]
    with pytest.raises(EngineFailed, match="token 1"):
        read_vocabulary(b"\x01a\x05b")


@pytest.mark.models
def test_whisper_s_stock_window_hears_the_same_and_knows_when_each_word_was_said(
    speech: list[tuple[str, Samples]],
) -> None:
    engine = make_engine(AsrSettings.model_validate({"engine": "faster-whisper", "window": "full"}))
    engine.load()
    text, pcm = speech[3]
    heard = engine.transcribe(pcm)
    assert jiwer.wer(plain(text), plain(heard.text)) <= 0.2
    assert len(heard.words) == len(heard.text.split())
    assert all(0 <= w.start_s <= w.end_s <= len(pcm) / RATE + 0.5 for w in heard.words)


@pytest.mark.models
def test_a_gpu_that_is_not_there_is_an_error_that_names_it() -> None:
    import ctranslate2

    if ctranslate2.get_cuda_device_count():
        pytest.skip("there is a GPU")
    engine = make_engine(AsrSettings.model_validate({"engine": "faster-whisper", "device": "cuda"}))
    with pytest.raises(EngineFailed, match="cuda"):
        engine.load()
