"""An index of two tiny wheels, and an empty cache."""

from pathlib import Path

import pytest
from tiny_model import CONFIG, HALVES, World, entry, write_wheel

from halfbeat.models.store import Store


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    index = tmp_path / "index"
    index.mkdir()
    wheels = [
        write_wheel(
            index, "tiny_part1", {"part1.bin": HALVES[0], "config.json": CONFIG, "evil.py": b"raise SystemExit"}
        ),
        write_wheel(index, "tiny_part2", {"part2.bin": HALVES[1]}, "py3-none-manylinux_2_34_x86_64"),
    ]
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("HALFBEAT_CACHE", str(tmp_path / "cache"))
    return World(index, wheels, entry(wheels), Store(tmp_path / "cache" / "models"))
