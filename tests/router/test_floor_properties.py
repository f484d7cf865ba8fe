"""What holds for the floor whatever happens, in any order."""

from typing import Any

import pytest
from floor_driver import Driver, of
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.router import edge
from services.router import floor_events as fe
from services.router.endpoint import EndpointSettings

#: What may happen next; the numbers say which of the known messages, or how long.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("voice", "voice", "quiet", "quiet", "words", "words", "backchannel", "noise", "partial", "judge"),
                *("clause", "done", "done", "hang_up_done", "began", "progress", "ended", "tool", "late", "wait"),
                *("draft_clause", "void", "sure", "turn", "turn"),
                *("text", "add", "request", "stop", "commit", "clear", "manual", "polite", "auto"),
            )
        ),
        st.integers(0, 30),
    ),
    max_size=60,
)
#: The same for a call in which pauses with words, and what becomes of their drafts, are most of what happens.
PAUSES = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("turn", "turn", "turn", "turn", "voice", "voice", "gap", "gap", "quiet", "words", "sure", "answer"),
                *("answer", "draft_clause", "void", "clear", "commit", "text", "add", "request", "stop", "clause"),
                *("late", "judge", "polite", "auto", "wait"),
            )
        ),
        st.integers(0, 30),
    ),
    min_size=8,
    max_size=60,
)
FORMATS = {
    "manual": edge.EdgeFormat(has_turn_detection=False, creates_response=False, interrupts_response=False),
    "polite": edge.EdgeFormat(interrupts_response=False),
    "auto": edge.EdgeFormat(),
}


class Run:
    """Applies steps to a floor and checks its promises after each."""

    def __init__(self, *, has_opening: bool = True, max_drafts: int = 4) -> None:
        # Hesitant, so that drafts live for a while.
        endpoint = EndpointSettings(threshold=0.97, sure_ms=400)
        self.call = Driver(settings=fe.FloorSettings(max_drafts=max_drafts), endpoint=endpoint)
        self.commits: list[fe.Commit] = []
        self.drafts: list[fe.Draft] = []
        self.draft: fe.Draft | None = None
        self.live: fe.Commit | None = None
        self.epoch = 0
        self.is_ended = False
        self.check(self.call.feed(fe.CallBegan(has_opening)))

    def step(self, what: str, n: int) -> None:
        call, floor = self.call, self.call.floor
        utterance, answer = floor.utterance, floor.answer
        key = (answer.epoch, answer.turn, answer.revision) if answer else (0, 0, 0)
        outputs: list[fe.FloorOutput] = []
        match what:
            case "voice":
                outputs = call.voice(32 + n * 32)
            case "quiet":
                outputs = call.quiet(32 + n * 64)
            case "wait":
                outputs = call.wait(100 + n * 1000)
            case "words" | "noise" | "backchannel" | "partial" if utterance is not None:
                text = {"words": "Take the bins.", "noise": "", "backchannel": "Mm-hm.", "partial": "Take"}[what]
                outputs = call.words(text, is_final=what != "partial")
            case "judge" if utterance is not None:
                outputs = call.judge(None if n == 0 else n / 30)
            case "clause":
                outputs = call.feed(fe.ClauseArrived(*key, n % 3))
            case "done" | "hang_up_done":
                outputs = call.feed(fe.AnswerEnded(*key, n % 3, what == "hang_up_done"))
            case "began" if answer is not None:
                outputs = call.feed(fe.PlayoutBegan(answer.turn))
            case "progress" | "ended":
                kind = fe.PlayoutProgressed if what == "progress" else fe.PlayoutEnded
                outputs = call.feed(kind(answer.turn if answer else n))
            case "turn":
                outputs = call.voice(320) + call.quiet(128)
                if floor.utterance is not None:
                    outputs += call.words("Take the bins.")
            case "gap":
                outputs = call.quiet(32)
            case "answer" if answer is not None:
                outputs = call.answer(n % 3)
                if floor.answer is not None and n % 2:
                    outputs += call.played_out()
            case "sure" if utterance is not None:
                outputs = call.judge(0.99)
            case "draft_clause" if self.drafts:
                old = self.drafts[-1 - n % min(3, len(self.drafts))]
                outputs = call.feed(fe.ClauseArrived(old.epoch, old.turn, old.revision, 0))
            case "void" if self.drafts:
                old = self.drafts[-1 - n % min(3, len(self.drafts))]
                outputs = call.feed(fe.DraftVoided(old.epoch, old.turn, old.revision))
            case "tool":
                outputs = call.feed(fe.ToolUsed(*key, is_client=n % 2 == 0))
            case "late" if self.commits:
                old = self.commits[n % len(self.commits)]
                outputs = call.feed(fe.ClauseArrived(old.epoch, old.turn, old.revision, 0))
                outputs += call.feed(fe.AnswerEnded(old.epoch, old.turn, old.revision, n % 2))
                outputs += call.feed(fe.TranscriptArrived(old.turn, old.revision, "late", is_final=True))
            case "text":
                outputs = call.feed(fe.TextSent("Hello."))
            case "add":
                outputs = call.feed(fe.TextAdded("[key 1]"))
            case "request":
                outputs = call.feed(fe.AnswerRequested())
            case "stop":
                outputs = call.feed(fe.StopRequested())
            case "commit":
                outputs = call.feed(fe.InputCommitted(0, call.samples))
            case "clear":
                outputs = call.feed(fe.InputCleared())
            case "manual" | "polite" | "auto":
                outputs = call.feed(fe.FormatChanged(FORMATS[what]))
        self.check(outputs)

    def check(self, outputs: list[fe.FloorOutput]) -> None:
        assert not (self.is_ended and outputs), "nothing follows the end of the call"
        for output in outputs:
            match output:
                case fe.Draft():
                    self._check_draft(output)
                case fe.DropDraft():
                    assert self.draft is not None, "only a live draft can be dropped"
                    assert (self.draft.turn, self.draft.revision) == (output.turn, output.revision)
                    self.draft = None
                case fe.Commit():
                    self._check_commit(output)
                case fe.AdvanceEpoch():
                    assert output.epoch == self.epoch + 1, "the epoch grows by one and never falls"
                    self.epoch = output.epoch
                case fe.CloseAnswer():
                    assert self.live is not None, "only a live answer can be closed"
                    assert self.live.turn == output.turn
                    self.live = None
                case fe.EndCall():
                    assert self.live is None, "every committed turn ends before the call does"
                    assert self.draft is None, "no draft outlives the call"
                    self.is_ended = True
        floor = self.call.floor
        assert floor.epoch == self.epoch
        assert (floor.answer is None) == (self.live is None)
        draft = None if floor.utterance is None else floor.utterance.draft
        assert (draft is not None and draft.is_usable) == (self.draft is not None)

    def _check_draft(self, draft: fe.Draft) -> None:
        assert self.live is None, "never a draft beside an answer"
        assert self.draft is None, "never two drafts"
        assert draft.epoch == self.epoch
        assert draft.transcript
        number = (draft.turn, draft.revision)
        assert all(number > (c.turn, c.revision) for c in (*self.commits, *self.drafts)), "numbers grow"
        in_turn = 1 + sum(d.turn == draft.turn for d in self.drafts)
        assert in_turn <= self.call.settings.max_drafts, "a caller who pauses often does not cost a draft each time"
        self.draft = draft
        self.drafts.append(draft)

    def _check_commit(self, commit: fe.Commit) -> None:
        assert self.live is None, "never two live answers, and no commit that would end one"
        assert commit.epoch == self.epoch
        number = (commit.turn, commit.revision)
        assert all(number > (c.turn, c.revision) for c in self.commits), "numbers grow"
        if commit.adopts_draft:
            assert self.draft is not None, "only a live draft can be adopted"
            assert number == (self.draft.turn, self.draft.revision)
            assert commit.wants_answer
            self.draft = None
        else:
            assert number not in [(d.turn, d.revision) for d in self.drafts], "a draft's numbers are its own"
            assert self.draft is None, "no draft lives on beside a commit"
        self.commits.append(commit)
        if commit.wants_answer:
            self.live = commit


