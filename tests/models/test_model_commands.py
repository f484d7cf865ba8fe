"""`halfbeat models list|pull|verify` on the tiny model."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tiny_model import HALVES, World

from halfbeat.cli import main


@pytest.fixture
def tiny(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("halfbeat.models.builtin", lambda: world.catalogue)
    return world


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["models", *arguments])


def test_pull_brings_the_default_set_and_says_how_far_it_is(tiny: World) -> None:
    result = run("pull")
    assert result.exit_code == 0, result.output
    assert "tiny: fetching 0 MB in 2 parts" in result.stderr
    assert "tiny: verified" in result.stderr
    assert (tiny.folder / "model.bin").read_bytes() == b"".join(HALVES)
    assert "tiny: already here" in run("pull", "tiny").stderr


def test_pull_of_an_unknown_model_is_one_line_and_exit_code_1(tiny: World) -> None:
    result = run("pull", "tinny")
    assert result.exit_code == 1
    assert result.stderr == "Error: no model or set is named 'tinny'; did you mean tiny?\n"


def test_list_tells_a_machine_what_is_missing_here_and_damaged(tiny: World) -> None:
    def state() -> str:
        listed = json.loads(run("list", "--json").stdout)
        assert listed["sets"] == {"default": ["tiny"], "all": ["tiny"]}
        assert Path(listed["folder"]) == tiny.store.root
        return str(listed["models"][0]["state"])

    assert state() == "missing"
    run("pull")
    assert state() == "here"
    (tiny.folder / "config.json").write_bytes(b"{")
    assert state() == "damaged"


def test_list_tells_a_person_size_licence_and_state(tiny: World) -> None:
    text = run("list").stdout
    assert "licence" in text
    assert "missing" in text
    assert str(tiny.store.root) in text


def test_verify_fails_for_a_named_model_that_is_missing_and_says_what_to_run(tiny: World) -> None:
    result = run("verify", "tiny")
    assert result.exit_code == 1
    assert "halfbeat models pull tiny" in result.stdout


def test_verify_without_names_looks_at_what_is_here(tiny: World) -> None:
    assert run("verify").exit_code == 0
    run("pull")
    assert json.loads(run("verify", "--json").stdout) == [{"name": "tiny", "state": "ok", "detail": ""}]
    (tiny.folder / "config.json").write_bytes(b"{")
    result = run("verify", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)[0]["state"] == "damaged"
