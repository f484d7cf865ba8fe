"""When to decode, and what may be said about it."""

from asr_talk import Talk, read_words, words
from hypothesis import given, settings
from hypothesis import strategies as st

from services.asr.engine import SAMPLE_RATE
from services.asr.session import StreamPolicy


def test_nothing_is_decoded_while_nobody_speaks() -> None:
    talk = Talk()
    talk.silence(60_000)
    talk.say(4)  # VAD flags something, but the router does not call it speech
    talk.silence(2_000)
    assert talk.decodes == []


def test_partials_come_every_400_ms_of_speech_and_only_grow() -> None:
    talk = Talk()
    talk.start()
    talk.say(10)
    assert len(talk.decodes) == 3_000 // 400
    assert [p.stable for p in talk.partials] == sorted((p.stable for p in talk.partials), key=len)
    assert talk.partials[-1].stable.split()[:5] == words(1, 5).split()


def test_a_pause_is_decoded_once_and_answers_the_flush_at_once() -> None:
    talk = Talk()
    talk.silence(1_000)
    talk.start()
    talk.say(5)
    talk.silence(200)
    assert talk.in_flight is None
    decoded = len(talk.decodes)
    talk.flush(back_ms=200)
    assert talk.texts() == [words(1, 5)]
    talk.silence(3_000)
    assert len(talk.decodes) == decoded, "silence is not decoded again"


def test_a_pause_is_decoded_40_ms_after_the_last_voice() -> None:
    talk = Talk()
    talk.start()
    talk.say(1)
    talk.silence(20)
    assert talk.decodes == []
    talk.silence(20)
    assert [(d.end, d.is_pause) for d in talk.decodes] == [(talk.at, True)]


def test_no_partial_is_begun_in_a_pause_because_the_decode_of_the_pause_would_wait_for_it() -> None:
    talk = Talk()
    talk.start()
    for _ in range(19):
        talk.frame(1)
    talk.silence(20)  # 400 ms are there: a partial would be due
    assert talk.decodes == []
    talk.silence(20)
    assert [d.purpose for d in talk.decodes] == ["pause"]


def test_hypotheses_of_nearly_the_same_audio_prove_nothing() -> None:
    talk = Talk(decode_ms=20)
    talk.start()
    for _ in range(12):
        talk.frame(1)
    for _ in range(4):  # gaps in a word, each of them decoded
        for _ in range(5):
            talk.frame(2)
        talk.silence(40)
    talk.settle()
    assert len(talk.decodes) >= 4
    assert {p.stable for p in talk.partials} == {""}


def test_a_flush_in_the_middle_of_speech_decodes_up_to_it() -> None:
    talk = Talk()
    talk.start()
    talk.say(5)
    talk.flush()
    assert talk.finals == []
    talk.answer()
    assert talk.texts() == [words(1, 5)]


def test_a_flush_waits_for_the_decode_that_covers_it_instead_of_asking_again() -> None:
    talk = Talk(decode_ms=150)
    talk.start()
    talk.say(5)
    talk.silence(100)
    decoded = len(talk.decodes)
    assert talk.in_flight is not None
    talk.flush(back_ms=100)
    assert len(talk.decodes) == decoded
    talk.settle()
    assert talk.texts() == [words(1, 5)]


def test_a_decode_that_misses_the_last_words_is_replaced_and_its_answer_ignored() -> None:
    talk = Talk(decode_ms=5_000)
    talk.start()
    talk.say(2)
    assert talk.in_flight is not None
    early = talk.in_flight[1]
    talk.say(3)
    talk.flush()
    assert talk.decodes[-1].is_flush
    talk.do(talk.session.on_recognised(early, read_words(early.pcm), 10, talk.now_ms))
    assert talk.finals == []
    talk.answer()
    assert talk.texts() == [words(1, 5)]


def test_a_flush_waits_for_audio_on_its_way_but_not_for_ever() -> None:
    talk = Talk()
    talk.start()
    talk.say(1)
    talk.do(talk.session.on_flush(1, talk.at + 1600, talk.now_ms))
    assert talk.decodes == []
    talk.do(talk.session.on_tick(talk.now_ms + 59))
    assert talk.decodes == []
    talk.do(talk.session.on_tick(talk.now_ms + 60))
    assert talk.decodes[-1].is_flush


def test_audio_on_its_way_completes_the_flush() -> None:
    talk = Talk()
    talk.start()
    talk.say(1)
    talk.do(talk.session.on_flush(1, talk.at + 640, talk.now_ms))
    talk.frame(is_speech=True)
    assert talk.decodes == []
    talk.frame(is_speech=True)
    assert talk.decodes[-1].is_flush


def test_a_caller_who_goes_on_after_an_eager_flush_is_heard_as_one_turn() -> None:
    talk = Talk()
    talk.start()
    talk.say(4)
    talk.silence(200)
    talk.flush(back_ms=200)
    talk.silence(300)
    talk.start(back_ms=100)
    talk.say(3)
    talk.silence(200)
    talk.flush(back_ms=200)
    talk.settle()
    assert talk.texts() == [words(1, 4), words(1, 7)]


def test_a_flush_that_was_not_answered_is_void_when_the_caller_goes_on() -> None:
    talk = Talk(decode_ms=500)
    talk.start()
    talk.say(4)
    talk.flush()
    talk.start()
    talk.settle()
    assert talk.finals == []
    talk.say(2)
    talk.flush()
    talk.settle()
    assert talk.texts() == [words(1, 6)]


