"""Whom the router asks for a call, and when it gives up."""

from typing import Any, cast

import pytest

from halfbeat.bus import Bus
from halfbeat.clock import run_virtual
from halfbeat.errors import AtCapacity, Unavailable
from halfbeat.subjects import Kind
from halfbeat.v1 import session_pb2
from services.router import placement


class Workers:
    """A bus behind which each request meets the next of these; None is nobody."""

    def __init__(self, *full: bool | None) -> None:
        self.full, self.asked = full, 0

    async def request(self, kind: Kind, message: Any, reply: Any, *, timeout_s: float) -> session_pb2.OpenReply:
        if kind.kind != "asr":
            return session_pb2.OpenReply(worker=kind.kind)
        is_full = self.full[min(self.asked, len(self.full) - 1)]
        self.asked += 1
        if is_full is None:
            raise Unavailable("nobody answers")
        error = AtCapacity("full").to_message() if is_full else None
        return session_pb2.OpenReply(worker=f"asr-{self.asked}", error=error)

    async def publish(self, *_: Any) -> None:
        pass


def place(workers: Workers) -> dict[str, str]:
    bus = cast(Bus, workers)
    return run_virtual(placement.place(bus, "s1", session_pb2.SessionConfig(), attempts=10, timeout_s=5))


def test_a_free_worker_is_found_among_full_ones() -> None:
    assert place(Workers(*[True] * 8, False))["asr"] == "asr-9"


def test_when_all_that_were_asked_are_full_the_call_is_refused() -> None:
    workers = Workers(True)
    with pytest.raises(AtCapacity):
        place(workers)
    assert workers.asked == 10


def test_a_service_that_is_not_there_is_told_before_the_time_is_up() -> None:
    workers = Workers(None)
    with pytest.raises(Unavailable, match="no asr worker"):
        place(workers)
    assert workers.asked == 3


def test_a_worker_that_is_starting_is_waited_for() -> None:
    assert place(Workers(None, None, False))["asr"] == "asr-3"
