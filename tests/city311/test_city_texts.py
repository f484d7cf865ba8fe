"""The providers: a local file, and Twilio's REST API against a server that checks what it is sent."""

import asyncio
import base64
import json
from datetime import UTC, datetime

import pytest
from aiohttp import web
from pydantic import SecretStr, ValidationError

from apps.city311.city import text_provider
from apps.city311.config import City311Settings
from apps.city311.texts import Rejected, Retry, Sent, TextMessage
from apps.city311.texts.log import LogTexts
from apps.city311.texts.twilio import TwilioTexts

QUEUED = datetime(2030, 5, 14, 15, 0, 0, 400_000, tzinfo=UTC)
MESSAGE = TextMessage("k", "+15550100142", "City 311: booked. Reference PU-1.", QUEUED)
AGAIN = TextMessage("k", MESSAGE.to, MESSAGE.body, QUEUED, is_outcome_unknown=True)
PATH = "/2010-04-01/Accounts/AC1/Messages.json"


class FakeTwilio:
    """Twilio's Messages resource: checks the sign-in, keeps the forms, answers as it is told."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.queries: list[dict[str, str]] = []
        self.answer: tuple[int, object, dict[str, str]] = (201, {"sid": "SM1", "status": "queued"}, {})
        self.listed: list[dict[str, str]] = []
        self.hang: asyncio.Event | None = None
        self.url = ""

    async def post(self, request: web.Request) -> web.Response:
        self._check(request)
        self.forms.append(dict(await request.post()))
        if self.hang is not None:
            await self.hang.wait()
        status, body, headers = self.answer
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, headers=headers)

    async def get(self, request: web.Request) -> web.Response:
        self._check(request)
        self.queries.append(dict(request.query))
        return web.json_response({"messages": self.listed})

    @staticmethod
    def _check(request: web.Request) -> None:
        if request.headers.get("Authorization") != "Basic " + base64.b64encode(b"SK1:secret").decode():
            raise web.HTTPUnauthorized(text=json.dumps({"code": 20003, "message": f"bad token for {MESSAGE.to}"}))


@pytest.fixture
async def server():
    fake = FakeTwilio()
    app = web.Application()
    app.router.add_post(PATH, fake.post)
    app.router.add_get(PATH, fake.get)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    yield fake
    if fake.hang is not None:
        fake.hang.set()
    await runner.cleanup()


@pytest.fixture
async def twilio(server):
    async with TwilioTexts(
        account_sid="AC1",
        api_key_sid="SK1",
        auth_token=SecretStr("secret"),
        sender="+15550100100",
        base_url=server.url,
        timeout_s=2.0,
    ) as provider:
        yield provider


async def test_a_text_is_posted_with_its_form_and_sign_in(server, twilio):
    assert await twilio.send(MESSAGE) == Sent("SM1")
    assert server.forms == [{"To": MESSAGE.to, "Body": MESSAGE.body, "From": "+15550100100"}]
    assert server.queries == []


async def test_a_messaging_service_picks_the_sender(server):
    async with TwilioTexts(
        account_sid="AC1",
        api_key_sid="SK1",
        auth_token=SecretStr("secret"),
        messaging_service_sid="MG1",
        base_url=server.url,
    ) as twilio:
        await twilio.send(MESSAGE)
    assert server.forms == [{"To": MESSAGE.to, "Body": MESSAGE.body, "MessagingServiceSid": "MG1"}]


async def test_a_wrong_token_is_final_and_not_repeated_in_the_error(server):
    async with TwilioTexts(
        account_sid="AC1", auth_token=SecretStr("wrong"), sender="+15550100100", base_url=server.url
    ) as twilio:
        assert await twilio.send(MESSAGE) == Rejected("http 401 code 20003")
    assert server.forms == []


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((400, {"code": 21211, "message": f"{MESSAGE.to} is no number"}, {}), Rejected("http 400 code 21211")),
        ((404, "<html>", {}), Rejected("http 404")),
        ((429, {"code": 20429}, {"Retry-After": "7"}), Retry("http 429 code 20429", 7.0)),
        ((429, {}, {"Retry-After": "Wed, 15 May 2030 08:00:00 GMT"}), Retry("http 429")),
        ((408, {}, {}), Retry("http 408")),
        ((500, "oops", {}), Retry("http 500", None, is_outcome_unknown=True)),
        ((503, {}, {"Retry-After": "30"}), Retry("http 503", 30.0, is_outcome_unknown=True)),
        ((201, "no json", {}), Retry("answer without sid", None, is_outcome_unknown=True)),
        ((302, "", {"Location": "/elsewhere"}), Rejected("http 302")),
    ],
)
async def test_what_an_answer_means(server, twilio, answer, outcome):
    server.answer = answer
    assert await twilio.send(MESSAGE) == outcome


async def test_no_answer_leaves_the_outcome_unknown(server):
    server.hang = asyncio.Event()
    async with TwilioTexts(
        account_sid="AC1",
        api_key_sid="SK1",
        auth_token=SecretStr("secret"),
        sender="+1",
        base_url=server.url,
        timeout_s=0.05,
    ) as twilio:
        outcome = await twilio.send(MESSAGE)
    assert isinstance(outcome, Retry)
    assert outcome.is_outcome_unknown


async def test_a_server_that_cannot_be_reached_took_nothing(unused_tcp_port):
    async with TwilioTexts(
        account_sid="AC1",
        auth_token=SecretStr("secret"),
        sender="+1",
        base_url=f"http://127.0.0.1:{unused_tcp_port}",
    ) as twilio:
        assert await twilio.send(MESSAGE) == Retry("unreachable")


async def test_after_an_unknown_outcome_a_text_that_twilio_has_is_not_sent_again(server, twilio):
    server.listed = [
        {"sid": "SM0", "body": "another text", "status": "sent", "date_created": "Tue, 14 May 2030 15:00:01 +0000"},
        {"sid": "SM9", "body": MESSAGE.body, "status": "sent", "date_created": "Tue, 14 May 2030 15:00:01 +0000"},
    ]
    assert await twilio.send(AGAIN) == Sent("SM9")
    assert server.forms == []
    assert server.queries == [{"To": MESSAGE.to, "DateSent>": "2030-05-14", "PageSize": "100"}]


@pytest.mark.parametrize(
    "listed",
    [
        [],
        [{"sid": "SM9", "body": MESSAGE.body, "status": "failed", "date_created": "Tue, 14 May 2030 15:00:01 +0000"}],
        [{"sid": "SM9", "body": MESSAGE.body, "status": "sent", "date_created": "Tue, 14 May 2030 11:00:00 +0000"}],
    ],
)
async def test_after_an_unknown_outcome_a_text_that_twilio_has_not_is_sent(server, twilio, listed):
    server.listed = listed
    assert await twilio.send(AGAIN) == Sent("SM1")
    assert len(server.forms) == 1


async def test_the_log_provider_appends_lines_that_only_the_owner_can_read(tmp_path):
    path = tmp_path / "new" / "texts.jsonl"
    provider = LogTexts(path, now=lambda: QUEUED)
    await provider.send(MESSAGE)
    await provider.send(TextMessage("k2", MESSAGE.to, "zwei – ü", QUEUED))
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert lines[0] == {"at": QUEUED.isoformat(), "key": "k", "to": MESSAGE.to, "body": MESSAGE.body}
    assert lines[1]["body"] == "zwei – ü"
    assert path.stat().st_mode & 0o777 == 0o600


async def test_the_log_provider_writes_a_text_once_even_after_an_unknown_outcome(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"key": "other"}\n{"half a li\n')
    provider = LogTexts(path)
    for _ in range(3):
        assert await provider.send(AGAIN) == Sent("log:k")
    assert path.read_text().count(MESSAGE.body) == 1


async def test_a_log_that_cannot_be_written_is_retried(tmp_path):
    (tmp_path / "file").write_text("")
    assert isinstance(await LogTexts(tmp_path / "file" / "texts.jsonl").send(MESSAGE), Retry)


async def test_the_settings_choose_the_provider(tmp_path):
    assert isinstance(text_provider(City311Settings(texts_log=tmp_path / "t")), LogTexts)
    twilio = City311Settings(
        texts="twilio", twilio_account_sid="AC1", twilio_auth_token="secret", twilio_from="+15550100100"
    )
    assert isinstance(text_provider(twilio), TwilioTexts)
    assert "secret" not in repr(twilio)
    assert "secret" not in twilio.model_dump_json()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"texts": "twilio"}, "twilio_account_sid"),
        ({"texts": "twilio", "twilio_account_sid": "AC1", "twilio_auth_token": "s"}, "one of twilio_from"),
        ({"time_zone": "Mars/Olympus"}, "no such time zone"),
        ({"pickup_window_start": "13:00"}, "must be before"),
        ({"colour": "blue"}, "Extra inputs"),
        ({"texts": "pigeon"}, "'log' or 'twilio'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, problem):
    with pytest.raises(ValidationError, match=problem):
        City311Settings(**values)


def test_an_unknown_variable_is_refused_with_the_one_that_was_meant(monkeypatch):
    monkeypatch.setenv("HALFBEAT_CITY311_DATABSE_URL", "sqlite:////tmp/x.db")
    with pytest.raises(ValidationError, match="did you mean HALFBEAT_CITY311_DATABASE_URL"):
        City311Settings()


def test_settings_come_from_the_environment_and_the_password_is_masked(monkeypatch):
    monkeypatch.setenv("HALFBEAT_CITY311_DATABASE_URL", "postgresql://city:hush@db.example/city")
    settings = City311Settings()
    assert settings.url == "postgresql+asyncpg://city:hush@db.example/city"
    assert not settings.has_demo_data
    assert "hush" not in f"{settings!r} {settings.model_dump_json()}"


def test_without_settings_the_demonstration_city_lies_in_the_state_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HALFBEAT_STATE", str(tmp_path))
    settings = City311Settings()
    assert settings.url == f"sqlite+aiosqlite:///{tmp_path}/city311.db"
    assert settings.texts_log_path == tmp_path / "texts.jsonl"
    assert settings.has_demo_data
