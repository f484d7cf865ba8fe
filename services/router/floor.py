"""Who holds the floor: the one state machine of a call, without I/O. Time is an argument.

    caller silent ──voice──> utterance: speaking ──pause──> paused (eager endpoint) ──commit──> answer: awaited
                                  ^                           │                                    │  playout begins
                                  └──voice: revision + 1──────┘                                    v
    nobody <──playout ends────────────────────────────────────────────────────────── answer: sounding

At most one utterance (the caller's turn that is not committed) and at most one answer are alive. An utterance that
begins while an answer is alive is an *overlap*: it is judged, by length and words, to be a barge-in (the answer is cut,
epoch + 1) or a backchannel or noise (the utterance is dropped). A caller who goes on before the answer sounded reopens
the same turn with revision + 1 and epoch + 1.
"""

from halfbeat.clock import NS_PER_MS, NS_PER_S
from halfbeat.errors import HalfbeatError, InvalidRequest, TimedOut
from services.router import floor_events as fe
from services.router.edge import CallerCaption, Failed, TurnCommitted
from services.router.endpoint import ms_of
from services.router.listening import Listening
from services.router.turn_state import Answer, Utterance


class Floor(Listening):
    """Takes events, returns what is to be done, in order."""

    def on_event(self, event: fe.FloorEvent, now_ns: int) -> list[fe.FloorOutput]:
        """Takes one event. `now_ns` is monotonic and never falls."""
        if self.is_ended:
            return []
        self._now = now_ns
        match event:
            case fe.VoiceWindow(voice, ended_ns):
                self._on_voice(voice, now_ns if ended_ns is None else ended_ns)
            case fe.TranscriptArrived():
                self._on_transcript(event)
            case fe.TurnJudged():
                self._on_judged(event)
            case fe.ClauseArrived():
                self._on_clause(event)
            case fe.DraftVoided():
                self._on_draft_voided(event)
            case fe.AnswerEnded():
                self._on_answer_ended(event)
            case fe.ToolUsed():
                self._on_tool(event)
            case fe.PlayoutBegan() | fe.PlayoutProgressed() | fe.PlayoutEnded():
                self._on_playout(event)
            case fe.EchoMeasured(is_clear):
                self._echo_guard.is_clear = is_clear
            case fe.CallBegan(has_opening):
                if has_opening:
                    self._open_gate(fe.Commit(0, 0, self.epoch, "", True, is_prompted=True, prompt_cause="opening"))
            case fe.CallLost(by, error):
                self._end(by, error)
            case fe.Ticked():
                self._on_tick()
            case _:
                self._on_client(event)
        if self.answer is None and not self.is_ended:
            self._settle()
        outputs, self._out = self._out, []
        return outputs

    # --- the agent's answer -----------------------------------------------------------------------------------------

    def _live(self, epoch: int, turn: int, revision: int) -> Answer | None:
        """The answer these numbers belong to; anything else is counted and dropped."""
        answer = self.answer
        if answer is None or not answer.is_of(epoch, turn, revision):
            self._out.append(fe.Discard("stale_answer"))
            return None
        answer.progress_ns = self._now
        return answer

    def _on_clause(self, event: fe.ClauseArrived) -> None:
        draft = None if self.utterance is None else self.utterance.draft
        if draft is not None and draft.is_of(event.epoch, event.turn, event.revision):
            draft.clauses, draft.asks = max(draft.clauses, event.index + 1), event.asks
            return
        answer = self._live(event.epoch, event.turn, event.revision)
        if answer is not None:
            answer.clauses, answer.asks = max(answer.clauses, event.index + 1), event.asks

    def _on_answer_ended(self, event: fe.AnswerEnded) -> None:
        answer = self._live(event.epoch, event.turn, event.revision)
        if answer is None:
            return
        if answer.ended is not None:
            self._out.append(fe.Discard("duplicate_answer"))
            return
        answer.ended = event
        if event.error is not None:
            self._out.append(fe.Tell(Failed(event.error)))
        if not event.clauses:
            self._finish(answer)

    def _on_tool(self, event: fe.ToolUsed) -> None:
        answer = self._live(event.epoch, event.turn, event.revision)
        if answer is not None and event.is_client:
            answer.has_client_tool = True

    def _on_playout(self, event: fe.PlayoutBegan | fe.PlayoutProgressed | fe.PlayoutEnded) -> None:
        answer = self.answer
        if answer is None or answer.turn != event.turn:
            return
        self._active_ns = answer.progress_ns = self._now
        if isinstance(event, fe.PlayoutBegan) and not answer.is_sounding:
            answer.is_sounding, answer.sounding_ns = True, self._now
            self._overlap.reset()
            self._has_sounded = True
            self._forget(answer)
        elif isinstance(event, fe.PlayoutEnded):
            self._finish(answer)

    def _settle(self) -> None:
        """No answer is alive: do what waited for that."""
        self._commit_later_ones()
        if self.utterance is not None:
            return
        for text in self._later_texts:
            self.turn += 1
            self._out.append(fe.Commit(self.turn, 0, self.epoch, text, wants_answer=False))
        self._later_texts.clear()
        request, self._later_request = self._later_request, None
        if request is not None:
            self._prompt("client", request)

    @property
    def _may_ask(self) -> bool:
        """Whether the agent may speak up by itself: it was heard in this call, which takes its own turns."""
        return self._takes_turns and self._format.asks_silent_caller and self._has_sounded

    def _prompt(self, cause: str, instructions: str = "") -> None:
        """Asks for an answer although nothing was said."""
        self.turn += 1
        self._open_gate(
            fe.Commit(
                self.turn,
                0,
                self.epoch,
                "",
                wants_answer=True,
                is_prompted=True,
                instructions=instructions,
                prompt_cause=cause,
            )
        )

    def _forget(self, answer: Answer) -> None:
        """From the first sound of the answer on, its turn can no longer be reopened."""
        if answer.start_samples is not None and self.utterance is None:  # a newer turn replaced it already
            self._out.append(fe.Recognise("reset", answer.turn, answer.revision))
            if answer.last_voiced_samples is not None:
                self._turn_end.ended(ms_of(self._end_samples - answer.last_voiced_samples))

    def _finish(self, answer: Answer) -> None:
        """The answer was heard to its end, or was without words."""
        self.answer, self._is_asked = None, answer.asks
        self._overlap.reset()
        if not answer.is_sounding:
            self._forget(answer)
        ended = answer.ended
        self._close(answer, "failed" if ended is not None and ended.error is not None else "heard")
        self._release()
        utterance = self.utterance
        if ended is not None and ended.hangs_up:
            if utterance is None:
                self._end("agent", None)
                return
            self._is_farewell = True  # unless the caller turns out to say something
        if utterance is not None and utterance.is_overlap:
            utterance.is_overlap = False
            if utterance.is_resumption:
                utterance.turn, utterance.revision = self._next_number()
                utterance.flushed_ns = None
                self._recognise(utterance, utterance.last_voiced_samples)
            self._tell_speech(utterance, utterance.start_samples)
            if utterance.flushed_ns is not None:
                self._ask(utterance)

    def _fail_answer(self, error: HalfbeatError) -> None:
        self._out.append(fe.Tell(Failed(error.to_message())))
        self._cut("cancelled", end="failed")

    # --- the client's wishes, time, the end -------------------------------------------------------------------------

    def _on_client(self, event: fe.FloorEvent) -> None:
        self._active_ns = self._now
        utterance = self.utterance
        match event:
            case fe.TextSent(text):
                self._is_farewell = False
                self._silent_caller.spoke()
                if utterance is not None:
                    self._drop(utterance)
                self._cut("cancelled", end="cut")
                self.turn += 1
                self._out.append(fe.Tell(CallerCaption(self.turn, text, is_final=True)))
                self._out.append(fe.Tell(TurnCommitted(self.turn, text)))
                self._open_gate(fe.Commit(self.turn, 0, self.epoch, text, wants_answer=True))
            case fe.TextAdded(text):
                self._later_texts.append(text)
            case fe.InputCommitted(start, end):
                self._end_turn_now(start, end)
            case fe.InputCleared():
                if utterance is not None:
                    self._drop(utterance)
            case fe.AnswerRequested(instructions):
                self._on_answer_requested(instructions)
            case fe.StopRequested():
                self._cut("cancelled", end="cut")
            case fe.FormatChanged(fmt):
                self._format = fmt
                if not self._may_interrupt:
                    self._go_on("cleared")

    def _end_turn_now(self, start_samples: int, end_samples: int) -> None:
        utterance = self.utterance
        if utterance is None:  # nothing was taken for voice; the recogniser decides
            utterance = Utterance(*self._next_number(), start_samples, end_samples)
            utterance.is_overlap = self.answer is not None
            self.utterance = utterance
            self._recognise(utterance, start_samples)
        utterance.is_speaking = False
        utterance.is_client_committed = True
        if self._takes_turns and utterance.is_overlap and self.answer is not None:
            self._barge_in(utterance, self.answer)
        if utterance.flushed_ns is None:
            self._flush(utterance)
        self._evaluate(utterance)

    def _on_answer_requested(self, instructions: str) -> None:
        utterance = self.utterance
        if utterance is not None and utterance.is_client_committed and self.answer is None:
            utterance.is_answer_requested, utterance.instructions = True, instructions
        elif self.answer is None or self.answer.has_client_tool:
            self._later_request = instructions
        else:
            error = InvalidRequest("an answer is being given already; stop it first")
            self._out.append(fe.Tell(Failed(error.to_message())))

    def _on_tick(self) -> None:
        settings, answer, utterance = self._settings, self.answer, self.utterance
        if utterance is not None:
            gap_ms = (self._now - self._audio_ns) // NS_PER_MS
            has_paused = utterance.pauses_ns is not None and self._now >= utterance.pauses_ns
            if utterance.is_speaking and (has_paused or gap_ms >= self._turn_end.settings.audio_gap_ms):
                self._pause(utterance)
            self._evaluate(utterance)
        elif self._now - self._audio_ns >= self._turn_end.settings.audio_gap_ms * NS_PER_MS:
            self._go_on("click")
        if answer is not None and self._now - answer.progress_ns >= settings.answer_timeout_s * NS_PER_S:
            self._fail_answer(TimedOut(f"no answer for {settings.answer_timeout_s:.0f} s"))
        if self._now - self._began_ns >= settings.max_call_s * NS_PER_S:
            self._end("timeout", None)
        elif self.answer is None and self.utterance is None:
            silent_ns = self._now - self._active_ns
            if silent_ns >= settings.idle_s * NS_PER_S:
                self._end("timeout", None)
            elif self._may_ask and (cause := self._silent_caller.cause(silent_ns)):
                self._prompt(cause)
        else:
            self._active_ns = self._now