@given(STEPS)
@example([("manual", 0), ("commit", 0), ("words", 0), ("text", 0)])
@example([("voice", 0), ("voice", 0), ("hang_up_done", 0), ("text", 0)])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_one_answer_at_a_time_growing_numbers_and_an_end_for_every_turn(steps: list[tuple[str, int]]) -> None:
    run = Run()
    for what, n in steps:
        run.step(what, n)
    if not run.is_ended:
        run.check(run.call.feed(fe.CallLost("caller")))
    assert run.is_ended
    assert run.live is None


@given(STEPS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_left_alone_every_call_comes_to_rest_and_ends(steps: list[tuple[str, int]]) -> None:
    run = Run()
    for what, n in steps:
        run.step(what, n)
    outputs: list[Any] = []
    for _ in range(260):  # asked twice and bid goodbye, none of which is answered, and then the last resort
        if run.is_ended:
            return
        waited = run.call.wait(1000)
        run.check(waited)
        outputs += waited
    # Without audio a manual client's utterance may stay open; a call that has none ends by itself.
    if run.call.floor.utterance is None:
        pytest.fail(f"still alive after 260 s: {of(outputs, fe.EndCall)}")


@given(PAUSES, st.integers(0, 4))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_one_generation_at_a_time_and_no_commit_uses_a_drafts_numbers_without_adopting_it(
    steps: list[tuple[str, int]], max_drafts: int
) -> None:
    run = Run(has_opening=False, max_drafts=max_drafts)
    for what, n in steps:
        run.step(what, n)
    if not run.is_ended:
        run.check(run.call.feed(fe.CallLost("caller")))
    assert run.is_ended
    assert run.draft is None
