"""Answers drafted in a pause: asked for once, void when the caller goes on, adopted only if nothing changed."""

import pytest
from floor_driver import QUIET, Driver, Patience, commands, of

from services.router import edge
from services.router import floor_events as fe
from services.router.endpoint import EndpointSettings


def patient(**settings: object) -> Driver:
    """A floor on which a draft has time to live: turns end after 600 ms of silence."""
    return Driver(settings=fe.FloorSettings(**settings), turn_end=Patience(600))  # type: ignore[arg-type]


@pytest.fixture
def call() -> Driver:
    return patient()


def pause(call: Driver, text: str = "Book a truck.", probability: float | None = 0.9) -> list[fe.FloorOutput]:
    """The caller speaks and pauses; words and opinion come."""
    outputs = call.voice(800) + call.quiet(160)
    outputs += call.judge(probability)
    return outputs + call.words(text)


def kinds(outputs: list[fe.FloorOutput]) -> list[str]:
    return [o.kind for o in of(outputs, fe.Announce)]


def test_a_plausible_pause_with_words_asks_for_one_draft_under_the_turns_numbers(call: Driver) -> None:
    (draft,) = of(pause(call), fe.Draft)
    assert (draft.turn, draft.revision, draft.epoch, draft.transcript) == (1, 0, 0, "Book a truck.")
    assert draft.speech_end_samples == 800 * 16
    assert of(call.quiet(320), fe.Draft) == [], "one draft for one revision"


def test_the_commit_adopts_the_draft_and_the_answer_has_what_came_of_it(call: Driver) -> None:
    pause(call)
    call.feed(fe.ClauseArrived(0, 1, 0, 0))
    (commit,) = of(call.quiet(640), fe.Commit)
    assert (commit.turn, commit.revision, commit.adopts_draft, commit.drafts) == (1, 0, True, 1)
    assert not call.all(fe.DropDraft)
    assert call.floor.answer is not None
    assert call.floor.answer.clauses == 1
    assert of(call.feed(fe.ClauseArrived(0, 1, 0, 1)), fe.Discard) == [], "its later clauses are welcome"


def test_no_words_no_draft(call: Driver) -> None:
    call.voice(800)
    call.quiet(160)
    call.judge(0.9)
    call.words("Book a truck", is_final=False)
    assert of(call.quiet(320), fe.Draft) == []


def test_an_implausible_end_is_drafted_only_when_it_becomes_plausible() -> None:
    call = patient(draft_probability=0.6)
    outputs = pause(call, "Book a", 0.02)
    assert of(outputs, fe.Draft) == []
    assert len(of(call.judge(0.61), fe.Draft)) == 1


def test_a_caller_who_asks_for_time_gets_no_draft() -> None:
    patience = Patience(600)
    patience.is_wait = True
    assert of(pause(Driver(turn_end=patience), "Hold on, let me look."), fe.Draft) == []


def test_a_caller_who_goes_on_voids_the_draft_and_the_revision_grows(call: Driver) -> None:
    pause(call, "I want to")
    outputs = call.voice(160)
    (drop,) = of(outputs, fe.DropDraft)
    assert (drop.turn, drop.revision, drop.reason) == (1, 0, "resumed")
    (resumed,) = of(outputs, fe.Announce)
    assert (resumed.kind, resumed.turn, resumed.revision) == ("resumed", 1, 1)
    assert of(call.feed(fe.ClauseArrived(0, 1, 0, 0)), fe.Discard), "what still comes of it is stale"
    call.quiet(160)
    call.judge(0.9)
    outputs = call.words("I want to book a truck.")
    assert [(d.turn, d.revision) for d in of(outputs, fe.Draft)] == [(1, 1)]
    (commit,) = of(call.quiet(640), fe.Commit)
    assert (commit.revision, commit.adopts_draft, commit.drafts) == (1, True, 2)


def test_a_draft_that_dialogue_takes_back_is_not_adopted_and_its_numbers_are_not_used_again(call: Driver) -> None:
    pause(call)
    (drop,) = of(call.feed(fe.DraftVoided(0, 1, 0)), fe.DropDraft)
    assert drop.reason == "voided"
    (commit,) = of(call.quiet(640), fe.Commit)
    assert (commit.turn, commit.revision, commit.adopts_draft) == (1, 1, False)
    assert call.floor.answer is not None
    assert call.floor.answer.is_of(0, 1, 1)
    assert of(call.feed(fe.ClauseArrived(0, 1, 0, 0)), fe.Discard)


