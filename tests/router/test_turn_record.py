"""Hops whose sum is v2v."""

from hypothesis import given
from hypothesis import strategies as st

from halfbeat.clock import NS_PER_MS
from halfbeat.v1.common_pb2 import Residence
from services.router.turn_record import TurnRecord


def ms(value: float) -> int:
    return int(value * NS_PER_MS)


def test_each_hop_gets_its_time_and_the_bus_the_rest() -> None:
    record = TurnRecord(1, committed_ns=ms(450), voice_end_ns=ms(0), decided_ns=ms(350))
    record.clause_came(ms(750), [Residence(hop="dialogue", queue_us=1000, work_us=295_000)])
    record.audio_came(ms(900), [Residence(hop="dialogue", work_us=295_000), Residence(hop="tts", work_us=148_000)])
    record.frame_ns, record.audible_ns = ms(904), ms(915)
    assert record.v2v_ms == 915
    assert record.hops_ms() == {
        "endpoint": 350,
        "asr.flush": 100,
        "llm.clause": 296,
        "tts.first_audio": 148 + 11,
        "playout.first_frame": 4,
        "bus": 6,
    }


def test_what_a_draft_had_ready_before_the_commit_costs_nothing_after_it() -> None:
    record = TurnRecord(1, committed_ns=ms(500), voice_end_ns=0, decided_ns=ms(500))
    record.clause_came(ms(300), [Residence(hop="dialogue", work_us=95_000)])
    record.audio_came(ms(400), [Residence(hop="tts", work_us=98_000)])
    record.frame_ns = record.audible_ns = ms(501)
    assert {name: took for name, took in record.hops_ms().items() if took} == {
        "endpoint": 500,
        "playout.first_frame": 1,
    }


def test_a_draft_in_the_making_costs_what_is_still_waited_for() -> None:
    record = TurnRecord(1, committed_ns=ms(500), voice_end_ns=0, decided_ns=ms(450))
    record.clause_came(ms(540), [Residence(hop="dialogue", work_us=200_000)])
    record.audio_came(ms(620), [Residence(hop="tts", work_us=75_000)])
    record.frame_ns = record.audible_ns = ms(622)
    assert record.hops_ms() == {
        "endpoint": 450,
        "asr.flush": 50,
        "llm.clause": 40,
        "tts.first_audio": 75,
        "playout.first_frame": 2,
        "bus": 5,
    }


def test_a_hop_that_took_its_cheaper_way_is_named_once() -> None:
    record = TurnRecord(1, committed_ns=0)
    record.went_over_budget("tts.first_audio")
    record.went_over_budget("tts.first_audio")
    assert record.over_budget == ["tts.first_audio"]


def test_only_the_first_clause_and_audio_count() -> None:
    record = TurnRecord(1, committed_ns=0, voice_end_ns=0)
    record.clause_came(ms(10), [])
    record.clause_came(ms(99), [])
    record.audio_came(ms(20), [])
    record.audio_came(ms(99), [])
    record.audible_ns = ms(30)
    assert record.hops_ms()["llm.clause"] == 10
    assert record.hops_ms()["tts.first_audio"] == 10


def test_without_an_audible_answer_there_is_no_v2v() -> None:
    record = TurnRecord(1, committed_ns=ms(5), voice_end_ns=0)
    assert record.v2v_ms is None
    assert record.hops_ms() == {}


def test_without_speech_the_hops_begin_at_the_commit() -> None:
    record = TurnRecord(0, committed_ns=ms(100), clause_ns=ms(200), audio_ns=ms(300), audible_ns=ms(400))
    assert record.v2v_ms is None
    assert sum(record.hops_ms().values()) == 300


@given(st.lists(st.integers(0, 3_000_000_000), min_size=7, max_size=7), st.integers(0, 4_000_000))
def test_the_sum_of_the_hops_is_v2v_in_any_order_of_marks(marks: list[int], work_us: int) -> None:
    voice, decided, committed, clause, audio, frame, audible = marks
    record = TurnRecord(1, committed_ns=committed, voice_end_ns=voice, decided_ns=decided)
    record.clause_came(clause, [Residence(hop="dialogue", work_us=work_us)])
    record.audio_came(audio, [Residence(hop="tts", work_us=work_us)])
    record.frame_ns, record.audible_ns = frame, audible
    hops = record.hops_ms()
    assert sum(hops.values()) == record.v2v_ms
    assert all(value >= 0 for value in hops.values())
