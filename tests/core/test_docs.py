"""What the documents say about settings and metrics is what the code has."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ("router", "asr", "dialogue", "tts")


def test_the_pages_about_settings_and_metrics_are_up_to_date() -> None:
    told = subprocess.run(
        [sys.executable, "scripts/docs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert told.returncode == 0, told.stderr


def test_every_metric_of_the_code_is_on_the_page() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    pattern = re.compile(r'(?:Counter|Gauge|Histogram)\(\s*"(halfbeat_[a-z0-9_]+)"')
    for top in ("halfbeat", "services", "apps"):
        for path in (ROOT / top).rglob("*.py"):
            for name in pattern.findall(path.read_text()):
                assert f"`{name}" in page, f"{name} of {path} is not in docs/metrics.md"


@pytest.mark.parametrize("service", SERVICES)
def test_a_readme_names_no_setting_that_is_gone(service: str) -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    text = (ROOT / "services" / service / "README.md").read_text()
    for name in re.findall(r"HALFBEAT_[A-Z0-9_]*[A-Z0-9]", text):
        is_prefix = name == f"HALFBEAT_{service.upper()}"
        is_common = name.startswith(f"HALFBEAT_{service.upper()}_NATS_") or name in ("HALFBEAT_CACHE", "HALFBEAT_STATE")
        assert is_prefix or is_common or f"`{name}`" in page, name
