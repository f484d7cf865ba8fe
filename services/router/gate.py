"""The commit gate: drafts before it, the answer behind it. No I/O.

While the caller pauses, an answer may be asked for that nobody hears: a *draft*. It has the numbers of the commit that
may adopt it. A caller who goes on, a dialogue that takes its draft back, or other words make it void; what is asked for
after that has a higher revision. At most one generation is alive at any moment: a draft or an answer.
"""

from dataclasses import replace

from halfbeat.clock import NS_PER_MS
from services.router import floor_events as fe
from services.router.detector import TurnEnd
from services.router.echo_guard import EchoGuard
from services.router.edge import CallerCaption, EdgeFormat, SpeechStopped, TurnCommitted
from services.router.endpoint import ms_of
from services.router.overlap import Overlap
from services.router.silent_caller import SilentCaller
from services.router.turn_state import Answer, Draft, Utterance

#: How far the wall clock may run ahead of the caller's audio as silence: two frames, and how late they may come.
_AHEAD_MS = 60


class Gate:
    """State of the floor, and how a turn gets through to an answer; `services.router.listening` says when it does."""

    def __init__(self, settings: fe.FloorSettings, turn_end: TurnEnd, fmt: EdgeFormat, now_ns: int) -> None:
        self._settings, self._turn_end, self._format = settings, turn_end, fmt
        self.epoch = 0
        self.turn = 0
        self.utterance: Utterance | None = None
        self.answer: Answer | None = None
        self.is_ended = False
        self._began_ns = self._active_ns = self._audio_ns = now_ns
        self._now = now_ns
        self._end_samples = 0
        self._voice = 0.0
        self._silent_caller = SilentCaller(settings.silence_prompt_s)
        # The agent was heard in this call.
        self._has_sounded = False
        # The last that it was heard to say was a question.
        self._is_asked = False
        self._echo_guard = EchoGuard(settings.overlap.guard_ms, settings.overlap.echo_limit_ms)
        self._overlap = Overlap(settings.overlap, self._echo_guard)
        # Number of a dropped utterance, to be used again with a higher revision.
        self._spare: tuple[int, int] | None = None
        self._is_farewell = self._is_holding = self._is_deaf = False
        # What has to wait until no answer is alive: a newer commit would end it.
        self._later_commits: list[fe.Commit] = []
        self._later_texts: list[str] = []
        self._later_request: str | None = None
        # A turn and how many drafts it had.
        self._drafts = (0, 0)
        self._out: list[fe.FloorOutput] = []

    @property
    def due_ns(self) -> int | None:
        """When to tick, because the caller's speech has paused or the turn is over by then; None: audio comes first."""
        utterance = self.utterance
        if utterance is None:
            return None
        due_ns = utterance.pauses_ns if utterance.is_speaking else utterance.due_ns
        # What was foreseen may have come, or an overlap may be judged otherwise since: a passed moment is none.
        return due_ns if due_ns is not None and due_ns > self._now else None

    @property
    def _takes_turns(self) -> bool:
        return self._format.has_turn_detection

    def _silence_ms(self, utterance: Utterance) -> int:
        """Silence since the last voiced sample, by the wall clock as far as the audio bears it out.

        Audio comes in pieces, so the clock may run a little ahead of it, or on alone when none comes any more.
        """
        silence_ms = ms_of(max(0, self._end_samples - utterance.last_voiced_samples))
        ahead_ms = (self._now - self._audio_ns) // NS_PER_MS
        if ahead_ms < self._turn_end.settings.audio_gap_ms:
            ahead_ms = min(ahead_ms, _AHEAD_MS)
        return silence_ms + ahead_ms

    def _soon_ns(self, in_ms: int) -> int | None:
        """Returns the moment in so many ms; None when it has come, or more audio comes before it."""
        ahead_ms = (self._now - self._audio_ns) // NS_PER_MS
        return self._now + in_ms * NS_PER_MS if 0 < in_ms <= _AHEAD_MS - ahead_ms else None

    def _announce(self, utterance: Utterance, kind: str, cause: str = "") -> None:
        self._out.append(
            fe.Announce(
                kind,
                utterance.turn,
                utterance.revision,
                utterance.last_voiced_samples,
                self._silence_ms(utterance),
                utterance.probability,
                cause,
            )
        )

    # --- before the gate --------------------------------------------------------------------------------------------

    def _consider_draft(self, utterance: Utterance) -> None:
        """The words of a pause are there and the turn is not over yet: is an answer to them worth asking for?"""
        settings = self._settings
        is_wanted = settings.speculates and self._format.creates_response and self._takes_turns
        is_ready = utterance.final is not None and utterance.text and not utterance.is_speaking
        is_free = self.answer is None and not self._later_commits
        is_plausible = utterance.probability is None or utterance.probability >= settings.draft_probability
        if not (is_wanted and is_ready and is_free and is_plausible) or utterance.is_wait:
            return
        drafts = self._drafts_in(utterance.turn)
        if utterance.draft is not None or drafts >= settings.max_drafts:
            return
        draft = utterance.draft = Draft(self.epoch, utterance.turn, utterance.revision, utterance.text)
        self._drafts = (utterance.turn, drafts + 1)
        self._out.append(
            fe.Draft(draft.turn, draft.revision, draft.epoch, draft.transcript, utterance.last_voiced_samples)
        )

    def _drafts_in(self, turn: int) -> int:
        return self._drafts[1] if self._drafts[0] == turn else 0

    def _drop_draft(self, utterance: Utterance, reason: str) -> None:
        """Voids the draft, if one lives. Its numbers stay used: the utterance needs a higher revision from now on."""
        draft = utterance.draft
        if draft is not None and draft.is_usable:
            draft.is_usable = False
            self._out.append(fe.DropDraft(draft.turn, draft.revision, reason))

    def _take_back(self, utterance: Utterance) -> None:
        """The utterance ends without a commit: whoever works on its draft must be told."""
        if utterance.draft is not None:
            self._drop_draft(utterance, "cleared")
            utterance.revision += 1
            self._announce(utterance, "resumed")
        self._tell_stopped(utterance)

    def _on_draft_voided(self, event: fe.DraftVoided) -> None:
        utterance = self.utterance
        draft = None if utterance is None else utterance.draft
        if utterance is None or draft is None or not draft.is_of(event.epoch, event.turn, event.revision):
            self._out.append(fe.Discard("stale_void"))
            return
        self._drop_draft(utterance, "voided")

    # --- through the gate -------------------------------------------------------------------------------------------

    def _commit(self, utterance: Utterance, text: str, cause: str) -> None:
        """The turn is over. There is one answer at a time: while one lives, words only enter the history."""
        self.utterance = None
        if text:
            self._silent_caller.spoke()
            self._overlap.learn(utterance.peak_dbfs)
        # Who never pauses is answered all the same, and then not heard until he does.
        self._is_deaf = utterance.is_speaking
        wants_answer = utterance.is_answer_requested or (self._format.creates_response and self._takes_turns)
        has_answer = wants_answer and self.answer is None
        draft = utterance.draft
        is_adopted = draft is not None and draft.fits(text) and has_answer and not utterance.instructions
        if draft is not None and not is_adopted:
            self._drop_draft(utterance, "differs" if has_answer else "cleared")
            utterance.revision += 1
        self._announce(utterance, "committed", cause)
        self._tell_stopped(utterance)
        self._out.append(fe.Tell(CallerCaption(utterance.turn, text, is_final=True)))
        self._out.append(fe.Tell(TurnCommitted(utterance.turn, text)))
        self._open_gate(
            fe.Commit(
                utterance.turn,
                utterance.revision,
                self.epoch,
                text,
                wants_answer=has_answer,
                is_prompted=has_answer and not text,
                prompt_cause="client" if has_answer and not text else "",
                instructions=utterance.instructions,
                speech_end_samples=utterance.last_voiced_samples,
                decided_ns=utterance.decided_ns or self._now,
                adopts_draft=is_adopted,
                drafts=self._drafts_in(utterance.turn),
                has_final=utterance.final is not None,
            ),
            start_samples=utterance.start_samples,
            draft=draft if is_adopted else None,
        )
        if not has_answer:
            self._out.append(fe.Recognise("reset", utterance.turn, utterance.revision))

    def _tell_stopped(self, utterance: Utterance) -> None:
        """A client is told once a turn that its caller stopped to speak: when that is certain."""
        if utterance.is_told:
            utterance.is_told = False
            self._out.append(fe.Tell(SpeechStopped(utterance.turn, ms_of(utterance.last_voiced_samples))))

    def _open_gate(self, commit: fe.Commit, start_samples: int | None = None, draft: Draft | None = None) -> None:
        self._is_farewell = self._is_asked = False
        self._active_ns = self._now
        if self.answer is not None:
            self._later_commits.append(commit)
            return
        self._commit_later_ones()
        self._out.append(commit)
        if commit.wants_answer:
            self.answer = Answer(
                commit.turn,
                commit.revision,
                commit.epoch,
                self._now,
                self._now,
                start_samples=start_samples,
                last_voiced_samples=commit.speech_end_samples,
                transcript=commit.transcript,
                clauses=draft.clauses if draft is not None else 0,
                asks=draft is not None and draft.asks,
            )

    def _commit_later_ones(self) -> None:
        """No answer is alive any more: hand over the words that waited for that."""
        self._out += [replace(commit, epoch=self.epoch) for commit in self._later_commits]
        self._later_commits.clear()

    def _close(self, answer: Answer, end: str) -> None:
        ended = answer.ended
        tokens = (ended.prompt_tokens, ended.completion_tokens) if ended is not None else (0, 0)
        self._out.append(fe.CloseAnswer(answer.turn, end, *tokens))