def test_dialogue_that_takes_a_draft_back_too_late_is_overruled(call: Driver) -> None:
    pause(call)
    call.quiet(640)
    outputs = call.feed(fe.DraftVoided(0, 1, 0))
    assert [o.reason for o in of(outputs, fe.Discard)] == ["stale_void"]
    assert call.floor.answer is not None


def test_taking_back_another_draft_changes_nothing(call: Driver) -> None:
    pause(call)
    assert of(call.feed(fe.DraftVoided(0, 1, 1)), fe.DropDraft) == []
    assert of(call.quiet(640), fe.Commit)[0].adopts_draft


def test_other_words_than_the_drafts_are_committed_under_a_revision_of_their_own(call: Driver) -> None:
    pause(call, "Book a truck.")
    assert call.floor.utterance is not None
    call.floor.utterance.final = "Book a duck."
    outputs = call.quiet(640)
    assert [d.reason for d in of(outputs, fe.DropDraft)] == ["differs"]
    (commit,) = of(outputs, fe.Commit)
    assert (commit.revision, commit.adopts_draft, commit.transcript) == (1, False, "Book a duck.")


def test_punctuation_case_and_spaces_make_no_other_words(call: Driver) -> None:
    pause(call, "Book a truck.")
    assert call.floor.utterance is not None
    call.floor.utterance.final = "book  a truck"
    (commit,) = of(call.quiet(640), fe.Commit)
    assert (commit.revision, commit.adopts_draft) == (0, True)


def test_drafts_in_one_turn_are_limited() -> None:
    call = patient(max_drafts=2)
    outputs = [o for _ in range(4) for o in pause(call, "and then")]
    assert [d.revision for d in of(outputs, fe.Draft)] == [0, 1]
    (commit,) = of(call.quiet(640), fe.Commit)
    assert (commit.adopts_draft, commit.drafts) == (False, 2)


def test_speculation_can_be_switched_off() -> None:
    call = patient(speculates=False)
    assert of(pause(call), fe.Draft) == []
    (commit,) = of(call.quiet(640), fe.Commit)
    assert (commit.adopts_draft, commit.drafts) == (False, 0)


def test_a_client_that_asks_for_its_answers_itself_gets_no_draft() -> None:
    call = Driver(fmt=edge.EdgeFormat(creates_response=False), turn_end=Patience(600))
    assert of(pause(call) + call.quiet(640), fe.Draft) == []


def test_no_draft_while_an_answer_is_alive() -> None:
    call = Driver(fmt=edge.EdgeFormat(interrupts_response=False), turn_end=Patience(600))
    pause(call)
    call.quiet(640)
    call.answer()
    assert of(pause(call, "And another thing."), fe.Draft) == []


@pytest.mark.parametrize("event", [fe.TextSent("Never mind."), fe.InputCleared(), fe.CallLost("caller")])
def test_whoever_works_on_a_draft_is_told_when_the_turn_is_taken_back(call: Driver, event: fe.FloorEvent) -> None:
    pause(call)
    outputs = call.feed(event)
    assert [(d.revision, d.reason) for d in of(outputs, fe.DropDraft)] == [(0, "cleared")]
    (resumed,) = of(outputs, fe.Announce)
    assert (resumed.kind, resumed.turn, resumed.revision) == ("resumed", 1, 1)


def test_a_turn_after_a_cleared_draft_has_numbers_of_its_own(call: Driver) -> None:
    pause(call)
    call.feed(fe.InputCleared())
    call.quiet(320)
    (draft,) = of(pause(call), fe.Draft)
    assert (draft.turn, draft.revision) > (1, 1)


def test_a_client_that_ends_the_turn_gets_the_draft_at_once(call: Driver) -> None:
    pause(call)
    (commit,) = of(call.feed(fe.InputCommitted(0, call.samples)), fe.Commit)
    assert commit.adopts_draft


