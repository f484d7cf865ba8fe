"""The caller's side of the floor: utterances, pauses, overlap. No I/O."""

from halfbeat.clock import NS_PER_MS
from halfbeat.v1 import common_pb2
from services.router import floor_events as fe
from services.router.detector import Evidence, Verdict
from services.router.ducking import Level
from services.router.edge import CallerCaption, SpeechStarted
from services.router.endpoint import Voice, ms_of
from services.router.gate import Gate
from services.router.overlap import Meaning, Sound, judge
from services.router.turn_state import Answer, Holder, Utterance

_SAMPLES_PER_MS = 16
#: A live window is whole at most this long after its last sample was spoken: one frame, and the resampler's delay.
MAX_WINDOW_LAG_MS = 40


class Listening(Gate):
    """What the caller's voice and words do to the floor; `services.router.floor` adds the rest."""

    @property
    def holder(self) -> Holder:
        """Who speaks now."""
        caller = self.utterance is not None and self.utterance.is_speaking
        agent = self.answer is not None and self.answer.is_sounding
        return {(0, 0): Holder.NOBODY, (1, 0): Holder.CALLER, (0, 1): Holder.AGENT}.get((caller, agent), Holder.BOTH)

    # --- the caller's voice -----------------------------------------------------------------------------------------

    def _on_voice(self, voice: Voice, ended_ns: int) -> None:
        # Audio that waited to be worked off says nothing of how long it has been quiet since.
        self._audio_ns = max(ended_ns, self._now - MAX_WINDOW_LAG_MS * NS_PER_MS)
        self._end_samples, self._voice = voice.end_samples, voice.probability
        self._is_deaf = self._is_deaf and voice.is_active
        self._yield(voice)
        utterance = self.utterance
        if utterance is not None:
            self._foresee_pause(utterance, voice)
        if voice.is_active and not self._is_deaf:
            self._active_ns = self._now
            if utterance is None:
                utterance = self._begin(voice.start_samples)
            elif not utterance.is_speaking and voice.last_voiced_samples > utterance.last_voiced_samples:
                self._resume(utterance, voice.start_samples)
            utterance.last_voiced_samples = max(utterance.last_voiced_samples, voice.last_voiced_samples)
            utterance.peak_dbfs = max(utterance.peak_dbfs, voice.peak_dbfs)
            utterance.voiced_ms = utterance.voiced_before_ms + voice.voiced_ms
            turn_ms = ms_of(voice.end_samples - utterance.start_samples)
            if utterance.flushed_ns is None and turn_ms >= self._turn_end.settings.max_turn_ms and self._takes_turns:
                self._flush(utterance)
        elif utterance is not None and utterance.is_speaking:
            self._pause(utterance)
        if utterance is not None and utterance.is_overlap:
            self._judge_overlap(utterance)
        if self.utterance is not None:
            self._evaluate(self.utterance)

    def _foresee_pause(self, utterance: Utterance, voice: Voice) -> None:
        """The pause may be long enough before the next window is there."""
        in_ms = self._settings.pause_ms - self._silence_ms(utterance) if voice.is_pausing else 0
        utterance.pauses_ns = self._soon_ns(in_ms) if utterance.flushed_ns is None and self._takes_turns else None

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
            if answer.last_voiced_samples is not None:
                utterance.resumed_after_ms = ms_of(start_samples - answer.last_voiced_samples)
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
        """A client is told once a turn; short pauses are not its business."""
        if self._takes_turns and not utterance.is_told:
            utterance.is_told = True
            self._out.append(fe.Tell(SpeechStarted(utterance.turn, ms_of(start_samples))))

    def _resume(self, utterance: Utterance, start_samples: int) -> None:
        """The caller goes on after a pause."""
        was_flushed = utterance.flushed_ns is not None
        gap_ms = ms_of(start_samples - utterance.last_voiced_samples)
        if was_flushed and not utterance.is_overlap and gap_ms >= self._turn_end.settings.ask_ms:
            self._turn_end.resumed(gap_ms)
        if utterance.is_client_committed:
            # The client has ended that turn; what comes now is the next one, once this one's words are here.
            return
        self._drop_draft(utterance, "resumed")
        utterance.reopen()
        if was_flushed:
            self._recognise(utterance, start_samples)
            if not utterance.is_overlap:
                self._announce(utterance, "resumed")

    def _pause(self, utterance: Utterance) -> None:
        utterance.is_speaking = False
        if self._takes_turns and utterance.flushed_ns is None:
            self._flush(utterance)

    def _flush(self, utterance: Utterance) -> None:
        """The eager endpoint: ask for the words, and whether the turn is over."""
        utterance.flushed_ns = self._now
        self._out.append(fe.Recognise("flush", utterance.turn, utterance.revision, utterance.last_voiced_samples))
        if not utterance.is_overlap and not utterance.is_client_committed:
            self._announce(utterance, "eager")
            self._ask_when_due(utterance)

    def _ask_when_due(self, utterance: Utterance) -> int:
        """Asks the audio model once it can hear enough silence, and once more; returns the ms until then, or 0."""
        settings = self._turn_end.settings
        if utterance.is_speaking or utterance.times_asked > 1:
            return 0
        due_ms = (settings.ask_ms, settings.ask_again_ms)[utterance.times_asked] - self._silence_ms(utterance)
        if due_ms <= 0:
            self._ask(utterance)
        return max(0, due_ms)

    def _ask(self, utterance: Utterance) -> None:
        utterance.times_asked += 1
        utterance.asked_ms = self._silence_ms(utterance)
        self._out.append(fe.AskDetector(utterance.turn, utterance.revision, utterance.start_samples))

    # --- overlap: barge-in, resumption, backchannel, noise ----------------------------------------------------------

    def _yield(self, voice: Voice) -> None:
        """Lets the caller's sound duck and mute the agent, at once; what it means is judged later."""
        answer, overlap = self.answer, self._overlap
        if answer is None or not answer.is_sounding or self._is_deaf or not self._may_interrupt:
            return
        before = overlap.level
        level = overlap.hear(voice, self._now, (self._now - answer.sounding_ns) // NS_PER_MS)
        if level is not before:
            self._out.append(fe.Duck() if level is Level.DUCKED else fe.Mute())
        if self.utterance is None and overlap.is_click(voice):
            self._go_on("click")

    def _go_on(self, reason: str) -> None:
        """The sound was not meant: the agent is at full level again."""
        if self._overlap.level is not Level.FULL:
            self._overlap.go_on()
            self._out.append(fe.Unduck(reason))

    def _judge_overlap(self, utterance: Utterance) -> Meaning:
        """The caller sounds while an answer is alive: is it meant to stop the agent? Over a silent one, never open."""
        answer, settings = self.answer, self._settings
        if answer is None or not self._may_interrupt:
            return Meaning.NOT_MEANT
        if not answer.is_sounding:
            # A caller's "hello?" does not take the greeting away.
            is_meant = utterance.voiced_ms >= settings.resume_ms or bool(utterance.final)
            if is_meant and not answer.is_opening:
                self._barge_in(utterance, answer)
            return Meaning.NOT_MEANT
        overlap, silence_ms = self._overlap, self._silence_ms(utterance)
        is_quiet = overlap.is_quiet or silence_ms >= self._turn_end.settings.audio_gap_ms
        sound = Sound(
            utterance.voiced_ms - utterance.voiced_before_ms,
            silence_ms if is_quiet else 0,
            overlap.likelihood,
            (utterance.partial if utterance.final is None else utterance.final).strip(),
            is_final=utterance.final is not None,
            is_guarded=overlap.is_guarded,
            is_unclear=overlap.is_unclear,
            is_faint=overlap.is_faint,
        )
        meaning = judge(sound, settings.overlap, settings.language)
        if meaning is Meaning.MEANT:
            self._barge_in(utterance, answer)
        elif meaning is Meaning.NOT_MEANT:
            self._go_on("faint" if sound.is_faint else "backchannel" if sound.text else "noise")
        elif overlap.is_overdue(self._now):
            self._go_on("limit")
        return meaning

    def _barge_in(self, utterance: Utterance, answer: Answer) -> None:
        is_reopened = utterance.is_resumption and not answer.is_sounding
        start = max(utterance.start_samples, self._overlap.start_samples if answer.is_sounding else 0)
        self._tell_speech(utterance, start)
        if is_reopened:
            self._turn_end.resumed(utterance.resumed_after_ms)
            self._cut("resumed", end="resumed")
            self._announce(utterance, "resumed")
        else:
            self._cut("barge_in", end="cut", voice_samples=start)
        utterance.is_overlap = False
        if utterance.flushed_ns is not None:
            self._ask(utterance)

    def _cut(self, cause: str, end: str, voice_samples: int | None = None) -> None:
        """Voids the live answer."""
        answer = self.answer
        if answer is None:
            return
        self.epoch += 1
        self.answer, self._is_farewell = None, False
        self._overlap.reset()
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
        self._go_on("dropped")
        self._take_back(utterance)
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
                if self._silence_ms(utterance) >= self._settings.noise_ms or self._is_farewell:
                    self._drop(utterance)
                return
            cause = self._judge_pause(utterance)
            if not cause:
                utterance.decided_ns = None
                self._consider_draft(utterance)
                return
        else:
            cause = "client"
        if utterance.decided_ns is None:
            utterance.decided_ns = self._now
        if has_words:
            self._commit(utterance, text, cause)

    def _judge_pause(self, utterance: Utterance) -> str:
        verdict = self._judge(utterance)
        utterance.probability, utterance.is_wait = verdict.probability, verdict.is_wait
        utterance.due_ns = None
        if verdict.cause == "limit" or (verdict.cause and not utterance.is_speaking):
            return verdict.cause
        ask_ms = self._ask_when_due(utterance)
        utterance.due_ns = self._soon_ns(min(verdict.in_ms, ask_ms) or max(verdict.in_ms, ask_ms))
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
            is_asked=self._is_asked,
        )
        return self._turn_end.judge(evidence)

    def _evaluate_overlap(self, utterance: Utterance, text: str, has_words: bool, waited_ms: int) -> None:
        answer, settings = self.answer, self._settings
        if answer is not None and self._may_interrupt:
            meaning = self._judge_overlap(utterance)
            if not utterance.is_overlap:
                self._evaluate(utterance)
                return
            is_held = not answer.is_sounding and waited_ms >= settings.hold_ms
            # Words like "yes" over the agent's last words may be the reply; wait for the agent to end.
            is_late = (
                self._silence_ms(utterance) >= settings.overlap.late_reply_ms
                if utterance.final or utterance.partial
                else meaning is not Meaning.OPEN
            )
            if is_held or (has_words and is_late):
                self._drop(utterance)
        elif has_words and not text:
            self._drop(utterance)
        elif answer is not None and self._judge_pause(utterance) and has_words:
            self._commit(utterance, text, "silence")

    # --- ends -------------------------------------------------------------------------------------------------------

    def _end(self, by: str, error: common_pb2.Error | None) -> None:
        self._cut("cancelled", end="cut")
        if self.utterance is not None:
            self._take_back(self.utterance)
            self.utterance = None
        self.is_ended = True
        self._out.append(fe.EndCall(by, error))
