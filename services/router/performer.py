"""Does what the floor decides: messages, events, the agent's voice, records and traces of turns."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from halfbeat import subjects, telemetry
from halfbeat.clock import NS_PER_MS, NS_PER_S
from halfbeat.errors import HalfbeatError
from halfbeat.v1 import common_pb2, dialogue_pb2, tts_pb2
from services.router import counters, edge
from services.router import floor_events as fe
from services.router.heard import HeardMark, Word
from services.router.playout import Began, ClauseBegan, Frame, Playout, RanDry
from services.router.time_to_silence import TimeToSilence
from services.router.trace import TurnTrace
from services.router.turn_record import ASR, DIALOGUE, ENDPOINT, PLAYOUT, TTS, TurnRecord

if TYPE_CHECKING:
    from services.router.call import Call


@dataclass(slots=True)
class _Answer:
    """The answer being given."""

    commit: fe.Commit
    record: TurnRecord
    trace: TurnTrace
    heard: HeardMark | None = None


class Performer:
    """The floor's hands. Every method returns at once."""

    def __init__(self, call: "Call") -> None:
        self._call = call
        self.playout = Playout(
            call.format.sample_rate_hz,
            lead_ms=call.format.lead_ms,
            reports=call.format.reports_playout,
            duck_db=call.settings.duck_db,
        )
        self._to_silence = TimeToSilence()
        self.group: asyncio.TaskGroup | None = None
        self.questions: set[asyncio.Task[None]] = set()
        self._trace: tuple[int, int, TurnTrace] | None = None
        # Traces of the turn's revisions whose drafts came to nothing.
        self._discarded: list[TurnTrace] = []
        self._draft: TurnRecord | None = None
        self._answer: _Answer | None = None

    def perform(self, output: fe.FloorOutput, now_ns: int) -> None:
        """Does one thing."""
        call = self._call
        match output:
            case fe.Recognise():
                self._recognise(output, now_ns)
            case fe.AskDetector():
                self._ask(output)
            case fe.Announce():
                counters.ENDPOINTS.labels(output.kind, output.cause).inc()
                headers = self._headers(output.turn, output.revision)
                call.publish(subjects.TURN_ENDPOINT, call.wire.endpoint(output, call.floor.epoch), headers)
            case fe.Draft():
                self._ask_draft(output, now_ns)
            case fe.DropDraft():
                self._drop_draft(output)
            case fe.Commit():
                self._commit(output, now_ns)
            case fe.CutPlayout():
                self._cut(output, now_ns)
            case fe.AdvanceEpoch():
                call.publish(subjects.SESSION_EPOCH, call.wire.epoch(output))
                counters.BARGE_INS.labels(output.cause).inc()
            case fe.CloseAnswer():
                self._close(output)
            case fe.HoldPlayout():
                self.playout.hold()
            case fe.ReleasePlayout():
                self.playout.release()
            case fe.Duck():
                self.playout.duck()
                self._to_silence.ducked(now_ns)
            case fe.Mute():
                self.playout.mute()
                self._to_silence.muted(now_ns, self.playout.silent_ns(now_ns))
            case fe.Unduck(reason):
                self.playout.unduck()
                self._to_silence.went_on()
                counters.OVERLAPS.labels(reason).inc()
            case fe.Tell(event):
                self._call.tell(event)
            case fe.Discard(reason):
                counters.DROPPED.labels(reason).inc()
            case fe.EndCall(by, error):
                call.finish(by, error)

    @property
    def trace_ids(self) -> dict[str, str]:
        """Of the turn that is being answered, or heard; for log lines."""
        if self._answer is not None:
            return telemetry.ids_of(self._answer.trace.span)
        return {} if self._trace is None else telemetry.ids_of(self._trace[2].span)

    # --- listening --------------------------------------------------------------------------------------------------

    def _recognise(self, output: fe.Recognise, now_ns: int) -> None:
        call = self._call
        if output.command == "flush":
            ended_ns = min(now_ns, call.ear.time_of(output.offset_samples))
            if self._trace is not None and self._trace[0] != output.turn:
                self._discarded.clear()
            self._trace = (output.turn, output.revision, self._begin_trace(output.turn, output.revision, ended_ns))
        headers = self._headers(output.turn, output.revision)
        call.publish(subjects.ASR_CONTROL, call.wire.control(output, call.floor.epoch), headers)

    def _begin_trace(self, turn: int, revision: int, start_ns: int) -> TurnTrace:
        call = self._call
        stamp = common_pb2.Stamp(sid=call.sid, epoch=call.floor.epoch, turn=turn, revision=revision)
        return TurnTrace(stamp, call.clock, start_ns)

    def _headers(self, turn: int, revision: int) -> dict[str, str]:
        if self._trace is not None and self._trace[:2] == (turn, revision):
            return self._trace[2].headers
        return {}

    def _ask(self, output: fe.AskDetector) -> None:
        if self._call.models.turn_detector is not None and self.group is not None:
            task = self.group.create_task(self._call.guarded(partial(self._judge, output)))
            self.questions.add(task)
            task.add_done_callback(self.questions.discard)

    async def _judge(self, question: fe.AskDetector) -> None:
        call = self._call
        detector = call.models.turn_detector
        assert detector is not None
        began_ns = call.clock.now_ns()
        probability: float | None = None
        try:
            probability = await detector.probability(call.ear.ring.read(question.start_samples))
        except HalfbeatError as e:
            counters.DROPPED.labels("turn_detector").inc()
            telemetry.ERRORS.labels("router", common_pb2.ErrorCode.Name(e.code)).inc()
        counters.DETECTOR.observe((call.clock.now_ns() - began_ns) / NS_PER_S)
        call.feed(fe.TurnJudged(question.turn, question.revision, probability))

    # --- answering --------------------------------------------------------------------------------------------------

    def _ask_draft(self, output: fe.Draft, now_ns: int) -> None:
        call = self._call
        record = self._draft = TurnRecord(output.turn, now_ns)
        record.voice_end_ns = min(now_ns, call.ear.time_of(output.speech_end_samples))
        self.playout.begin(output.epoch, output.turn, output.revision, is_draft=True)
        message = call.wire.draft(output, self._budget_left_ms(record, now_ns))
        call.publish(subjects.TURN_DRAFT, message, self._headers(output.turn, output.revision))

    def _drop_draft(self, output: fe.DropDraft) -> None:
        counters.DRAFTS.labels(output.reason).inc()
        self._draft = None
        self.playout.drop_draft()
        if self._trace is not None and self._trace[:2] == (output.turn, output.revision):
            self._discarded.append(self._trace[2])

    def _budget_left_ms(self, record: TurnRecord, now_ns: int) -> int:
        """What is left of the turn's budget, which began at the caller's last voiced sample; 0 without a budget."""
        spent_ms = (now_ns - (now_ns if record.voice_end_ns is None else record.voice_end_ns)) // NS_PER_MS
        budget_ms = self._call.settings.budget_ms
        return max(1, budget_ms - spent_ms) if budget_ms else 0

    def _commit(self, output: fe.Commit, now_ns: int) -> None:
        call = self._call
        draft, self._draft = self._draft, None
        is_adopted = output.adopts_draft and self.playout.adopt(output.epoch, output.turn, output.revision)
        record = draft if draft is not None and is_adopted else TurnRecord(output.turn, now_ns)
        record.committed_ns, record.drafts, record.is_draft_adopted = now_ns, output.drafts, is_adopted
        if is_adopted:
            counters.DRAFTS.labels("hit").inc()
        if not output.has_final:
            record.went_over_budget(ASR)
        if output.speech_end_samples is not None:
            record.voice_end_ns = min(now_ns, call.ear.time_of(output.speech_end_samples))
            record.decided_ns = max(record.voice_end_ns, output.decided_ns)
            call.input_taken()
        # The revision may have grown since the pause, when its draft came to nothing.
        if self._trace is not None and self._trace[0] == output.turn:
            trace = self._trace[2]
        else:
            trace = self._begin_trace(output.turn, output.revision, now_ns)
        self._trace = (output.turn, output.revision, trace)
        trace.link(other for other in self._discarded if other is not trace)
        self._discarded.clear()
        if record.voice_end_ns is not None:
            trace.child(ENDPOINT, record.voice_end_ns, record.decided_ns)
        if output.wants_answer:
            self._answer = _Answer(output, record, trace)
            if not is_adopted:
                self.playout.begin(output.epoch, output.turn, output.revision)
        message = call.wire.commit(output, self._budget_left_ms(record, now_ns))
        call.publish(subjects.TURN_COMMIT, message, trace.headers)

    @property
    def _record(self) -> TurnRecord | None:
        """Of the generation that lives: the answer, or the draft of one."""
        return self._draft if self._answer is None else self._answer.record

    def on_clause(self, clause: dialogue_pb2.Clause) -> None:
        """The dialogue has a clause."""
        stamp, now_ns = clause.stamp, self._call.clock.now_ns()
        if self.playout.add_clause(stamp.epoch, stamp.turn, stamp.revision, clause.index, clause.text):
            if self._record is not None:
                self._record.clause_came(now_ns, stamp.residence)
            asks = clause.text.rstrip().endswith("?")
            self._call.feed(fe.ClauseArrived(stamp.epoch, stamp.turn, stamp.revision, clause.index, asks))
        else:
            counters.DROPPED.labels("stale_clause").inc()

    def on_answer_done(self, done: dialogue_pb2.AnswerDone) -> None:
        """The dialogue has said all."""
        stamp = done.stamp
        if self._is_answer(stamp) and self._answer is not None and done.is_over_budget:
            self._answer.record.went_over_budget(DIALOGUE)
        self.playout.finish(stamp.epoch, stamp.turn, stamp.revision, done.clauses)
        self._call.feed(
            fe.AnswerEnded(
                stamp.epoch,
                stamp.turn,
                stamp.revision,
                done.clauses,
                done.hangs_up,
                done.prompt_tokens,
                done.completion_tokens,
                done.error if done.HasField("error") else None,
            )
        )

    def _is_answer(self, stamp: common_pb2.Stamp) -> bool:
        answer = self._call.floor.answer
        return answer is not None and answer.is_of(stamp.epoch, stamp.turn, stamp.revision)

    def on_tool_call(self, tool: dialogue_pb2.ToolCall) -> bool:
        """A tool is called; returns whether that is the edge's business: a client runs none but the live answer's."""
        stamp = tool.stamp
        is_told = not tool.is_client or self._is_answer(stamp)
        self._call.feed(fe.ToolUsed(stamp.epoch, stamp.turn, stamp.revision, tool.is_client))
        if is_told:
            self._call.tell(edge.ToolCalled(stamp.turn, tool.call_id, tool.name, tool.arguments_json, tool.is_client))
        return is_told

    def on_tool_result(self, result: dialogue_pb2.ToolResult) -> None:
        """A tool has returned."""
        stamp = result.stamp
        self._call.feed(fe.ToolUsed(stamp.epoch, stamp.turn, stamp.revision, is_client=False))
        error = result.error if result.HasField("error") else None
        self._call.tell(edge.ToolReturned(stamp.turn, result.call_id, result.name, result.result_json, error))

    def on_speech(self, audio: tts_pb2.SpeechAudio, words: tuple[Word, ...]) -> bool:
        """Audio of a clause came; returns whether it was taken."""
        stamp, now_ns = audio.stamp, self._call.clock.now_ns()
        is_taken = self.playout.add_audio(
            stamp.epoch,
            stamp.turn,
            stamp.revision,
            audio.clause,
            audio.offset_samples,
            audio.pcm,
            words=words,
            is_last=audio.is_last,
            is_failed=audio.HasField("error"),
        )
        if not is_taken:
            counters.DROPPED.labels("stale_speech").inc()
            return False
        if self._record is not None:
            self._record.audio_came(now_ns, stamp.residence)
            if audio.is_over_budget:
                self._record.went_over_budget(TTS)
        if audio.HasField("error") and self._answer is not None:  # a draft's troubles are nobody's business yet
            self._call.tell(edge.Failed(audio.error))
        return True

    # --- speaking ---------------------------------------------------------------------------------------------------

    def play(self, now_ns: int) -> None:
        """Sends what is due."""
        call = self._call
        for output in self.playout.advance(now_ns):
            match output:
                case Frame(pcm, epoch, turn, offset, soonest_ns):
                    if self._answer is not None and self._answer.record.frame_ns is None:
                        self._answer.record.frame_ns = now_ns
                    if call.line is not None:
                        call.line.sent(pcm, offset, soonest_ns)
                    call.tell(edge.AgentAudio(pcm, epoch, turn, offset))
                case Began(turn, audible_ns):
                    self._on_audible(turn, audible_ns)
                case ClauseBegan(turn, clause, text):
                    self._call.tell(edge.AgentCaption(turn, clause, text))
                case RanDry(_, in_clause):
                    counters.UNDERRUNS.labels("in_clause" if in_clause else "between_clauses").inc()
                case HeardMark():
                    self._on_mark(output)

    def _on_audible(self, turn: int, audible_ns: int) -> None:
        answer = self._answer
        if answer is None:
            return
        record = answer.record
        record.audible_ns = audible_ns
        if record.audio_ns is not None:
            answer.trace.child(PLAYOUT, max(record.audio_ns, record.committed_ns), audible_ns)
        if record.v2v_ms is not None:
            hops_ms, span = record.hops_ms(), answer.trace.span
            telemetry.V2V.observe(record.v2v_ms / 1000, telemetry.exemplar_of(span))
            for name, ms in hops_ms.items():
                telemetry.V2V_HOP.labels(name).observe(ms / 1000, telemetry.exemplar_of(span))
            for name in (ENDPOINT, PLAYOUT):
                telemetry.observe_hop(name, hops_ms[name] / 1000, span)
            if 0 < self._call.settings.budget_ms < record.v2v_ms:
                counters.OVER_BUDGET.labels(max(hops_ms, key=lambda name: hops_ms[name])).inc()
        self._call.tell(edge.AnswerStarted(turn, record.v2v_ms))
        self._call.feed(fe.PlayoutBegan(turn))

    def _on_mark(self, mark: HeardMark) -> None:
        answer, call = self._answer, self._call
        headers = {}
        if answer is not None:
            answer.heard = mark
            headers = answer.trace.headers
        call.publish(subjects.TURN_HEARD, call.wire.heard(mark), headers)
        call.feed(fe.PlayoutEnded(mark.turn) if mark.is_complete else fe.PlayoutProgressed(mark.turn))

    def _cut(self, output: fe.CutPlayout, now_ns: int) -> None:
        call, answer = self._call, self._answer
        was_sent = self.playout.has_begun
        mark = self.playout.cut(now_ns)
        if mark is not None:
            headers = {} if answer is None else answer.trace.headers
            call.publish(subjects.TURN_HEARD, call.wire.heard(mark), headers)
            if answer is not None:
                answer.heard = mark
        if was_sent:
            self._call.tell(edge.Interrupted(output.turn, output.epoch, 0 if mark is None else mark.played_ms))
        if output.voice_samples is not None and was_sent:
            hops_ms = self._to_silence.hops_ms(call.ear.time_of(output.voice_samples), now_ns)
            telemetry.BARGE_IN.observe(sum(hops_ms.values()) / 1000)
            for name, ms in hops_ms.items():
                telemetry.observe_hop(f"barge_in.{name}", ms / 1000, None if answer is None else answer.trace.span)
            if answer is not None:
                answer.record.barge_in_hops_ms = hops_ms
            counters.OVERLAPS.labels("barge_in").inc()
        self._to_silence.went_on()

    def _close(self, output: fe.CloseAnswer) -> None:
        answer, self._answer = self._answer, None
        telemetry.TURNS.labels(output.end).inc()
        if answer is None or output.end == "resumed":
            return
        call, record = self._call, answer.record
        for hop in record.over_budget:
            counters.MISSED.labels(hop).inc()
        text = "" if answer.heard is None else answer.heard.text
        is_cut = output.end == "cut"
        tokens = (output.prompt_tokens, output.completion_tokens)
        self._call.tell(edge.AnswerDone(output.turn, text, is_cut, *tokens))
        words = {"caller": answer.commit.transcript, "agent": text} if call.settings.trace_pii else {}
        answer.trace.end(record, output.end, words)
        trace_id = answer.trace.trace_id
        done = call.wire.done(record, answer.commit.epoch, answer.commit.revision, end=output.end, trace_id=trace_id)
        call.publish(subjects.TURN_DONE, done, answer.trace.headers)
        self._call.tell(edge.TurnDone(output.turn, record.v2v_ms, record.hops_ms(), is_cut, trace_id))
