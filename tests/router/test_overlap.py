"""What a sound of the caller over the agent means, and how the agent yields to it."""

import pytest
from floor_driver import Driver, Patience, commands, of

from services.router import edge
from services.router import floor_events as fe
from services.router.backchannel import is_backchannel, may_become_backchannel
from services.router.echo_guard import EchoGuard
from services.router.overlap import Meaning, OverlapSettings, Sound, judge

SETTINGS = OverlapSettings()
MEANT, OPEN, NOT_MEANT = Meaning.MEANT, Meaning.OPEN, Meaning.NOT_MEANT


@pytest.mark.parametrize(
    ("sound", "meaning"),
    [
        # Voice without words yet: long enough is meant, short and over is not.
        (Sound(320, 0, 0.95, ""), OPEN),
        (Sound(704, 0, 0.95, ""), OPEN),
        (Sound(736, 0, 0.95, ""), MEANT),
        (Sound(320, 96, 0.95, ""), OPEN),
        (Sound(320, 384, 0.95, ""), OPEN),
        (Sound(320, 400, 0.95, ""), NOT_MEANT),
        (Sound(320, 96, 0.95, "", is_final=True), OPEN),
        (Sound(320, 400, 0.95, "", is_final=True), NOT_MEANT),
        # The detector is not sure that it is voice: a cough, a noise.
        (Sound(640, 0, 0.55, ""), OPEN),
        (Sound(1984, 0, 0.55, ""), OPEN),
        (Sound(2016, 0, 0.55, ""), MEANT),
        (Sound(320, 96, 0.55, ""), NOT_MEANT),
        (Sound(320, 32, 0.55, "", is_final=True), NOT_MEANT),
        # A listener.
        (Sound(320, 0, 0.95, "Mm-hm."), OPEN),
        (Sound(320, 64, 0.95, "Mm-hm."), NOT_MEANT),
        (Sound(600, 64, 0.95, "Yeah, okay."), NOT_MEANT),
        (Sound(896, 0, 0.95, "okay okay"), OPEN),
        (Sound(928, 0, 0.95, "okay okay"), MEANT),
        # Words.
        (Sound(160, 0, 0.95, "no"), OPEN),
        (Sound(288, 0, 0.95, "no"), MEANT),
        (Sound(160, 0, 0.95, "no wait"), MEANT),
        (Sound(160, 200, 0.95, "Stop!", is_final=True), MEANT),
        (Sound(160, 600, 0.95, "stop"), OPEN),
        (Sound(160, 0, 0.95, "yeah but"), MEANT),
        # The beginning of a listener's word, or of another.
        (Sound(480, 0, 0.95, "uh-"), OPEN),
        (Sound(480, 0, 0.95, "I"), OPEN),
        (Sound(480, 64, 0.95, "I"), OPEN),
        (Sound(480, 400, 0.95, "okay I"), NOT_MEANT),
        (Sound(480, 352, 0.95, "I", is_final=True), MEANT),
        (Sound(736, 0, 0.95, "okay so"), MEANT),
        # Fainter than the caller speaks to the agent: to somebody else in the room.
        (Sound(800, 0, 0.95, "not now", is_faint=True), OPEN),
        (Sound(800, 96, 0.95, "Not now.", is_final=True, is_faint=True), OPEN),
        (Sound(800, 400, 0.95, "Not now.", is_final=True, is_faint=True), NOT_MEANT),
        (Sound(2400, 0, 0.95, "not now", is_faint=True), MEANT),
        # It began while echo was likely: only length counts.
        (Sound(320, 0, 0.95, "the truck comes", is_guarded=True), OPEN),
        (Sound(320, 400, 0.95, "the truck", is_guarded=True), NOT_MEANT),
        (Sound(320, 200, 0.95, "Stop!", is_final=True, is_guarded=True), MEANT),
        (Sound(512, 0, 0.95, "the truck comes", is_guarded=True), MEANT),
        (Sound(900, 0, 0.95, "the truck comes", is_final=True, is_guarded=True, is_unclear=True), OPEN),
        (Sound(900, 400, 0.95, "the truck comes", is_guarded=True, is_unclear=True), NOT_MEANT),
        (Sound(1850, 0, 0.95, "No, listen to me", is_guarded=True, is_unclear=True), MEANT),
        (Sound(320, 200, 0.95, "Stop!", is_final=True, is_unclear=True), MEANT),
    ],
)
def test_a_sound_is_judged_by_its_length_its_words_and_how_sure_it_is_voice(sound: Sound, meaning: Meaning) -> None:
    assert judge(sound, SETTINGS, "en") is meaning


@pytest.mark.parametrize("text", ["Mm-hm.", "Uh huh.", "I see.", "Okay, got it.", "Yeah, yeah.", "All right, sure."])
def test_what_a_listener_utters_is_backchannel(text: str) -> None:
    assert is_backchannel(text)


@pytest.mark.parametrize("text", ["", "No.", "Wait.", "Stop!", "Yeah but", "I see a truck", "okay okay okay okay okay"])
def test_what_takes_the_floor_is_not(text: str) -> None:
    assert not is_backchannel(text)


