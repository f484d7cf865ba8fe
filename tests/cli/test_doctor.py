"""What `halfbeat doctor` finds missing, and what it says to do about it."""

import importlib.metadata
import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from halfbeat import doctor
from halfbeat.cli import main


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALFBEAT_CACHE", str(tmp_path / "cache"))
    for variable in ("HALFBEAT_NATS_URL", *doctor.PORTS):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "cache" / "models"


def requirements(monkeypatch: pytest.MonkeyPatch, lines: list[str], installed: set[str]) -> dict[str, doctor.Finding]:
    def version(project: str) -> str:
        if project not in installed:
            raise importlib.metadata.PackageNotFoundError(project)
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "requires", lambda _: lines)
    monkeypatch.setattr(importlib.metadata, "version", version)
    return {finding.subject: finding for finding in doctor.packages()}


def test_missing_models_make_it_exit_with_1_and_name_the_command(empty_cache: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["healthy"] is False
    findings = {finding["subject"]: finding for finding in told["findings"]}
    assert findings["model silero-vad"]["state"] == "missing"
    assert findings["model silero-vad"]["remedy"] == "halfbeat models pull"
    assert findings["model whisper-base-ct2"]["state"] == "ok"  # optional


def test_a_person_reads_what_is_missing_and_the_way_out(empty_cache: Path) -> None:
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert "-> halfbeat models pull" in result.stdout
    assert "something needed is missing" in result.stdout


def test_a_healthy_machine_exits_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: [doctor.Finding("cores", "note", "1; answers will be late")])
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0
    assert "everything that the default set-up needs is here" in result.stdout


def test_a_missing_package_is_named_with_the_part_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["click>=8.1", 'onnxruntime>=1.20; extra == "asr"', "tokenizers>=0.21; extra == 'asr'"]
    found = requirements(monkeypatch, lines, installed={"click", "onnxruntime"})
    assert found["packages of every part"].state == "ok"
    asr = found["packages of asr"]
    assert (asr.state, asr.detail) == ("missing", "not installed: tokenizers")
    assert asr.remedy == "pip install 'halfbeat[asr]'"


def test_a_missing_optional_package_is_only_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    found = requirements(monkeypatch, ['coqui-tts>=0.27; extra == "coqui"'], installed=set())
    assert found["packages of coqui"].state == "note"


def test_a_taken_port_is_noted_with_the_setting_that_moves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("HALFBEAT_ROUTER_GRPC_PORT", str(port))
        taken = next(finding for finding in doctor.ports() if finding.subject == f"port {port}")
    assert taken.state == "note"
    assert "HALFBEAT_ROUTER_GRPC_PORT" in taken.remedy


@pytest.mark.parametrize(("version", "state"), [((3, 10), "missing"), ((3, 11), "ok"), ((3, 13), "missing")])
def test_only_pythons_with_packages_are_accepted(version: tuple[int, int], state: str) -> None:
    assert doctor.python(version).state == state


def test_too_little_memory_is_noted(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 16000000 kB\nMemAvailable:  2000000 kB\n")
    found = doctor.memory(meminfo)
    assert (found.state, found.detail) == ("note", "2.0 GB free")
    assert "6 GB" in found.remedy
    assert doctor.memory(tmp_path / "absent").state == "note"


def test_a_bus_named_by_url_needs_no_server_here_and_its_password_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HALFBEAT_NATS_URL", "nats://ann:secret@bus:4222")
    finding = doctor.bus_server()
    assert finding.state == "ok"
    assert "bus:4222" in finding.detail
    assert "secret" not in finding.detail


def test_no_bus_at_all_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert doctor.bus_server().state == "missing"
