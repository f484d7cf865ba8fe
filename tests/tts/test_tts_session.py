"""Clauses are spoken in order; what is older than the newest epoch or revision is never spoken."""

from halfbeat.drop import DropReason
from halfbeat.v1.common_pb2 import Stamp
from services.tts.session import (
    ClauseEnded,
    ClauseReceived,
    Drop,
    EpochAdvanced,
    Refuse,
    Speak,
    SpeechSession,
    Stop,
)


def clause(index: int, *, epoch: int = 1, turn: int = 1, revision: int = 0, text: str = "Okay.") -> ClauseReceived:
    return ClauseReceived(Stamp(sid="s", epoch=epoch, turn=turn, revision=revision), index, text)


def epoch(number: int) -> EpochAdvanced:
    return EpochAdvanced(Stamp(sid="s", epoch=number))


def test_the_first_clause_is_spoken_at_once_and_the_next_after_it() -> None:
    session = SpeechSession()
    assert session.on_event(clause(0)) == [Speak(clause(0))]
    assert session.on_event(clause(1)) == []
    assert session.on_event(clause(2)) == []
    assert session.on_event(ClauseEnded()) == [Speak(clause(1))]
    assert session.on_event(ClauseEnded()) == [Speak(clause(2))]
    assert session.on_event(ClauseEnded()) == []


def test_a_newer_epoch_stops_the_clause_being_spoken_and_drops_those_that_wait() -> None:
    session = SpeechSession()
    session.on_event(clause(0))
    session.on_event(clause(1))
    assert session.on_event(epoch(2)) == [Stop(DropReason.STALE_EPOCH), Drop(clause(1), DropReason.STALE_EPOCH)]
    assert session.on_event(ClauseEnded()) == []


def test_a_clause_of_a_newer_epoch_voids_the_older_even_when_the_announcement_is_lost() -> None:
    session = SpeechSession()
    session.on_event(clause(0))
    assert session.on_event(clause(0, epoch=2, turn=2)) == [Stop(DropReason.STALE_EPOCH)]
    assert session.on_event(ClauseEnded()) == [Speak(clause(0, epoch=2, turn=2))]


def test_a_clause_that_arrives_after_its_epoch_ended_is_dropped() -> None:
    session = SpeechSession()
    session.on_event(epoch(2))
    assert session.on_event(clause(0)) == [Drop(clause(0), DropReason.STALE_EPOCH)]


def test_a_session_that_opens_in_a_later_epoch_drops_what_is_older() -> None:
    assert SpeechSession(epoch=3).on_event(clause(0)) == [Drop(clause(0), DropReason.STALE_EPOCH)]


def test_a_newer_revision_voids_the_drafts_of_its_turn() -> None:
    session = SpeechSession()
    session.on_event(clause(0))
    session.on_event(clause(1))
    redone = clause(0, revision=1)
    assert session.on_event(redone) == [
        Stop(DropReason.STALE_REVISION),
        Drop(clause(1), DropReason.STALE_REVISION),
    ]
    assert session.on_event(ClauseEnded()) == [Speak(redone)]
    assert session.on_event(clause(2)) == [Drop(clause(2), DropReason.STALE_REVISION)]


def test_a_newer_turn_of_the_same_epoch_waits_for_the_clauses_before_it() -> None:
    session = SpeechSession()
    session.on_event(clause(0))
    session.on_event(clause(1))
    assert session.on_event(clause(0, turn=2)) == []
    assert session.on_event(ClauseEnded()) == [Speak(clause(1))]
    assert session.on_event(ClauseEnded()) == [Speak(clause(0, turn=2))]


def test_a_clause_is_stopped_only_once() -> None:
    session = SpeechSession()
    session.on_event(clause(0))
    assert session.on_event(epoch(2)) == [Stop(DropReason.STALE_EPOCH)]
    assert session.on_event(epoch(3)) == []


def test_the_epoch_never_goes_back() -> None:
    session = SpeechSession()
    session.on_event(epoch(5))
    assert session.on_event(epoch(4)) == []
    assert session.on_event(clause(0, epoch=4)) == [Drop(clause(0, epoch=4), DropReason.STALE_EPOCH)]


def test_a_clause_that_is_delivered_twice_is_spoken_once() -> None:
    session = SpeechSession()
    session.on_event(clause(0))
    assert session.on_event(clause(0)) == [Drop(clause(0), DropReason.DUPLICATE)]


def test_too_much_waiting_text_is_refused_but_what_waits_is_spoken() -> None:
    session = SpeechSession(max_waiting_chars=10)
    session.on_event(clause(0, text="a" * 50))
    session.on_event(clause(1, text="b" * 8))
    assert session.on_event(clause(2, text="c" * 8)) == [Refuse(clause(2, text="c" * 8))]
    assert session.on_event(ClauseEnded()) == [Speak(clause(1, text="b" * 8))]
