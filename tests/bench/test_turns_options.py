import json
import wave
from pathlib import Path

import numpy as np
import pytest
from turn_scenes import tone

from bench.turns.__main__ import main
from bench.turns.own_calls import calls_of
from bench.turns.running import settings_of
from bench.turns.scenario import Role
from bench.turns.stage import environment
from halfbeat.audio import RATE_HZ
from halfbeat.errors import InvalidRequest


def record(folder: Path, name: str, *parts_ms: int, **labels: object) -> None:
    """Writes tones and silences in turn, and their labels when there are any."""
    pcm = np.concatenate([tone(ms) if i % 2 == 0 else np.zeros(ms * 16, np.int16) for i, ms in enumerate(parts_ms)])
    with wave.open(str(folder / f"{name}.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm.tobytes())
    if labels:
        (folder / f"{name}.json").write_text(json.dumps(labels))


def test_own_recordings_become_calls_with_their_labels(tmp_path: Path) -> None:
    record(
        tmp_path, "a", 500, 500, 1000, spans=[[0, 0.5], [1.0, 2.0]], text="my address is twelve Oak",
        words=[["my", 0.0, 0.5], ["address", 1.0, 2.0]],
    )  # fmt: skip
    record(tmp_path, "b", 200, spans=[[0, 0.2]], role="aside", kind="cough", over_ms=700)
    record(tmp_path, "c", 800)
    (call,) = calls_of(tmp_path)
    first, second, third = call.steps
    assert (first.role, first.clip.spans) == (Role.TURN, ((0.0, 0.5), (1.0, 2.0)))
    assert [(w.text, w.start_s, w.end_s) for w in first.clip.words] == [("my", 0.0, 0.5), ("address", 1.0, 2.0)]
    assert (second.role, second.clip.kind, second.over_ms) == (Role.ASIDE, "cough", 700)
    assert third.clip.seconds == pytest.approx(0.8, abs=0.01)


def test_words_without_times_lie_evenly_over_what_is_voiced(tmp_path: Path) -> None:
    record(tmp_path, "a", 1000, 500, 1000, spans=[[0, 1.0], [1.5, 2.5]], text="one two three four")
    (call,) = calls_of(tmp_path)
    assert [round(w.start_s, 2) for w in call.steps[0].clip.words] == [0.0, 0.5, 1.0, 2.0]


def test_a_call_of_own_recordings_has_ten_turns(tmp_path: Path) -> None:
    for i in range(12):
        record(tmp_path, f"{i:02d}", 300)
    assert [call.turns for call in calls_of(tmp_path)] == [10, 2]


def test_wrong_labels_are_an_error_that_names_the_folder(tmp_path: Path) -> None:
    record(tmp_path, "a", 300, spans=[[0, 0.3]], role="singing")
    with pytest.raises(InvalidRequest, match=r"labels in .*singing"):
        calls_of(tmp_path)


def test_settings_to_compare_come_as_pairs_or_from_a_file(tmp_path: Path) -> None:
    assert settings_of("speculates=false,tts.threads=2") == {"speculates": "false", "tts.threads": "2"}
    (tmp_path / "a.toml").write_text('sure_ms = 150\nturn_detector = "none"\n[dialogue]\nprefill = "off"\n')
    assert settings_of(str(tmp_path / "a.toml")) == {
        "sure_ms": "150",
        "turn_detector": "none",
        "dialogue.prefill": "off",
    }
    with pytest.raises(InvalidRequest, match="neither"):
        settings_of("nothing.toml")


def test_settings_become_variables_of_their_service() -> None:
    assert environment({"sure_ms": "150", "dialogue.prefill": "off"}) == {
        "HALFBEAT_ROUTER_SURE_MS": "150",
        "HALFBEAT_DIALOGUE_PREFILL": "off",
    }
    with pytest.raises(InvalidRequest, match=r"SERVICE\.NAME"):
        environment({"llm.threads": "2"})


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "--compare speculates=true speculates=false" in capsys.readouterr().out