def test_a_long_pause_between_two_stretches_is_not_decoded() -> None:
    talk = Talk()
    talk.start()
    talk.say(4)
    talk.silence(200)
    talk.flush(back_ms=200)
    talk.silence(5_000)
    talk.start(back_ms=300)
    talk.say(3)
    talk.flush()
    talk.settle()
    assert talk.texts()[-1] == words(1, 7)
    assert len(talk.decodes[-1].pcm) < 3.0 * SAMPLE_RATE


def test_a_flush_may_be_repeated_and_costs_nothing() -> None:
    talk = Talk()
    talk.start()
    talk.say(4)
    talk.flush()
    talk.answer()
    decoded = len(talk.decodes)
    talk.silence(300)
    talk.flush(back_ms=300)
    assert talk.texts() == [words(1, 4)] * 2
    assert len(talk.decodes) == decoded


def test_a_new_turn_begins_with_nothing() -> None:
    talk = Talk()
    talk.start(turn=1)
    talk.say(4)
    talk.flush(turn=1)
    talk.answer()
    talk.silence(1_000)
    talk.start(turn=2)
    talk.say(2)
    talk.flush(turn=2)
    talk.answer()
    assert talk.texts() == [words(1, 4), words(5, 6)]


def test_an_interruption_is_the_beginning_of_the_turn_it_becomes() -> None:
    talk = Talk()
    talk.start(turn=1)
    talk.say(3)
    talk.flush(turn=2)
    talk.answer()
    assert talk.texts() == [words(1, 3)]


def test_a_reset_forgets_the_turn_and_the_decode_in_progress() -> None:
    talk = Talk(decode_ms=1_500)
    talk.start()
    talk.say(4)
    talk.do(talk.session.on_reset())
    talk.settle()
    talk.silence(1_000)
    assert talk.partials == []
    talk.start(turn=1)
    talk.say(2)
    talk.flush(turn=1)
    talk.settle()
    assert talk.texts() == [words(5, 6)]


def test_speech_that_was_said_before_the_mark_came_is_heard() -> None:
    talk = Talk()
    talk.silence(500)
    talk.say(2)
    talk.start(back_ms=600)
    talk.say(1)
    talk.flush()
    talk.answer()
    assert talk.texts() == [words(1, 3)]


def test_a_flush_without_speech_is_answered_with_nothing() -> None:
    talk = Talk()
    talk.silence(1_000)
    talk.flush()
    assert talk.texts() == [""]
    assert talk.decodes == []


def test_an_engine_that_fails_leaves_the_words_that_are_known() -> None:
    talk = Talk()
    talk.start()
    talk.say(4)
    talk.silence(40)
    talk.say(2)
    talk.flush()
    known = talk.partials[-1]
    assert known.unstable
    assert talk.in_flight is not None
    talk.do(talk.session.on_failed(talk.in_flight[1]))
    assert talk.texts() == [f"{known.stable} {known.unstable}".strip()]


def test_a_slow_engine_is_asked_less_often() -> None:
    talk = Talk(decode_ms=300)
    talk.start()
    talk.say(20)
    assert len(talk.decodes) <= 6_000 / (300 / StreamPolicy().max_load) + 1


def test_without_flags_of_vad_partials_come_by_time_and_the_flush_is_right() -> None:
    talk = Talk()
    talk.start()
    for number in (1, 2, 3, 4):
        for i in range(15):
            talk.frame(number if i < 12 else 0, is_speech=False)
    assert len(talk.decodes) == 3
    talk.flush()
    talk.settle()
    assert talk.texts() == [words(1, 4)]


def test_long_speech_is_committed_piece_by_piece_and_nothing_is_lost_or_doubled() -> None:
    talk = Talk()
    talk.start()
    talk.say(150)  # 45 s
    talk.silence(200)
    talk.flush(back_ms=200)
    talk.settle()
    assert talk.texts() == [words(1, 150)]
    assert max(len(d.pcm) for d in talk.decodes) <= 12.5 * SAMPLE_RATE
    assert sum(d.is_commit for d in talk.decodes) >= 3
    assert talk.partials[-1].stable.split()[:100] == words(1, 100).split()


def test_long_speech_that_could_not_be_decoded_meanwhile_is_bounded_too() -> None:
    talk = Talk(decode_ms=60_000)
    talk.start()
    talk.say(100)  # 30 s behind a busy engine
    talk.flush()
    talk.decode_ms = 50
    while talk.in_flight is not None:
        talk.answer()
    assert talk.texts() == [words(1, 100)]
    assert max(len(d.pcm) for d in talk.decodes) <= 18.5 * SAMPLE_RATE


steps = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 8)),
        st.tuples(st.just("silence"), st.integers(1, 40)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("start"), st.just(0)),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(steps, st.sampled_from([10.0, 80.0, 300.0]), st.booleans())
def test_whatever_happens_stable_words_only_grow_and_no_word_is_lost(
    script: list[tuple[str, int]], decode_ms: float, is_short_window: bool
) -> None:
    talk = Talk(StreamPolicy(max_window_s=2.0 if is_short_window else 12.0), decode_ms)
    talk.start()
    for step, count in script:
        if step == "say":
            if not talk.session.is_speaking:
                talk.start()
            talk.say(count)
        elif step == "silence":
            talk.silence(count * 20)
        elif step == "flush":
            talk.flush()
        else:
            talk.start()
    talk.silence(100)
    talk.flush(back_ms=100)
    talk.settle()
    stable: list[str] = []
    for partial in talk.partials:
        now = partial.stable.split()
        assert now[: len(stable)] == stable
        stable = now
    final = talk.texts()[-1].split()
    assert final[: len(stable)] == stable
    assert final == words(1, talk.spoken).split()
