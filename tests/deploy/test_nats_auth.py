"""The checked-in configuration of the server: current, the same limits as the embedded server's, and it starts."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from nats_users import NATS, ROOT, bus_of, checked_in, guarded, password, passwords, settings, started

from halfbeat import nats_auth, nats_server, subjects
from halfbeat.bus.nats import NatsBus
from halfbeat.cli import main
from halfbeat.errors import Denied, InvalidRequest
from halfbeat.nats_server import find_binary
from halfbeat.settings import NatsSettings
from services.router import lease


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["nats-auth", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_checked_in_users_are_those_of_the_code() -> None:
    assert (NATS / "auth.conf").read_text() == printed(), (
        "run `halfbeat nats-auth > deploy/nats/auth.conf` and commit the result"
    )


LIMITS = ("max_payload", "max_pending", "write_deadline", "no_fast_producer_stall", "ping_interval", "ping_max")


def limits(text: str) -> dict[str, str]:
    """Limits in a server's configuration, or in values of its Helm chart, which quotes less and brackets sizes."""
    lines = re.findall(rf"^\s*({'|'.join((*LIMITS, 'max_[a-z]+_store'))}): (.+)$", text, re.MULTILINE)
    return {name: value.strip('<> "') for name, value in lines}


def test_a_deployed_server_has_the_limits_of_the_embedded_one() -> None:
    embedded = limits(nats_server._CONFIG)
    assert len(embedded) == 6
    # Clients of the embedded one are on its machine: none of them is cut off without a farewell.
    pings = {"ping_interval": "5s", "ping_max": "2"}
    assert limits((NATS / "nats.conf").read_text()) == embedded | pings


@pytest.mark.parametrize("file", ["nats/leaf.conf", "k8s/other-charts/nats.yaml", "k8s/examples/second-site-nats.yaml"])
def test_servers_elsewhere_have_the_limits_of_the_deployed_one(file: str) -> None:
    deployed = limits((NATS / "nats.conf").read_text())
    assert limits((ROOT / "deploy" / file).read_text()) == {name: deployed[name] for name in LIMITS}


def test_the_hub_is_the_domain_that_a_second_site_asks_for() -> None:
    [domain] = re.findall(r'^  domain: "(\w+)"$', (NATS / "nats.conf").read_text(), re.MULTILINE)
    hub, workers = (
        yaml.safe_load((ROOT / "deploy/k8s" / file).read_text())
        for file in ("other-charts/nats.yaml", "examples/second-site-halfbeat.yaml")
    )
    assert hub["config"]["jetstream"]["merge"] == {"domain": domain}
    assert workers["settings"]["NATS_JETSTREAM_DOMAIN"] == domain == nats_auth.LEAF_DOMAIN


def test_an_unknown_user_is_refused_with_those_there_are() -> None:
    result = CliRunner().invoke(main, ["nats-auth", "rooter"])
    assert result.exit_code == 1
    assert "no user 'rooter': router, asr, dialogue, tts, cli, leaf" in result.stderr


def test_json_says_the_same_for_the_helm_chart() -> None:
    users = json.loads(printed("--format", "json"))["authorization"]["users"]
    assert [u["user"] for u in users] == list(nats_auth.USERS)
    assert users[1]["password"] == "<< $HALFBEAT_NATS_ASR_PASSWORD >>"
    for told in users:
        made = nats_auth.user(told["user"])
        assert told["permissions"]["publish"] == {"allow": list(made.publish)}
        assert told["permissions"]["subscribe"] == {"allow": list(made.subscribe)}
        assert ("allow_responses" in told["permissions"]) is (told["user"] in subjects.OPEN)


def test_one_user_is_one_line_of_the_table() -> None:
    tts = nats_auth.user("tts")
    assert tts.publish == ("hb.v1.tts.audio.*", "hb.v1.tts.status.*", "hb.v1.trace.spans.*", "$KV.presence.tts.*")
    assert tts.subscribe[-1] == "_INBOX_tts.>"


async def test_the_checked_in_configuration_starts_and_lets_in_who_has_a_password(tmp_path: Path) -> None:
    async with started(checked_in(tmp_path) / "nats.conf", tmp_path, passwords(nats_auth.USERS)) as urls:
        [url] = urls["nats"]
        for name in nats_auth.USERS:
            async with bus_of(url, name) as bus:
                assert bus.fatal_error is None
        with pytest.raises(Denied):
            async with NatsBus(NatsSettings(url=url)):  # type: ignore[call-arg]
                pass


