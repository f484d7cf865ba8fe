"""The caller's side of the floor: utterances, pauses, overlap, and the commit gate. No I/O."""

from dataclasses import replace

from halfbeat.clock import NS_PER_MS
from halfbeat.v1 import common_pb2
from services.router import floor_events as fe
from services.router.backchannel import is_backchannel, words_of
from services.router.detector import Evidence, TurnEnd, Verdict
from services.router.edge import CallerCaption, EdgeFormat, SpeechStarted, SpeechStopped, TurnCommitted
from services.router.endpoint import Voice, ms_of
from services.router.turn_state import Answer, Holder, Utterance

_SAMPLES_PER_MS = 16


class Listening:
    """State of the floor and what the caller's voice and words do to it; `services.router.floor` adds the rest."""

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
        # Number of a dropped utterance, to be used again with a higher revision.
        self._spare: tuple[int, int] | None = None
        self._is_farewell = self._is_holding = self._is_deaf = False
        # What has to wait until no answer is alive: a newer commit would end it.
        self._later_commits: list[fe.Commit] = []
        self._later_texts: list[str] = []
        self._later_request: str | None = None
        self._out: list[fe.FloorOutput] = []

    @property
    def holder(self) -> Holder:
        """Who speaks now."""
        caller = self.utterance is not None and self.utterance.is_speaking
        agent = self.answer is not None and self.answer.is_sounding
        return {(0, 0): Holder.NOBODY, (1, 0): Holder.CALLER, (0, 1): Holder.AGENT}.get((caller, agent), Holder.BOTH)

    # --- the caller's voice -----------------------------------------------------------------------------------------

    def _on_voice(self, voice: Voice) -> None:
        self._audio_ns = self._now
        self._end_samples, self._voice = voice.end_samples, voice.probability
        self._is_deaf = self._is_deaf and voice.is_active
        utterance = self.utterance
        if voice.is_active and not self._is_deaf:
            self._active_ns = self._now
            if utterance is None:
                utterance = self._begin(voice.start_samples)
            elif not utterance.is_speaking:
                self._resume(utterance, voice.start_samples)
            utterance.last_voiced_samples = max(utterance.last_voiced_samples, voice.last_voiced_samples)
            utterance.voiced_ms = utterance.voiced_before_ms + voice.voiced_ms
            if utterance.is_overlap:
                self._judge_overlap(utterance)
            turn_ms = ms_of(voice.end_samples - utterance.start_samples)
            if utterance.flushed_ns is None and turn_ms >= self._turn_end.settings.max_turn_ms and self._takes_turns:
                self._flush(utterance)
        elif utterance is not None and utterance.is_speaking:
            self._pause(utterance)
        if self.utterance is not None:
            self._evaluate(self.utterance)

    @property
    def _takes_turns(self) -> bool:
        return self._format.has_turn_detection

    def _begin(self, start_samples: int) -> Utterance:
        """The caller begins to speak, or seems to."""
        answer = self.answer
        grace_ns = self._settings.resume_grace_ms * NS_PER_MS
        is_resumption = (
            answer is not None
            and answer.start_samples is not None
            and not answer.is_sounding
            and self._now - answer.committed_ns <= grace_ns
            and not self._later_commits
            and self._may_interrupt
        )
        if is_resumption and answer is not None and answer.start_samples is not None:
            utterance = Utterance(answer.turn, answer.revision + 1, answer.start_samples, start_samples)
            utterance.is_resumption, utterance.prior = True, answer.transcript
        else:
            utterance = Utterance(*self._next_number(), start_samples, start_samples)
        utterance.is_overlap = answer is not None
        self.utterance = utterance
        if answer is not None and not answer.is_sounding and not answer.is_opening and self._may_interrupt:
            self._is_holding = True
            self._out.append(fe.HoldPlayout())
        self._recognise(utterance, start_samples)
        if not utterance.is_overlap:
            self._tell_speech(utterance, start_samples)
        return utterance

    @property
    def _may_interrupt(self) -> bool:
        return self._format.interrupts_response and self._takes_turns

    def _next_number(self) -> tuple[int, int]:
        spare, self._spare = self._spare, None
        if spare is not None and spare[0] == self.turn:
            return spare
        self.turn += 1
        return self.turn, 0

    def _recognise(self, utterance: Utterance, start_samples: int) -> None:
        offset = max(0, start_samples - self._settings.pre_roll_ms * _SAMPLES_PER_MS)
        self._out.append(fe.Recognise("speech_started", utterance.turn, utterance.revision, offset))

    def _tell_speech(self, utterance: Utterance, start_samples: int) -> None:
        utterance.is_told = True
        if self._takes_turns:
            self._out.append(fe.Tell(SpeechStarted(utterance.turn, ms_of(start_samples))))

    def _resume(self, utterance: Utterance, start_samples: int) -> None:
        """The caller goes on after a pause."""
        was_flushed = utterance.flushed_ns is not None
        if was_flushed:
            self._turn_end.resumed(ms_of(start_samples - utterance.last_voiced_samples))
        if utterance.is_client_committed:
            # The client has ended that turn; what comes now is the next one, once this one's words are here.
            return
        utterance.reopen()
        if was_flushed:
            self._recognise(utterance, start_samples)
            if not utterance.is_overlap:
                self._announce(utterance, "resumed")
        if utterance.is_told:
            self._tell_speech(utterance, start_samples)

    def _pause(self, utterance: Utterance) -> None:
        utterance.is_speaking = False
        if utterance.is_told and self._takes_turns:
            self._out.append(fe.Tell(SpeechStopped(utterance.turn, ms_of(utterance.last_voiced_samples))))
        if self._takes_turns and utterance.flushed_ns is None:
            self._flush(utterance)

    def _flush(self, utterance: Utterance) -> None:
        """The eager endpoint: ask for the words, and whether the turn is over."""
        utterance.flushed_ns = self._now
        self._out.append(fe.Recognise("flush", utterance.turn, utterance.revision, utterance.last_voiced_samples))
        if not utterance.is_overlap and not utterance.is_client_committed:
            self._announce(utterance, "eager")
            self._ask(utterance)

    def _ask(self, utterance: Utterance) -> None:
        utterance.times_asked += 1
        utterance.asked_ms = self._silence_ms(utterance)
        self._out.append(fe.AskDetector(utterance.turn, utterance.revision, utterance.start_samples))

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

    def _silence_ms(self, utterance: Utterance) -> int:
        """Silence by the caller's audio; by the wall clock when no audio comes any more."""
        silence_ms = ms_of(max(0, self._end_samples - utterance.last_voiced_samples))
        gap_ms = (self._now - self._audio_ns) // NS_PER_MS
        return silence_ms + gap_ms if gap_ms >= self._turn_end.settings.audio_gap_ms else silence_ms

    # --- overlap: barge-in, resumption, backchannel, noise ----------------------------------------------------------

    def _judge_overlap(self, utterance: Utterance) -> None:
        """The caller sounds while an answer is alive: is it meant to stop the agent?"""
        answer, settings = self.answer, self._settings
        if answer is None or not self._may_interrupt:
            return
        text = (utterance.partial if utterance.final is None else utterance.final).strip()
        words = words_of(text)
        if not answer.is_sounding:
            # A caller's "hello?" does not take the greeting away.
            is_meant = utterance.voiced_ms >= settings.resume_ms or bool(utterance.final)
            is_meant = is_meant and not answer.is_opening
        elif is_backchannel(text):
            is_meant = utterance.voiced_ms >= settings.backchannel_ms
        else:
            is_meant = utterance.voiced_ms >= settings.barge_in_ms or len(words) >= settings.barge_in_words
            is_meant = is_meant or (utterance.final is not None and bool(words))
        if is_meant:
            self._barge_in(utterance, answer)

    def _barge_in(self, utterance: Utterance, answer: Answer) -> None:
        is_reopened = utterance.is_resumption and not answer.is_sounding
        self._cut("barge_in", end="resumed" if is_reopened else "cut", voice_samples=utterance.start_samples)
        utterance.is_overlap = False
        self._tell_speech(utterance, utterance.start_samples)
        if is_reopened:
            self._announce(utterance, "resumed")
        if utterance.flushed_ns is not None:
            self._ask(utterance)

    def _cut(self, cause: str, end: str, voice_samples: int | None = None) -> None:
        """Voids the live answer."""
        answer = self.answer
        if answer is None:
            return
        self.epoch += 1
        self.answer, self._is_farewell = None, False
        self._out.append(fe.CutPlayout(answer.turn, self.epoch, voice_samples))
        self._out.append(fe.AdvanceEpoch(answer.turn, answer.revision, self.epoch, cause))
        self._close(answer, end)
        self._release()

    def _release(self) -> None:
        if self._is_holding:
            self._is_holding = False
            self._out.append(fe.ReleasePlayout())

    def _drop(self, utterance: Utterance) -> None:
        """It was noise, a backchannel, or taken back."""
        self.utterance = None
        self._spare = (utterance.turn, utterance.revision + 1)
        if utterance.is_resumption and self.answer is not None:
            # Its number is the live answer's; the next turn gets a new one.
            self._spare = None
        else:
            self._out.append(fe.Recognise("reset", utterance.turn, utterance.revision))
        self._release()
        if self._is_farewell:
            self._end("agent", None)

    # --- the end of a turn ------------------------------------------------------------------------------------------

    def _on_transcript(self, event: fe.TranscriptArrived) -> None:
        utterance = self.utterance
        if utterance is None or (event.turn, event.revision) != (utterance.turn, utterance.revision):
            self._out.append(fe.Discard("stale_transcript"))
            return
        if not event.is_final:
            if utterance.final is None and event.text != utterance.partial:
                utterance.partial = event.text
                if utterance.is_overlap:
                    self._judge_overlap(utterance)
                if not utterance.is_overlap:
                    self._out.append(fe.Tell(CallerCaption(utterance.turn, event.text, is_final=False)))
            return
        if utterance.flushed_ns is None or utterance.final is not None:
            self._out.append(fe.Discard("duplicate_transcript"))
            return
        utterance.final = event.text.strip()
        self._evaluate(utterance)

    def _on_judged(self, event: fe.TurnJudged) -> None:
        utterance = self.utterance
        if utterance is None or (event.turn, event.revision) != (utterance.turn, utterance.revision):
            self._out.append(fe.Discard("stale_judgement"))
        elif event.probability is not None and utterance.flushed_ns is not None:
            utterance.audio, utterance.audio_at_ms = event.probability, utterance.asked_ms
            self._evaluate(utterance)

    def _evaluate(self, utterance: Utterance) -> None:
        """Looks whether the utterance is over, and whether anything was said."""
        if utterance.flushed_ns is None:
            return
        waited_ms = (self._now - utterance.flushed_ns) // NS_PER_MS
        has_words = utterance.final is not None or waited_ms >= self._turn_end.settings.final_ms
        text = utterance.text
        if utterance.is_overlap and self._takes_turns:
            self._evaluate_overlap(utterance, text, has_words, waited_ms)
            return
        if not utterance.is_client_committed:
            if has_words and not text:
                self._drop(utterance)
                return
            cause = self._judge_pause(utterance)
            if not cause:
                utterance.decided_ns = None
                return
        else:
            cause = "client"
        if utterance.decided_ns is None:
            utterance.decided_ns = self._now
        if has_words:
            self._commit(utterance, text, cause)

    def _judge_pause(self, utterance: Utterance) -> str:
        verdict = self._judge(utterance)
        utterance.probability = verdict.probability
        if verdict.cause == "limit" or (verdict.cause and not utterance.is_speaking):
            return verdict.cause
        is_due = self._silence_ms(utterance) >= self._turn_end.settings.ask_again_ms
        if utterance.times_asked == 1 and is_due and not utterance.is_speaking:
            self._ask(utterance)
        return ""

    def _judge(self, utterance: Utterance) -> Verdict:
        evidence = Evidence(
            silence_ms=self._silence_ms(utterance),
            turn_ms=ms_of(self._end_samples - utterance.start_samples),
            voice=self._voice,
            audio=utterance.audio,
            audio_at_ms=utterance.audio_at_ms,
            text=utterance.text,
            has_final=utterance.final is not None,
        )
        return self._turn_end.judge(evidence)

    def _evaluate_overlap(self, utterance: Utterance, text: str, has_words: bool, waited_ms: int) -> None:
        answer, settings = self.answer, self._settings
        if answer is not None and self._may_interrupt:
            if utterance.final:
                self._judge_overlap(utterance)
                if not utterance.is_overlap:
                    self._evaluate(utterance)
                    return
            is_held = not answer.is_sounding and waited_ms >= settings.hold_ms
            # Words like "yes" over the agent's last words may be the reply; wait for the agent to end.
            is_late = (
                not (utterance.final or utterance.partial) or self._silence_ms(utterance) >= settings.late_reply_ms
            )
            if is_held or (has_words and is_late):
                self._drop(utterance)
        elif has_words and not text:
            self._drop(utterance)
        elif answer is not None and self._judge_pause(utterance) and has_words:
            self._commit(utterance, text, "silence")

    def _commit(self, utterance: Utterance, text: str, cause: str) -> None:
        """The turn is over. There is one answer at a time: while one lives, words only enter the history."""
        self.utterance = None
        # Who never pauses is answered all the same, and then not heard until he does.
        self._is_deaf = utterance.is_speaking
        self._announce(utterance, "committed", cause)
        self._out.append(fe.Tell(CallerCaption(utterance.turn, text, is_final=True)))
        self._out.append(fe.Tell(TurnCommitted(utterance.turn, text)))
        wants_answer = utterance.is_answer_requested or (self._format.creates_response and self._takes_turns)
        has_answer = wants_answer and self.answer is None
        self._open_gate(
            fe.Commit(
                utterance.turn,
                utterance.revision,
                self.epoch,
                text,
                wants_answer=has_answer,
                is_prompted=has_answer and not text,
                instructions=utterance.instructions,
                speech_end_samples=utterance.last_voiced_samples,
                decided_ns=utterance.decided_ns or self._now,
            ),
            start_samples=utterance.start_samples,
        )
        if not has_answer:
            self._out.append(fe.Recognise("reset", utterance.turn, utterance.revision))

    def _open_gate(self, commit: fe.Commit, start_samples: int | None = None) -> None:
        self._is_farewell = False
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
                transcript=commit.transcript,
            )

    def _commit_later_ones(self) -> None:
        """No answer is alive any more: hand over the words that waited for that."""
        self._out += [replace(commit, epoch=self.epoch) for commit in self._later_commits]
        self._later_commits.clear()

    # --- ends -------------------------------------------------------------------------------------------------------

    def _close(self, answer: Answer, end: str) -> None:
        ended = answer.ended
        tokens = (ended.prompt_tokens, ended.completion_tokens) if ended is not None else (0, 0)
        self._out.append(fe.CloseAnswer(answer.turn, end, *tokens))

    def _end(self, by: str, error: common_pb2.Error | None) -> None:
        self._cut("cancelled", end="cut")
        self.utterance = None
        self.is_ended = True
        self._out.append(fe.EndCall(by, error))
