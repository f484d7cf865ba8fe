"""Texts are delivered once they are committed, by one worker at a time, again after a failure, and given up at last."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from apps.city311.city import open_city
from apps.city311.database import Database
from apps.city311.models import OutboxText, TextStatus
from apps.city311.outbox import LONGEST_BACKOFF_S, Outbox, judge, queue_text
from apps.city311.texts import Rejected, Retry, Sent

NUMBER, BODY = "+15550100142", "City 311: a secret body"


class Scripted:
    """A provider that answers from a list, then `Sent`; it keeps what it was asked to send."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.messages = []
        self.arrived = asyncio.Event()
        self.gate: asyncio.Event | None = None
        self.is_closed = False

    async def send(self, message):
        self.messages.append(message)
        self.arrived.set()
        await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else Sent(f"id-{message.key}")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self) -> None:
        self.is_closed = True


@pytest.fixture
def outbox_of(database, clock):
    def make(provider, on: Database | None = None, **options) -> Outbox:
        return Outbox(on or database, provider, now=clock, jitter=lambda: 0.0, **options)

    return make


async def put(database, clock, *keys: str) -> None:
    async with database.write() as session:
        for key in keys:
            await queue_text(session, key=key, to=NUMBER, body=BODY, now=clock())


async def rows(database) -> list[OutboxText]:
    async with database.read() as session:
        return list(await session.scalars(select(OutboxText).order_by(OutboxText.id)))


async def row(database) -> OutboxText:
    (only,) = await rows(database)
    return only


async def test_a_committed_text_is_delivered_once(database, clock, outbox_of):
    await put(database, clock, "k")
    provider = Scripted()
    outbox = outbox_of(provider)
    assert await outbox.deliver_due() == 1
    assert await outbox.deliver_due() == 0
    assert [(m.to, m.body, m.is_outcome_unknown) for m in provider.messages] == [(NUMBER, BODY, False)]
    text = await row(database)
    assert (text.status, text.attempts, text.provider_id, text.sent_at) == (TextStatus.SENT, 1, "id-k", clock())


async def test_a_text_is_queued_once_for_its_key(database, clock, outbox_of):
    await asyncio.gather(*(put(database, clock, "k") for _ in range(10)))
    assert len(await rows(database)) == 1


async def test_two_workers_send_every_text_once(database, clock, outbox_of):
    await put(database, clock, *(f"k{i}" for i in range(30)))
    other = Database(database.url)
    first, second = Scripted(), Scripted()
    workers = [outbox_of(first, batch=3), outbox_of(second, on=other, batch=3)]
    try:
        while any(await asyncio.gather(*(worker.deliver_due() for worker in workers))):
            pass
    finally:
        await other.aclose()
    sent = sorted(message.key for message in first.messages + second.messages)
    assert sent == sorted(f"k{i}" for i in range(30))
    assert first.messages
    assert second.messages
    assert {text.status for text in await rows(database)} == {TextStatus.SENT}


async def test_a_text_whose_worker_died_is_sent_by_the_next_one_when_the_claim_ends(database, clock, outbox_of):
    await put(database, clock, "k")
    await outbox_of(Scripted(), claim_s=60).claim_due()  # and the worker is gone
    provider = Scripted()
    restarted = outbox_of(provider, claim_s=60)
    clock.advance(seconds=59)
    assert await restarted.deliver_due() == 0
    clock.advance(seconds=1)
    assert await restarted.deliver_due() == 1
    assert [message.is_outcome_unknown for message in provider.messages] == [True]
    text = await row(database)
    assert (text.status, text.attempts, text.is_outcome_unknown) == (TextStatus.SENT, 2, False)


async def test_a_worker_that_comes_back_too_late_does_not_undo_what_the_next_one_settled(database, clock, outbox_of):
    await put(database, clock, "k")
    slow, quick = Scripted(Rejected("http 400")), Scripted()
    slow.gate = asyncio.Event()
    late = asyncio.create_task(outbox_of(slow).deliver_due())
    async with asyncio.timeout(5):
        await slow.arrived.wait()
    clock.advance(seconds=61)
    await outbox_of(quick).deliver_due()
    slow.gate.set()
    await late
    text = await row(database)
    assert (text.status, text.provider_id, text.last_error) == (TextStatus.SENT, "id-k", None)


