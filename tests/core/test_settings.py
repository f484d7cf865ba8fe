from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field, SecretStr

from halfbeat.bus.client_options import client_options
from halfbeat.errors import InvalidRequest
from halfbeat.settings import ServiceSettings


class Settings(ServiceSettings):
    service: ClassVar[str] = "asr"
    slots: int = Field(2, ge=1, description="Sessions at a time.")
    token: SecretStr = Field(SecretStr(""), description="A secret.")


def test_the_services_own_variable_wins_over_the_common_one_and_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "halfbeat.toml"
    file.write_text('slots = 3\nlog_level = "ERROR"\n[asr]\nslots = 4\n')
    assert Settings.load(file).slots == 4
    assert Settings.load(file).log_level == "ERROR"
    monkeypatch.setenv("HALFBEAT_SLOTS", "5")
    assert Settings.load(file).slots == 5
    monkeypatch.setenv("HALFBEAT_ASR_SLOTS", "6")
    assert Settings.load(file).slots == 6


def test_nested_settings_have_flat_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFBEAT_NATS_URL", "nats://elsewhere:4222")
    monkeypatch.setenv("HALFBEAT_ASR_NATS_TLS_CA", "/ca.pem")
    settings = Settings.load()
    assert settings.nats.url == "nats://elsewhere:4222"
    assert settings.nats.tls_ca == Path("/ca.pem")


def test_an_unknown_variable_is_refused_with_what_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFBEAT_ASR_SLOT", "5")
    with pytest.raises(InvalidRequest, match=r"HALFBEAT_ASR_SLOT; did you mean HALFBEAT_ASR_SLOTS\?"):
        Settings.load()


def test_an_unknown_key_of_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "halfbeat.toml"
    file.write_text("[asr]\nslotz = 4\n")
    with pytest.raises(InvalidRequest, match="slotz"):
        Settings.load(file)


def test_a_wrong_value_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFBEAT_ASR_SLOTS", "none")
    with pytest.raises(InvalidRequest, match=r"slots: .*integer"):
        Settings.load()


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFBEAT_ASR_TOKEN", "hunter2")
    monkeypatch.setenv("HALFBEAT_NATS_PASSWORD", "hunter3")
    assert "hunter" not in Settings.load().to_json()


def test_the_password_of_nats_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "password"
    monkeypatch.setenv("HALFBEAT_NATS_PASSWORD_FILE", str(file))
    with pytest.raises(InvalidRequest, match=r"cannot read the password of NATS: .*password"):
        Settings.load().nats.read_password()
    file.write_text("secret\n")
    assert Settings.load().nats.read_password() == "secret"
    assert client_options(Settings.load().nats.model_copy(update={"user": "asr"}), "x")["password"] == "secret"
    assert "secret" not in Settings.load().to_json()
