"""Users, permissions and credentials: what is refused, and how it is told."""

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import nkeys
import pytest
from bus_messages import open_request, take, transcript

from halfbeat import subjects
from halfbeat.bus import Delivery
from halfbeat.bus.nats import NatsBus
from halfbeat.errors import Denied, InvalidRequest, Unavailable
from halfbeat.nats_server import EmbeddedServer
from halfbeat.settings import NatsSettings
from halfbeat.v1 import session_pb2


def bus_at(url: str, name: str = "test", **more: object) -> NatsBus:
    return NatsBus(NatsSettings(url=url, **more), name=name)  # type: ignore[arg-type]


async def answer(delivery: Delivery) -> session_pb2.OpenReply:
    return session_pb2.OpenReply(worker="w1")


USERS = """
authorization {
  users = [
    { user: admin, password: pw }
    { user: asr, password: pw, permissions: {
        publish: { deny: ["hb.v1.tts.>"] },
        subscribe: { allow: ["hb.v1.asr.audio.*", "hb.v1.asr.open.* asr", "_INBOX_asr.>"] } } }
    { user: tts, password: pw, permissions: { subscribe: { allow: ["hb.v1.tts.>", "_INBOX_tts.>"] } } }
  ]
}
"""


@pytest.fixture
async def guarded() -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer(extra_config=USERS) as embedded:
        async with bus_at(embedded.url, user="admin", password="pw"):  # makes the streams
            pass
        yield embedded


def user(server: EmbeddedServer, name: str) -> NatsBus:
    return bus_at(server.url, name, user=name, password="pw", inbox_prefix=f"_INBOX_{name}")


async def test_subscribing_without_permission_is_fatal_and_breaks_every_subscription(guarded: EmbeddedServer) -> None:
    told: list[int] = []
    settings = NatsSettings(url=guarded.url, user="asr", password="pw", inbox_prefix="_INBOX_asr")  # type: ignore[arg-type]
    async with NatsBus(settings, name="asr-1", on_fatal=lambda: told.append(1)) as bus:
        healthy = await bus.subscribe([subjects.ASR_AUDIO.all])
        with pytest.raises(Denied, match=re.compile("asr-1.*permissions violation.*hb.v1.turn.commit", re.I)):
            await bus.subscribe([subjects.TURN_COMMIT.all])
        with pytest.raises(Denied):
            await anext(aiter(healthy))
        with pytest.raises(Denied):
            await bus.publish(subjects.ASR_PARTIAL, transcript())
        assert told == [1]
        assert isinstance(bus.fatal_error, Denied)


async def test_publishing_without_permission_is_fatal(guarded: EmbeddedServer) -> None:
    async with user(guarded, "asr") as bus:
        with pytest.raises(Denied):
            await bus.request(subjects.TTS_OPEN, open_request(), session_pb2.OpenReply, timeout_s=1)
        assert isinstance(bus.fatal_error, Denied)


async def test_a_stranger_cannot_take_work_from_a_queue_group(guarded: EmbeddedServer) -> None:
    async with user(guarded, "asr") as worker:
        await worker.serve(subjects.ASR_OPEN.all, answer, queue="asr")
        assert worker.fatal_error is None
    async with user(guarded, "asr") as stray:
        with pytest.raises(Denied):
            await stray.subscribe([subjects.ASR_OPEN.all])


async def test_services_cannot_read_each_others_replies(guarded: EmbeddedServer) -> None:
    async with user(guarded, "asr") as worker, user(guarded, "tts") as client:
        await worker.serve(subjects.ASR_OPEN.all, answer, queue="asr")
        reply = await client.request(subjects.ASR_OPEN, open_request(), session_pb2.OpenReply, timeout_s=2)
        assert reply.worker == "w1"
        with pytest.raises(Denied):
            await worker.subscribe(["_INBOX_tts.>"])


async def test_wrong_credentials_are_refused_at_once(guarded: EmbeddedServer) -> None:
    async with asyncio.timeout(3):
        with pytest.raises(Denied, match="credentials"):
            async with bus_at(guarded.url, user="asr", password="wrong"):
                pass


