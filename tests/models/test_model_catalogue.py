"""The catalogue that ships, and what its reader refuses."""

import copy
import tomllib
from typing import Any

import pytest
from tiny_model import World

from halfbeat import models
from halfbeat.models.catalogue import ENTRIES, HubSource, WheelSource, parse

TABLE = tomllib.loads((ENTRIES / "whisper-base-ct2.toml").read_text())


def test_the_default_set_covers_a_call_and_its_download_is_small_enough() -> None:
    catalogue = models.catalogue()
    default = catalogue.expand(["default"])
    assert {model.kind for model in default} == {"asr", "llm", "tts", "vad", "turn"}
    assert sum(model.download_bytes for model in default) < 1_500_000_000


def test_every_model_says_what_it_is_and_may_be_used_for() -> None:
    for model in models.catalogue().models.values():
        assert model.purpose, model.name
        assert model.licence, model.name
        assert model.note, model.name


def test_the_pinned_wheels_come_before_the_hub() -> None:
    for model in models.catalogue().models.values():
        assert isinstance(model.sources[0], WheelSource), model.name
        assert all(isinstance(source, HubSource) for source in model.sources[1:]), model.name


def test_no_entry_names_an_index() -> None:
    for path in ENTRIES.glob("*.toml"):
        assert "://" not in path.read_text(), path.name


def test_pieces_of_a_file_follow_one_another() -> None:
    [source, *_] = models.catalogue()["qwen2.5-coder-1.5b-instruct-q4_k_m"].sources
    assert isinstance(source, WheelSource)
    pieces = [piece for wheel in source.wheels for piece in wheel.slices]
    assert len(pieces) == 22
    end = 0
    for piece in pieces:
        assert piece.offset_bytes == end
        end += piece.size_bytes
    assert [piece.member.rsplit("/")[-1] for piece in pieces] == [f"part{n:02}.bin" for n in range(1, 23)]


def test_sets_and_names_mix_and_repeat_without_double_work(world: World) -> None:
    assert [model.name for model in world.catalogue.expand(["tiny", "default", "all", "tiny"])] == ["tiny"]


def changed(path: str, value: Any) -> dict[str, Any]:
    table: Any = copy.deepcopy(TABLE)
    *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
    place = table
    for step in way:
        place = place[step]
    place[last] = value
    return table


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("kind", "video"),
        ("files.0.size", 1),
        ("files.0.sha256", "D01C"),
        ("files.0.name", "../model.bin"),
        ("files", []),
        ("sources", []),
        ("sources.0.kind", "torrent"),
        ("sources.0.wheels.1.take", []),
        ("sources.0.wheels.0.sha256", "0" * 63),
        ("sources.1.paths", {"model.bin": "model.bin"}),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(path: str, value: Any) -> None:
    parse("fine", TABLE)
    with pytest.raises((ValueError, KeyError)):
        parse("broken", changed(path, value))


def test_the_models_that_services_name_by_default_exist() -> None:
    from services.asr.engines import DEFAULT_MODELS
    from services.router.config import RouterSettings
    from services.tts.config import TtsSettings

    named = [*DEFAULT_MODELS.values()]
    named += [RouterSettings.model_fields["turn_detector"].default, TtsSettings.model_fields["model"].default]
    assert [model.name for model in models.catalogue().expand(named)] == named
    default = models.catalogue().sets["default"]
    assert DEFAULT_MODELS["moonshine"] in default
    assert {*named[-2:]} <= {*default}