async def test_a_failure_is_retried_after_a_wait_that_doubles(database, clock, outbox_of):
    await put(database, clock, "k")
    provider = Scripted(Retry("http 503"), Retry("http 503"))
    outbox = outbox_of(provider, backoff_s=2)
    start = clock()
    due = []
    for _ in range(2):
        assert await outbox.deliver_due() == 1
        text = await row(database)
        assert (text.status, text.last_error) == (TextStatus.PENDING, "http 503")
        due.append((text.next_attempt_at - start).total_seconds())
        clock.time = text.next_attempt_at - timedelta(milliseconds=1)
        assert await outbox.deliver_due() == 0
        clock.time = text.next_attempt_at
    assert due == [2, 2 + 4]
    await outbox.deliver_due()
    text = await row(database)
    assert (text.status, text.attempts, text.last_error) == (TextStatus.SENT, 3, None)


async def test_the_wait_that_the_provider_asks_for_is_kept(database, clock, outbox_of):
    await put(database, clock, "k")
    await outbox_of(Scripted(Retry("http 429", after_s=45.0))).deliver_due()
    assert (await row(database)).next_attempt_at == clock() + timedelta(seconds=45)


async def test_a_text_is_given_up_after_the_last_attempt(database, clock, outbox_of):
    await put(database, clock, "k")
    provider = Scripted(*(Retry("http 500", is_outcome_unknown=True) for _ in range(5)))
    outbox = outbox_of(provider, max_attempts=3)
    for _ in range(5):
        await outbox.deliver_due()
        clock.advance(hours=1)
    text = await row(database)
    assert (text.status, text.attempts, text.last_error) == (TextStatus.FAILED, 3, "gave up: http 500")
    assert [message.is_outcome_unknown for message in provider.messages] == [False, True, True]


async def test_a_rejected_text_is_not_tried_again(database, clock, outbox_of):
    await put(database, clock, "k")
    provider = Scripted(Rejected("http 400 code 21211"))
    outbox = outbox_of(provider)
    await outbox.deliver_due()
    clock.advance(hours=1)
    assert await outbox.deliver_due() == 0
    text = await row(database)
    assert (text.status, text.last_error) == (TextStatus.FAILED, "http 400 code 21211")


async def test_one_text_that_breaks_the_provider_does_not_hold_up_the_others(database, clock, outbox_of):
    await put(database, clock, "k1", "k2")
    await outbox_of(Scripted(ZeroDivisionError(NUMBER))).deliver_due()
    broken, fine = await rows(database)
    assert (broken.status, broken.last_error, broken.is_outcome_unknown) == (
        TextStatus.PENDING,
        "ZeroDivisionError",
        True,
    )
    assert fine.status is TextStatus.SENT


async def test_no_number_and_no_body_reach_the_log(database, clock, outbox_of, caplog):
    caplog.set_level(logging.DEBUG)
    await put(database, clock, "k1", "k2", "k3", "k4")
    provider = Scripted(Retry("http 503"), Rejected("http 400"), ValueError(f"{NUMBER} {BODY}"))
    await outbox_of(provider).deliver_due()
    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "outbox: text sent" in logged
    assert NUMBER not in logged
    assert BODY not in logged
    assert NUMBER not in repr(provider.messages)


async def test_a_worker_wakes_up_for_a_text_and_stops_after_the_one_it_is_sending(database, clock, outbox_of):
    provider = Scripted()
    provider.gate = asyncio.Event()
    outbox = outbox_of(provider, poll_s=3600)
    worker = asyncio.create_task(outbox.run())
    await put(database, clock, "k")
    outbox.wake()
    async with asyncio.timeout(5):
        await provider.arrived.wait()
    outbox.stop()
    provider.gate.set()
    async with asyncio.timeout(5):
        await worker
    assert (await row(database)).status is TextStatus.SENT


