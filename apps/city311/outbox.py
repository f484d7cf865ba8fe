"""The outbox: texts written with what they confirm, delivered afterwards, at least once, by any number of workers."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client import Counter
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from apps.city311.database import Database, insert_once
from apps.city311.dates import utc_now
from apps.city311.models import OutboxText, TextStatus
from apps.city311.texts import Rejected, Retry, Sent, TextMessage, TextProvider

log = logging.getLogger(__name__)

LONGEST_BACKOFF_S = 300.0
_LONGEST_ERROR = 200

TEXTS = Counter("halfbeat_city311_texts", "Attempts to deliver a text, by outcome", ["outcome"])


@dataclass(frozen=True)
class Claimed:
    """A text that this worker, and no other, may send until the claim ends."""

    id: int
    claim: str
    attempt: int
    message: TextMessage


@dataclass(frozen=True)
class Verdict:
    """What an attempt makes of a text: its new status, and when it is due again if it is pending."""

    status: TextStatus
    next_attempt_at: datetime
    is_outcome_unknown: bool = False
    error: str | None = None
    provider_id: str | None = None


def judge(
    outcome: Sent | Rejected | Retry,
    attempt: int,
    now: datetime,
    *,
    max_attempts: int,
    backoff_s: float,
    jitter: float,
) -> Verdict:
    """Decide what follows an attempt; no I/O.

    Args:
        outcome: What the provider said.
        attempt: Number of this attempt, from 1.
        now: The present time.
        max_attempts: After so many the text is given up.
        backoff_s: Wait after the first failure; doubles with each, up to `LONGEST_BACKOFF_S`.
        jitter: 0 to 1; spreads the wait by up to a quarter more, so that workers do not come back together.
    """
    if isinstance(outcome, Sent):
        return Verdict(TextStatus.SENT, now, provider_id=outcome.provider_id)
    error = outcome.error[:_LONGEST_ERROR]
    if isinstance(outcome, Rejected):
        return Verdict(TextStatus.FAILED, now, error=error)
    if attempt >= max_attempts:
        return Verdict(TextStatus.FAILED, now, outcome.is_outcome_unknown, f"gave up: {error}"[:_LONGEST_ERROR])
    wait_s = min(LONGEST_BACKOFF_S, backoff_s * 2.0 ** (attempt - 1)) * (1.0 + 0.25 * jitter)
    due = now + timedelta(seconds=max(wait_s, outcome.after_s or 0.0))
    return Verdict(TextStatus.PENDING, due, outcome.is_outcome_unknown, error)


async def queue_text(session: AsyncSession, *, key: str, to: str, body: str, now: datetime) -> bool:
    """Write a text into the outbox, to be delivered once the transaction commits; False where it is there already.

    Args:
        session: The transaction of what the text confirms.
        key: Idempotency key; a second text with the same key is not written.
        to: Receiver's number, E.164.
        body: The text.
        now: The present time.
    """
    return await insert_once(
        session,
        OutboxText,
        idempotency_key=key,
        to_number=to,
        body=body,
        status=TextStatus.PENDING,
        attempts=0,
        next_attempt_at=now,
        created_at=now,
    )


class Outbox:
    """A worker that delivers what is due.

    A text is claimed in one short transaction, sent outside of any, and settled in another. A worker that dies
    between leaves a claim that ends by itself; the next worker then knows that the outcome is unknown.

    Args:
        database: Where the texts are.
        provider: Who delivers; the outbox does not close it.
        poll_s: How often to look when nothing wakes the worker, in seconds.
        batch: Texts claimed, and sent, at a time.
        claim_s: How long a claim holds, in seconds; more than a provider's time limit.
        max_attempts: After so many attempts a text is given up.
        backoff_s: Wait after the first failure, in seconds.
        now: The clock.
        jitter: 0 to 1, drawn for each wait.
    """

    def __init__(
        self,
        database: Database,
        provider: TextProvider,
        *,
        poll_s: float = 1.0,
        batch: int = 10,
        claim_s: float = 60.0,
        max_attempts: int = 8,
        backoff_s: float = 2.0,
        now: Callable[[], datetime] = utc_now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._provider = provider
        self._poll_s = poll_s
        self._batch = batch
        self._claim = timedelta(seconds=claim_s)
        self._max_attempts = max_attempts
        self._backoff_s = backoff_s
        self._now = now
        self._jitter = jitter
        self._is_awake = asyncio.Event()
        self._is_stopping = False

    def wake(self) -> None:
        """Look now: a text was queued."""
        self._is_awake.set()

    def stop(self) -> None:
        """Let `run` return once the texts that are being sent are settled."""
        self._is_stopping = True
        self._is_awake.set()

    async def run(self) -> None:
        """Deliver until `stop`. A database that is away is waited for.

        Cancelling leaves the texts that are being sent claimed, with their outcome unknown.
        """
        while not self._is_stopping:
            self._is_awake.clear()
            try:
                count = await self.deliver_due()
            except (SQLAlchemyError, OSError) as error:
                log.warning("outbox: the database did not answer", extra={"error": type(error).__name__})
                count = 0
            if count == 0 and not self._is_stopping:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s):
                        await self._is_awake.wait()

    async def deliver_due(self) -> int:
        """Deliver a batch of what is due now, all at once; how many texts were tried."""
        claimed = await self.claim_due()
        results = await asyncio.gather(*(self._deliver(text) for text in claimed), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(claimed)

    async def claim_due(self) -> list[Claimed]:
        """Claim a batch of what is due, so that no other worker sends it meanwhile."""
        now = self._now()
        claim = uuid.uuid4().hex
        due = (
            select(OutboxText)
            .where(
                OutboxText.status.in_((TextStatus.PENDING, TextStatus.SENDING)),
                OutboxText.next_attempt_at <= now,
            )
            .order_by(OutboxText.next_attempt_at, OutboxText.id)
            .limit(self._batch)
            .with_for_update(skip_locked=True)  # PostgreSQL; on SQLite one writer at a time is the rule anyway
        )
        claimed = []
        async with self._database.write() as session:
            for row in await session.scalars(due):
                if row.status is TextStatus.SENDING:
                    row.is_outcome_unknown = True  # whoever claimed it did not come back
                row.status = TextStatus.SENDING
                row.claim = claim
                row.attempts += 1
                row.next_attempt_at = now + self._claim
                message = TextMessage(
                    row.idempotency_key, row.to_number, row.body, row.created_at, row.is_outcome_unknown
                )
                claimed.append(Claimed(row.id, claim, row.attempts, message))
        return claimed

    async def _deliver(self, text: Claimed) -> None:
        outcome = await self._send(text.message)
        verdict = judge(
            outcome,
            text.attempt,
            self._now(),
            max_attempts=self._max_attempts,
            backoff_s=self._backoff_s,
            jitter=self._jitter(),
        )
        is_settled = await self._settle(text, verdict)
        name = "lost_claim" if not is_settled else _name(outcome, verdict)
        TEXTS.labels(name).inc()
        log.log(
            logging.INFO if name == "sent" else logging.WARNING,
            "outbox: text %s",
            name,
            extra={"text_id": text.id, "attempt": text.attempt, "error": verdict.error},
        )

    async def _send(self, message: TextMessage) -> Sent | Rejected | Retry:
        try:
            async with asyncio.timeout(self._claim.total_seconds()):
                return await self._provider.send(message)
        except Exception as error:  # a provider's bug must not stop the others' texts
            log.warning("outbox: the provider failed", extra={"error": type(error).__name__})
            return Retry(type(error).__name__, is_outcome_unknown=True)

    async def _settle(self, text: Claimed, verdict: Verdict) -> bool:
        """Write the verdict down, unless the claim ended and another worker has the text now."""
        async with self._database.write() as session:
            settled = await session.execute(
                update(OutboxText)
                .where(OutboxText.id == text.id, OutboxText.claim == text.claim)
                .values(
                    status=verdict.status,
                    claim=None,
                    next_attempt_at=verdict.next_attempt_at,
                    is_outcome_unknown=verdict.is_outcome_unknown,
                    last_error=verdict.error,
                    provider_id=verdict.provider_id,
                    sent_at=self._now() if verdict.status is TextStatus.SENT else None,
                )
                .returning(OutboxText.id)
            )
            return settled.first() is not None


def _name(outcome: Sent | Rejected | Retry, verdict: Verdict) -> str:
    if isinstance(outcome, Sent):
        return "sent"
    if isinstance(outcome, Rejected):
        return "rejected"
    return "given_up" if verdict.status is TextStatus.FAILED else "retry"
