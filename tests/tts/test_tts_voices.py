"""A caller sounds like somebody else, and many lines are spoken in one start."""

import io
import json
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from halfbeat.errors import InvalidRequest
from services.tts import say as say_module
from services.tts.engine import Chunk
from services.tts.engines.scripted import Script, ScriptedEngine
from services.tts.say import Job, main, say
from services.tts.voices import VOICES, PitchedEngine, Voice, voice_named


class Tone:
    """Hums 150 Hz for a second at speed 1."""

    name = "tone"
    sample_rate = 22_050

    def load(self) -> None:
        """Nothing to load."""

    def synthesize(
        self, text: str, *, voice: str = "", speed: float = 1.0, is_hurried: bool = False
    ) -> Iterator[Chunk]:
        t = np.arange(round(self.sample_rate / speed)) / self.sample_rate
        yield Chunk((0.5 * np.sin(2 * np.pi * 150 * t)).astype(np.float32))


def heard(path: Path) -> tuple[float, float]:
    with wave.open(str(path)) as file:
        rate, count = file.getframerate(), file.getnframes()
        samples = np.frombuffer(file.readframes(count), "<i2")
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(count)))
    return float(np.argmax(spectrum)) * rate / count, count / rate


@pytest.mark.parametrize(("pitch", "pace"), [(1.25, 1.0), (0.87, 1.0), (1.25, 0.9)])
def test_a_voice_has_its_pitch_and_its_pace(tmp_path: Path, pitch: float, pace: float) -> None:
    out = tmp_path / "x.wav"
    say(PitchedEngine(Tone(), Voice(pitch, pace)), Job(text="hum", out=out))
    frequency_hz, seconds = heard(out)
    assert frequency_hz == pytest.approx(150 * pitch, rel=0.02)
    assert seconds == pytest.approx(1 / pace, abs=0.03)


def test_the_caller_is_not_the_agent() -> None:
    assert abs(VOICES["caller"].pitch / VOICES["agent"].pitch - 1) >= 0.15


def test_an_unknown_voice_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InvalidRequest, match="caller"):
        voice_named("nobody")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine(Script(word_ms=200, pause_ms=100), sleep=lambda _: None)
    monkeypatch.setattr(say_module, "make_engine", lambda _: engine)


@pytest.mark.usefixtures("scripted")
def test_many_lines_are_spoken_in_one_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [{"text": "Hello there.", "out": f"{tmp_path}/0.wav"}, {"text": "It is 7 AM.", "out": f"{tmp_path}/1.wav"}]
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(jobs)))
    assert main(["--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert heard(tmp_path / "0.wav")[1] == pytest.approx(first["duration_s"]) == 0.5
    assert [w["text"] for w in second["words"]] == ["It", "is", "7 AM."]
    assert second["words"][2]["start_s"] == pytest.approx(0.4)


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("stdin", ["", "{}", '[{"text": "x"}]', '[{"text": "x", "out": "o", "loud": 1}]'])
def test_a_list_that_is_none_is_refused(
    stdin: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    assert main(["--json"]) == 1
    assert "standard input" in capsys.readouterr().err