async def test_a_worker_outlives_a_database_that_does_not_answer(database, clock, outbox_of, monkeypatch):
    provider = Scripted()
    outbox = outbox_of(provider, poll_s=0.001)
    await put(database, clock, "k")
    claim, failures = outbox.claim_due, iter([OperationalError("", {}, Exception()), ConnectionRefusedError()])

    async def claim_due():
        for failure in failures:
            raise failure
        return await claim()

    monkeypatch.setattr(outbox, "claim_due", claim_due)
    worker = asyncio.create_task(outbox.run())
    async with asyncio.timeout(5):
        await provider.arrived.wait()
    outbox.stop()
    async with asyncio.timeout(5):
        await worker
    assert (await row(database)).status is TextStatus.SENT


async def test_the_application_delivers_texts_while_it_runs_and_keeps_what_is_left(settings, clock):
    settings = settings.model_copy(update={"outbox_poll_s": 3600.0})  # only waking it helps
    first = Scripted(Retry("unreachable"))
    async with open_city(settings, now=clock, provider=first) as city:
        place = await city.resolve_address("12 oak street")
        booking = await city.schedule_pickup(key="k", address_id=place.address_id)
        queued = await city.send_confirmation_text(ref=booking.ref.lower(), to="555 010 0142")
        assert (queued.ref, queued.last_digits, queued.is_repeat) == (booking.ref, "0142", False)
        assert (await city.send_confirmation_text(ref=booking.ref, to=NUMBER)).is_repeat
        async with asyncio.timeout(5):
            await first.arrived.wait()
    assert first.is_closed
    clock.advance(minutes=1)
    second = Scripted()
    async with open_city(settings, now=clock, provider=second) as city:
        async with asyncio.timeout(5):
            await second.arrived.wait()
        (known,) = await city.bookings()
        assert known.ref == booking.ref
    assert [message.body for message in second.messages] == [
        "City 311: a truck will pick up your trash at 12 Oak Street on Wednesday, May 15, between 8 AM and noon."
        f" Reference {booking.ref}."
    ]
    database = Database(settings.url)
    text = await row(database)
    await database.aclose()
    assert (text.status, text.attempts) == (TextStatus.SENT, 2)


async def test_the_application_waits_for_the_text_it_is_sending_before_it_ends(settings, clock):
    provider = Scripted()
    provider.gate = asyncio.Event()
    async with open_city(settings, now=clock, provider=provider) as city:
        receipt = await city.report_issue(key="k", kind="pothole", location="oak street")
        await city.send_confirmation_text(ref=receipt.ref, to=NUMBER)
        async with asyncio.timeout(5):
            await provider.arrived.wait()
        asyncio.get_running_loop().call_soon(provider.gate.set)  # once the end has begun
    database = Database(settings.url)
    text = await row(database)
    await database.aclose()
    assert text.status is TextStatus.SENT


async def test_no_text_is_queued_without_a_number_or_for_an_unknown_reference(city):
    assert (await city.send_confirmation_text(ref="PU-1", to="anonymous")).reason == "no_number"
    assert (await city.send_confirmation_text(ref="PU-1", to=NUMBER)).reason == "unknown_reference"
    assert await city.texts() == []


async def test_a_report_is_confirmed_by_text_too(city):
    receipt = await city.report_issue(key="k", kind="pothole", location="oak street")
    await city.send_confirmation_text(ref=receipt.ref, to=NUMBER)
    (text,) = await city.texts()
    assert text.body == f"City 311: we have your report of a pothole. Reference {receipt.ref}."


@given(st.integers(1, 50), st.floats(0, 1), st.none() | st.floats(0, 10_000))
def test_a_wait_is_at_least_what_was_asked_for_and_at_most_that_or_the_longest_backoff(attempt, jitter, after_s):
    start = datetime(2030, 1, 1, tzinfo=UTC)
    verdict = judge(Retry("e", after_s), attempt, start, max_attempts=99, backoff_s=2.0, jitter=jitter)
    wait_s = (verdict.next_attempt_at - start).total_seconds()
    assert wait_s >= (after_s or 0.0) - 1e-6
    assert wait_s <= max(after_s or 0.0, LONGEST_BACKOFF_S * 1.25) + 1e-6
    assert wait_s >= 2.0