def test_an_answer_with_instructions_is_none_that_was_drafted(call: Driver) -> None:
    call.voice(800)
    call.quiet(160)
    call.words("Book a truck.")
    assert call.all(fe.Draft)
    assert call.floor.utterance is not None
    call.floor.utterance.instructions = "Be brief."
    (commit,) = of(call.feed(fe.InputCommitted(0, call.samples)), fe.Commit)
    assert (commit.adopts_draft, commit.instructions, commit.revision) == (False, "Be brief.", 1)


def test_a_client_is_told_once_a_turn_that_speech_started_and_stopped(call: Driver) -> None:
    outputs = pause(call, "I want to") + pause(call, "I want to book") + pause(call, "I want to book a truck.")
    assert len(of(outputs, edge.SpeechStarted)) == 1
    assert of(outputs, edge.SpeechStopped) == []
    events = [o.event for o in call.quiet(640) if isinstance(o, fe.Tell)]
    stopped, caption, committed = events
    assert isinstance(stopped, edge.SpeechStopped)
    assert stopped.offset_ms == 2 * (800 + 160) + 800
    assert isinstance(caption, edge.CallerCaption)
    assert isinstance(committed, edge.TurnCommitted)


def test_a_client_is_told_that_noise_stopped(call: Driver) -> None:
    outputs = call.voice(300) + call.quiet(160) + call.words("") + call.quiet(400)
    assert [type(o.event) for o in outputs if isinstance(o, fe.Tell)] == [edge.SpeechStarted, edge.SpeechStopped]


def test_a_word_that_follows_a_sound_without_words_is_of_the_same_turn(call: Driver) -> None:
    call.voice(160)
    outputs = call.quiet(160) + call.words("") + call.voice(480)
    assert "reset" not in commands(outputs), "the recogniser must not forget the first word"
    assert call.floor.utterance is not None
    assert call.floor.utterance.start_samples == 0


def test_a_turn_ends_between_two_windows_of_audio() -> None:
    call = Driver(turn_end=Patience(500))
    pause(call)
    call.quiet(320)
    assert not call.all(fe.Commit), "480 ms of silence"
    due_ns = call.floor.due_ns
    assert due_ns == (call.now_ms + 20) * 1_000_000
    call.now_ms += 20
    (commit,) = of(call.feed(fe.Ticked()), fe.Commit)
    assert commit.decided_ns == due_ns


def test_audio_that_waited_to_be_worked_off_is_no_silence(call: Driver) -> None:
    pause(call)
    call.now_ms += 5000
    window = call.activity.push(0.01, QUIET, call.samples + 512)
    late = fe.VoiceWindow(window, ended_ns=(call.now_ms - 4968) * 1_000_000)
    assert of(call.feed(late), fe.Commit) == [], "it was quiet for 192 ms, whenever that was"


def test_a_pause_is_noticed_between_two_windows_of_audio(call: Driver) -> None:
    call.voice(800)
    assert commands(call.quiet(96)) == []
    due_ns = call.floor.due_ns
    assert due_ns == (call.now_ms + 24) * 1_000_000, "120 ms of silence by then"
    call.now_ms += 24
    assert commands(call.feed(fe.Ticked())) == ["flush"]
    call.now_ms -= 24
    assert commands(call.quiet(32)) == [], "and once"


def test_the_words_are_asked_for_before_the_audio_model_which_needs_to_hear_silence() -> None:
    call = Driver(settings=fe.FloorSettings(pause_ms=70), endpoint=EndpointSettings(ask_ms=150), turn_end=None)
    call.voice(800)
    call.quiet(64)
    call.now_ms += 6
    outputs = call.feed(fe.Ticked())
    assert commands(outputs) == ["flush"]
    call.now_ms -= 6
    assert of(outputs + call.quiet(64), fe.AskDetector) == []
    assert call.floor.due_ns == (call.now_ms + 22) * 1_000_000
    call.now_ms += 22
    assert len(of(call.feed(fe.Ticked()), fe.AskDetector)) == 1


def test_voice_that_comes_first_is_no_pause(call: Driver) -> None:
    call.voice(800)
    call.quiet(96)
    call.voice(32)
    assert call.floor.due_ns is None
    call.now_ms += 24
    assert commands(call.feed(fe.Ticked())) == []