@pytest.mark.parametrize("text", ["uh-", "I", "I se", "okay g", "all", "sou"])
def test_the_beginning_of_such_words_may_become_backchannel(text: str) -> None:
    assert may_become_backchannel(text)


@pytest.mark.parametrize("text", ["", "no", "stop", "I want", "yeah but"])
def test_the_beginning_of_other_words_does_not(text: str) -> None:
    assert not may_become_backchannel(text)


def test_a_language_without_a_list_has_no_backchannel() -> None:
    assert not is_backchannel("Mm-hm.", "xx")
    assert is_backchannel("Mm-hm.", "en-GB")


def test_a_timer_ends_the_echo_guard() -> None:
    guard = EchoGuard(400, 3000)
    assert guard.is_on(0)
    assert guard.is_on(399)
    assert not guard.is_on(400)


def test_where_echo_is_measured_the_guard_ends_when_it_is_gone_and_after_a_while_in_any_case() -> None:
    guard = EchoGuard(400, 3000, is_clear=False)
    assert guard.is_on(2999)
    assert not guard.is_on(3000)
    guard.is_clear = True
    assert not guard.is_on(0)


# --- the floor ------------------------------------------------------------------------------------------------------


def made(fmt: edge.EdgeFormat | None = None) -> Driver:
    """A floor on which a turn ends after 200 ms of silence."""
    return Driver(fmt=fmt or edge.EdgeFormat(), turn_end=Patience(200))


@pytest.fixture
def call() -> Driver:
    driver = made()
    driver.speaks()
    driver.said.clear()
    return driver


def levels(outputs: list[fe.FloorOutput]) -> list[str]:
    return [type(o).__name__ for o in outputs if isinstance(o, fe.Duck | fe.Mute | fe.Unduck)]


def test_the_first_window_with_voice_ducks_and_voice_that_goes_on_mutes(call: Driver) -> None:
    assert levels(call.voice(32)) == ["Duck"]
    assert levels(call.voice(64)) == []
    assert levels(call.voice(32)) == ["Mute"]


def test_a_click_ducks_for_a_moment_and_is_no_speech(call: Driver) -> None:
    assert levels(call.voice(32)) == ["Duck"]
    outputs = call.quiet(96)
    assert levels(outputs) == ["Unduck"]
    assert commands(outputs) == []


def test_a_cough_resumes_within_150_ms_without_asking_for_words(call: Driver) -> None:
    assert levels(call.noise(256)) == ["Duck", "Mute"]
    assert levels(call.quiet(150)) == ["Unduck"]
    assert of(call.quiet(2000), fe.CutPlayout) == []


def test_what_may_be_noise_is_muted_later_than_a_voice(call: Driver) -> None:
    assert levels(call.noise(160)) == ["Duck"]
    assert levels(call.noise(96)) == ["Mute"]


def test_a_backchannel_resumes_as_soon_as_it_is_known_and_over(call: Driver) -> None:
    call.voice(320)
    assert levels(call.words("mm-hm", is_final=False)) == []
    assert levels(call.quiet(96)) == ["Unduck"]
    assert call.all(fe.CutPlayout) == []
    assert of(call.said, edge.SpeechStarted) == []


def test_a_backchannel_whose_words_come_late_resumes_all_the_same(call: Driver) -> None:
    call.voice(320)
    assert levels(call.quiet(416)) == ["Unduck"]
    assert call.all(fe.CutPlayout) == []


def test_a_stop_that_was_not_understood_keeps_the_agent_silent_up_to_the_next_word(call: Driver) -> None:
    call.voice(320)
    call.quiet(160)
    call.words("")
    call.quiet(160)
    call.voice(160)
    assert levels(call.said) == ["Duck", "Mute"]
    assert len(of(call.words("That's not what", is_final=False), fe.CutPlayout)) == 1


def test_words_that_come_after_the_agent_went_on_still_stop_it(call: Driver) -> None:
    call.voice(256)
    call.quiet(416)
    assert levels(call.said) == ["Duck", "Mute", "Unduck"]
    assert len(of(call.words("Stop!"), fe.CutPlayout)) == 1


def test_two_backchannels_do_not_add_up_to_a_barge_in(call: Driver) -> None:
    for _ in range(3):
        call.voice(416)
        call.words("mm-hm", is_final=False)
        call.quiet(128)
        call.words("mm-hm")
        call.quiet(256)
    assert levels(call.said) == ["Duck", "Mute", "Unduck"] * 3
    assert call.all(fe.CutPlayout) == []


def test_a_barge_in_tells_the_edge_of_the_speech_before_the_answer_is_over(call: Driver) -> None:
    call.voice(320)
    outputs = call.words("no wait", is_final=False)
    kinds = [type(o.event if isinstance(o, fe.Tell) else o).__name__ for o in outputs]
    order = ["SpeechStarted", "CutPlayout", "AdvanceEpoch", "CloseAnswer"]
    assert [kind for kind in kinds if kind in order] == order


