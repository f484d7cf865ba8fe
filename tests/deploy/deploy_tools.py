"""Where the tools are that `scripts/deploy_tools.sh` fetched."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = ROOT / "build" / "tools" / "bin"


def tool(name: str) -> Path:
    """Returns a tool's path; without it the test is skipped, or fails where tests of the deployment are demanded."""
    path = BIN / name
    if not path.exists():
        text = f"no {name} in build/tools/bin: run scripts/deploy_tools.sh"
        if os.environ.get("HALFBEAT_TEST_DEPLOY") == "1":
            pytest.fail(text)
        pytest.skip(text)
    return path


def run(name: str, *arguments: str | Path, timeout_s: float = 120) -> str:
    """Runs a tool to its successful end; returns what it said."""
    done = subprocess.run(
        [tool(name), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"{name} {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}"
    return done.stdout
