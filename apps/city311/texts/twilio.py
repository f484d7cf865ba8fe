"""Twilio as provider: its REST API's Messages resource."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

import aiohttp
from pydantic import SecretStr

from apps.city311.texts import Rejected, Retry, Sent, TextMessage

#: Client errors that a later attempt may not meet: request timed out, too many requests.
_RETRIED = frozenset({408, 429})
#: Statuses of a message that did not reach anybody; it may be sent again.
_UNDELIVERED = frozenset({"failed", "undelivered", "canceled"})
#: How many messages to one number in a day are searched for an earlier attempt.
_SEARCHED = 100


class TwilioTexts:
    """Sends through `POST /2010-04-01/Accounts/{sid}/Messages.json`.

    Twilio takes no idempotency key. After an attempt without an answer the account's messages to that number of
    that day are searched for the same body first (each of our texts holds a reference), so that only a text
    that Twilio took and does not list yet could go out twice.

    Args:
        account_sid: `AC...`.
        auth_token: The account's token, or the secret of the API key.
        api_key_sid: `SK...`; None to sign in as the account itself.
        sender: Sender's number, E.164, or None with a messaging service.
        messaging_service_sid: `MG...`, picks the sender.
        base_url: Of the API, without a trailing slash.
        timeout_s: Time limit of one request in seconds.
    """

    def __init__(
        self,
        *,
        account_sid: str,
        auth_token: SecretStr,
        api_key_sid: str | None = None,
        sender: str | None = None,
        messaging_service_sid: str | None = None,
        base_url: str = "https://api.twilio.com",
        timeout_s: float = 10.0,
    ) -> None:
        self._url = f"{base_url}/2010-04-01/Accounts/{account_sid}/Messages.json"
        sign_in = f"{api_key_sid or account_sid}:{auth_token.get_secret_value()}"
        self._headers = {"Authorization": "Basic " + base64.b64encode(sign_in.encode()).decode()}
        self._sender = (
            {"MessagingServiceSid": messaging_service_sid} if messaging_service_sid else {"From": sender or ""}
        )
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def send(self, message: TextMessage) -> Sent | Rejected | Retry:
        """Send one text; 4xx is final, 408, 429, 5xx and no answer are retried."""
        try:
            if message.is_outcome_unknown:
                found = await self._find(message)
                if found is not None:
                    return found
            form = {"To": message.to, "Body": message.body, **self._sender}
            status, headers, answer = await self._request("POST", data=form)
        except aiohttp.ClientConnectorError:
            return Retry("unreachable", is_outcome_unknown=message.is_outcome_unknown)
        except (aiohttp.ClientError, TimeoutError) as error:
            return Retry(type(error).__name__, is_outcome_unknown=True)
        if status < 300:
            sid = answer.get("sid")
            return Sent(sid) if isinstance(sid, str) else Retry("answer without sid", is_outcome_unknown=True)
        return _failure(status, headers, answer, message)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _find(self, message: TextMessage) -> Sent | Rejected | Retry | None:
        """The earlier attempt's message, or why that cannot be known; None where Twilio has none."""
        since = message.created_at.astimezone(UTC)
        query = {"To": message.to, "DateSent>": since.date().isoformat(), "PageSize": str(_SEARCHED)}
        status, headers, answer = await self._request("GET", params=query)
        if status >= 300:
            return _failure(status, headers, answer, message)
        for entry in answer.get("messages") or ():
            if entry.get("body") != message.body or entry.get("status") in _UNDELIVERED:
                continue
            created = _instant(entry.get("date_created"))
            if created is None or created >= since.replace(microsecond=0):
                return Sent(str(entry.get("sid")))
        return None

    async def _request(self, method: str, **options: Any) -> tuple[int, Mapping[str, str], dict[str, Any]]:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout)
        async with self._session.request(method, self._url, allow_redirects=False, **options) as response:
            body = await response.text(errors="replace")
            try:
                answer = json.loads(body)
            except ValueError:
                answer = None
            return response.status, response.headers, answer if isinstance(answer, dict) else {}


def _failure(
    status: int, headers: Mapping[str, str], answer: Mapping[str, Any], message: TextMessage
) -> Rejected | Retry:
    """What an answer that is no success means. Its message is left out: Twilio quotes the number in it."""
    code = answer.get("code")
    error = f"http {status}" + (f" code {code}" if isinstance(code, int) else "")
    if status >= 500 or status in _RETRIED:
        is_unknown = message.is_outcome_unknown or status >= 500
        return Retry(error, _retry_after_s(headers.get("Retry-After")), is_unknown)
    return Rejected(error)


def _retry_after_s(value: str | None) -> float | None:
    """Seconds of a Retry-After header; its date form is rare and taken as absent."""
    try:
        return max(0.0, float(value)) if value is not None else None
    except ValueError:
        return None


def _instant(value: object) -> datetime | None:
    """An RFC 2822 date of the API."""
    try:
        instant = parsedate_to_datetime(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return instant if instant is None or instant.tzinfo else instant.replace(tzinfo=UTC)