def test_a_barge_in_is_measured_from_the_voice_that_made_it(call: Driver) -> None:
    call.voice(320)
    call.words("mm-hm", is_final=False)
    call.quiet(416)
    began = call.samples
    call.voice(320)
    (cut,) = of(call.words("mm-hm no wait", is_final=False), fe.CutPlayout)
    assert cut.voice_samples == began


def test_without_a_decision_the_agent_goes_on_at_a_wall_clock_limit(call: Driver) -> None:
    call.voice(160)
    call.words("stop", is_final=False)  # and the recogniser never says more
    assert levels(call.quiet(SETTINGS.limit_ms - 320)) == []
    assert levels(call.quiet(320)) == ["Unduck"]
    assert call.all(fe.CutPlayout) == []


def test_noise_that_never_ends_is_decided_too(call: Driver) -> None:
    call.noise(SETTINGS.noise_ms + 64)
    assert len(call.all(fe.CutPlayout)) == 1


def test_nothing_is_ducked_while_echo_is_likely_and_a_long_voice_is_meant_all_the_same() -> None:
    call = made()
    call.turn()
    call.answer()
    assert levels(call.voice(384)) == []
    assert levels(call.voice(32)) == ["Duck"] or call.all(fe.Mute)
    call.words("no", is_final=False)
    assert call.all(fe.CutPlayout) == []
    call.voice(128)
    assert len(call.all(fe.CutPlayout)) == 1


def test_a_client_that_does_not_want_to_be_interrupted_is_not_ducked() -> None:
    call = made(fmt=edge.EdgeFormat(interrupts_response=False))
    call.speaks()
    call.voice(800)
    assert levels(call.said) == []


def test_an_agent_that_does_not_sound_is_held_not_ducked() -> None:
    call = made()
    call.turn()
    outputs = call.voice(96)
    assert of(outputs, fe.HoldPlayout)
    assert levels(outputs) == []


def test_a_reopened_turn_is_no_barge_in() -> None:
    call = made()
    call.turn("I want a truck")
    assert [o.cause for o in of(call.voice(320), fe.AdvanceEpoch)] == ["resumed"]


def test_the_filler_and_the_greeting_yield_as_any_answer_does() -> None:
    call = made()
    call.feed(fe.CallBegan(has_opening=True))
    call.answer()
    call.quiet(416)
    call.voice(160)
    assert levels(call.said) == ["Duck", "Mute"]
    assert len(of(call.words("It is about my bins", is_final=False), fe.CutPlayout)) == 1


def test_side_talk_silences_the_agent_only_while_it_lasts(call: Driver) -> None:
    call.faint(640)
    call.words("honey close the", is_final=False)
    call.faint(320)
    call.quiet(160)
    call.words("Honey, close the door.")
    call.quiet(320)
    assert levels(call.said) == ["Duck", "Mute", "Unduck"]
    assert call.all(fe.CutPlayout) == []


def test_a_caller_who_always_speaks_softly_is_not_taken_for_somebody_else() -> None:
    call = made()
    call.faint(800)
    call.quiet(192)
    call.words("Book a truck.")
    call.quiet(64)
    call.answer()
    call.quiet(416)
    call.faint(320)
    assert len(of(call.words("no stop", is_final=False), fe.CutPlayout)) == 1


def test_audio_that_stops_coming_lets_the_agent_go_on(call: Driver) -> None:
    call.voice(32)
    assert levels(call.wait(800)) == ["Unduck"]
    call.voice(160)
    assert levels(call.wait(1200)) == ["Unduck"]


def test_taking_the_turn_back_lets_the_agent_go_on(call: Driver) -> None:
    call.voice(160)
    assert levels(call.feed(fe.InputCleared())) == ["Unduck"]


def test_the_next_answer_begins_unducked(call: Driver) -> None:
    call.voice(160)
    call.words("no stop", is_final=False)
    call.quiet(400)
    call.words("No, stop.")
    call.quiet(1600)
    call.said.clear()
    call.answer()
    call.quiet(450)
    assert levels(call.voice(32)) == ["Duck"]


def test_echo_that_is_not_gone_yet_neither_ducks_nor_stops_the_agent_whatever_its_words() -> None:
    call = made()
    call.feed(fe.EchoMeasured(False))
    call.speaks()
    call.said.clear()
    assert levels(call.voice(800)) == []
    call.quiet(128)
    assert of(call.words("are you reporting"), fe.CutPlayout) == []
    assert of(call.quiet(1500), fe.CutPlayout) == []


def test_echo_that_began_before_it_was_gone_does_not_stop_the_agent_when_it_is() -> None:
    call = made()
    call.feed(fe.EchoMeasured(False))
    call.speaks()
    call.said.clear()
    call.voice(1200)
    call.feed(fe.EchoMeasured(True))
    call.voice(96)
    call.quiet(1500)
    assert call.all(fe.CutPlayout) == []


def test_a_caller_can_stop_an_agent_whose_echo_is_gone_at_once() -> None:
    call = made()
    call.feed(fe.EchoMeasured(False))
    call.speaks()
    call.feed(fe.EchoMeasured(True))
    call.said.clear()
    assert levels(call.voice(320)) == ["Duck", "Mute"]
    call.quiet(128)
    assert len(of(call.words("Stop!"), fe.CutPlayout)) == 1