def accounts(folder: Path) -> str:
    """Makes an operator with one account and a user's credentials file; returns the server's configuration."""

    def key(prefix: int) -> tuple[nkeys.KeyPair, str, str]:
        seed = nkeys.encode_seed(os.urandom(32), prefix)
        pair = nkeys.from_seed(bytearray(seed))
        return pair, bytes(seed).decode(), bytes(pair.public_key).decode()

    def part(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    def token(signer: nkeys.KeyPair, issuer: str, subject: str, claims: dict[str, object]) -> str:
        body = {"iss": issuer, "sub": subject, "iat": int(time.time()), "jti": os.urandom(8).hex()}
        body["nats"] = {"version": 2, **claims}  # type: ignore[assignment]
        signed = ".".join(part(json.dumps(p).encode()) for p in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
        return f"{signed}.{part(signer.sign(signed.encode()))}"

    operator, _, operator_id = key(nkeys.PREFIX_BYTE_OPERATOR)
    account, _, account_id = key(nkeys.PREFIX_BYTE_ACCOUNT)
    _, seed, user_id = key(nkeys.PREFIX_BYTE_USER)
    unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    limits = {**unlimited, "wildcards": True, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    _, _, system_id = key(nkeys.PREFIX_BYTE_ACCOUNT)
    operator_jwt = token(operator, operator_id, operator_id, {"type": "operator", "system_account": system_id})
    system_jwt = token(operator, operator_id, system_id, {"type": "account", "limits": unlimited})
    account_jwt = token(operator, operator_id, account_id, {"type": "account", "limits": limits})
    user_jwt = token(account, account_id, user_id, {"type": "user", "subs": -1, "data": -1, "payload": -1})
    (folder / "asr.creds").write_text(
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    preload = f"{{ {account_id}: {account_jwt}, {system_id}: {system_jwt} }}"
    return f"operator: {operator_jwt}\nresolver: MEMORY\nresolver_preload: {preload}"


async def test_a_credentials_file_opens_the_door_and_nothing_else_does(tmp_path: Path) -> None:
    async with EmbeddedServer(extra_config=accounts(tmp_path)) as server:
        async with bus_at(server.url, credentials=tmp_path / "asr.creds") as bus:
            subscription = await bus.subscribe([subjects.ASR_PARTIAL.of("s1")])
            await bus.publish(subjects.ASR_PARTIAL, transcript())
            assert len(await take(subscription, 1)) == 1
        with pytest.raises(Denied):
            async with bus_at(server.url):
                pass


@pytest.mark.parametrize("setting", ["credentials", "tls_ca"])
async def test_a_file_that_cannot_be_read_is_named(setting: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no-such-file"):
        async with bus_at("nats://127.0.0.1:1", **{setting: tmp_path / "no-such-file"}):
            pass


async def test_a_ca_that_is_none_is_refused(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n")
    with pytest.raises(InvalidRequest, match="not a CA certificate"):
        async with bus_at("nats://127.0.0.1:1", tls_ca=ca):
            pass


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_a_server_is_trusted_by_its_ca_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halfbeat.bus.connection.CONNECT_S", 1.0)
    for name in ("ours", "other"):
        await asyncio.to_thread(certificate, tmp_path, name)
    tls = f'tls {{ cert_file: "{tmp_path}/ours.pem", key_file: "{tmp_path}/ours.key" }}'
    async with EmbeddedServer(extra_config=tls) as server:
        async with bus_at(server.url, tls_ca=tmp_path / "ours.pem") as bus:
            assert bus.is_connected
        with pytest.raises(Unavailable):
            async with bus_at(server.url, tls_ca=tmp_path / "other.pem"):
                pass


def certificate(folder: Path, name: str) -> None:
    """Makes a certificate for 127.0.0.1 that is its own CA."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    address = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*command, "-subj", f"/CN={name}", *address, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"],
        check=True,
        capture_output=True,
    )