async def test_a_server_without_a_password_does_not_start_and_names_it(tmp_path: Path) -> None:
    env = passwords(nats_auth.USERS)
    del env["HALFBEAT_NATS_TTS_PASSWORD"]
    with pytest.raises(AssertionError, match="HALFBEAT_NATS_TTS_PASSWORD"):
        async with started(checked_in(tmp_path) / "nats.conf", tmp_path, env):
            pass


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_the_tls_configuration_is_the_same_server_with_tls(tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=nats"]
    files = ["-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.crt"]
    await asyncio.to_thread(
        subprocess.run, [*command, "-addext", "subjectAltName=IP:127.0.0.1", *files], check=True, capture_output=True
    )
    async with started(checked_in(tmp_path) / "tls.conf", tmp_path, passwords(nats_auth.USERS)) as urls:
        trusting = settings(urls["nats"][0].replace("nats:", "tls:"), "asr", tls_ca=tmp_path / "tls.crt")
        async with NatsBus(trusting, name="asr", makes_storage=False) as bus:
            assert bus.is_connected


async def test_two_accounts_hold_the_same_users_and_share_nothing(tmp_path: Path) -> None:
    conf = printed("--account", "city", "--account", "county")
    env = passwords(nats_auth.USERS, "city") | passwords(nats_auth.USERS, "county")
    file = tmp_path / "nats.conf"
    file.write_text(f'jetstream {{ store_dir: "{tmp_path}" }}\n{conf}')
    async with started(file, tmp_path, env) as urls:
        [url] = urls["nats"]

        def bus(name: str) -> NatsBus:
            return NatsBus(settings(url, name), name=name, makes_storage=name.endswith("-router"))

        async with bus("city-router") as city, bus("county-router") as county:
            await lease.prepare(city)
            await lease.prepare(county)
            async with bus("city-asr") as asr:
                await (await asr.key_value("presence", ttl_s=15)).put("asr.box", b"1")
            assert await (await city.key_value("presence")).keys() == ["asr.box"]
            assert await (await county.key_value("presence")).keys() == []


def test_what_a_password_must_not_be_is_said(tmp_path: Path) -> None:
    """The server reads a variable as a piece of its configuration: digits become a number, and so on."""
    for value, is_good in (("xa1b2c3", True), ("12345", False), ("2k", False), ("a b", False), ("x'y", False)):
        conf = tmp_path / "auth.conf"
        conf.write_text("authorization { user: a, password: $SECRET }")
        checked = subprocess.run(
            [find_binary(), "-t", "-c", conf], env={"SECRET": value}, capture_output=True, text=True, check=False
        )
        assert (checked.returncode == 0) is is_good, (value, checked.stderr)
    assert "begin it with a letter" in " ".join(CliRunner().invoke(main, ["nats-auth", "--help"]).stdout.split())


def test_settings_come_from_the_environment_for_a_process_that_is_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALFBEAT_NATS_USER", "cli")
    monkeypatch.setenv("HALFBEAT_NATS_PASSWORD", "pw")
    monkeypatch.setenv("HALFBEAT_NATS_TLS_CA", "/ca.pem")
    told = NatsSettings.from_environment(url="nats://there:4222")
    assert (told.url, told.user, told.password.get_secret_value(), told.tls_ca) == (
        *("nats://there:4222", "cli", "pw"),
        Path("/ca.pem"),
    )
    monkeypatch.setenv("HALFBEAT_NATS_REPLICAS", "many")
    with pytest.raises(InvalidRequest, match="HALFBEAT_NATS_REPLICAS"):
        NatsSettings.from_environment()


async def test_trace_and_replay_are_told_their_user_by_the_environment_or_by_the_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with guarded() as server:
        async with bus_of(server.url, "router"):
            pass

        def run(url: str, **env: str) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "halfbeat.cli", "replay", "s1", "--nats-url", url],
                cwd=ROOT,
                env={"PATH": "/usr/bin", **env},
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
            return done.stderr

        by_url = server.url.replace("//", f"//cli:{password('cli')}@")
        by_environment = {"HALFBEAT_NATS_USER": "cli", "HALFBEAT_NATS_PASSWORD": password("cli")}
        for told in (
            await asyncio.to_thread(run, by_url),
            await asyncio.to_thread(lambda: run(server.url, **by_environment)),
        ):
            assert "no session s1 in the log" in told
        assert "refuses the credentials" in await asyncio.to_thread(run, server.url)
