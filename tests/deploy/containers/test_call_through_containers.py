"""The 311 call through the unmodified compose file, with real models, from outside of the containers."""

import json

import pytest
from calls import RATE_HZ, hold
from project import Project

from halfbeat import models
from halfbeat.caller.voice import speak
from halfbeat.demo import read_script

pytestmark = pytest.mark.models


@pytest.fixture(scope="module", autouse=True)
def default_models() -> None:
    """The models of this machine are used; without them this would be a download of 1.2 GB."""
    for name in models.catalogue().sets["default"]:
        models.path(name)


async def test_a_311_call_through_the_containers_books_a_truck_and_sends_a_text(real: Project) -> None:
    script = read_script(None)[0]
    lines = await speak(script.lines, RATE_HZ)
    outcome = await hold(real.http_url, lines, number=script.number, patience_ms=1500, limit_s=180, linger_s=15)
    assert outcome.ended_by == "agent", outcome
    assert None not in outcome.answers
    ledger = json.loads(real.run_in("dialogue", "python", "-m", "apps.city311", "ledger").stdout)
    assert [booking["kind"] for booking in ledger["bookings"]] == ["trash"]
    assert "Oak Street" in ledger["bookings"][0]["address"]
    assert [text["status"] for text in ledger["texts"]] == ["sent"]
    turns = real.get("/metrics")
    assert "halfbeat_v2v_seconds_count" in turns


def test_the_log_of_the_call_can_be_read_with_the_command_line_in_a_container(real: Project) -> None:
    sids = real.compose("logs", "--no-log-prefix", "router").stdout
    sid = next(json.loads(line)["sid"] for line in sids.splitlines() if '"call opened"' in line)
    told = real.compose("run", "--rm", "-T", "cli", "replay", sid).stdout
    assert "Oak Street" in told


def test_no_container_says_the_callers_words_or_number(real: Project) -> None:
    logs = real.compose("logs", "--no-log-prefix").stdout
    assert len(logs) > 1000
    assert "5550100142" not in logs
    for line in read_script(None)[0].lines:
        assert line.strip(".") not in logs
