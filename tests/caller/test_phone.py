import numpy as np
import pytest

from halfbeat.caller.phone import Line, Phone

RATE = 8000


def tone(ms: int, level: float = 0.3) -> np.ndarray:
    t = np.arange(RATE * ms // 1000)
    return (np.sin(t * 0.7) * level * 32767).astype(np.int16)


def run(phone: Phone, ms: int) -> None:
    for _ in range(ms // 20):
        phone.tick()


def test_voice_to_voice_is_the_distance_between_two_samples_of_the_recording() -> None:
    phone = Phone(RATE)
    phone.speak(Line("hello", np.concatenate([tone(400), np.zeros(RATE // 5, np.int16)])))
    run(phone, 1000)
    phone.receive(np.concatenate([np.zeros(80, np.int16), tone(200)]))  # 10 ms of silence first
    run(phone, 400)
    assert phone.v2v_ms(phone.said[0]) == pytest.approx(1000 + 10 - 400, abs=1)
    stereo = phone.stereo()
    assert np.abs(stereo[: RATE * 4 // 10, 0]).max() > 1000
    assert np.abs(stereo[:RATE, 1]).max() == 0


def test_an_answer_before_the_line_ended_is_a_cut_in_and_no_answer() -> None:
    phone = Phone(RATE)
    phone.speak(Line("my address is", tone(1000)))
    run(phone, 500)
    phone.receive(tone(300))
    run(phone, 1000)
    assert phone.said[0].cut_in
    assert phone.v2v_ms(phone.said[0]) is None


def test_the_caller_waits_until_the_agent_has_finished() -> None:
    phone = Phone(RATE, patience_ms=900)
    phone.receive(tone(500))
    run(phone, 500)
    assert not phone.is_my_turn
    run(phone, 800)
    assert not phone.is_my_turn
    run(phone, 120)
    assert phone.is_my_turn


def test_the_caller_gives_up_on_an_answer_that_never_comes() -> None:
    phone = Phone(RATE, give_up_ms=2000)
    phone.speak(Line("hello", tone(200)))
    run(phone, 2000)
    assert not phone.is_my_turn
    run(phone, 240)
    assert phone.is_my_turn


def test_a_mark_comes_back_only_after_the_audio_before_it_has_played() -> None:
    phone = Phone(RATE)
    phone.receive(tone(100))
    phone.receive_mark("m1")
    run(phone, 80)
    assert not phone.played_marks
    run(phone, 20)
    assert list(phone.played_marks) == ["m1"]


def test_clear_silences_at_once_and_returns_the_outstanding_marks() -> None:
    phone = Phone(RATE)
    phone.receive(tone(1000))
    phone.receive_mark("m1")
    run(phone, 100)
    phone.clear()
    assert list(phone.played_marks) == ["m1"]
    assert np.abs(phone.tick()).max() == 0
    assert np.abs(phone.agent[-1]).max() == 0
