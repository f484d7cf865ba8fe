"""What the floor decides, as messages of the bus, and what it is told by them. No I/O."""

from collections import defaultdict

from halfbeat import subjects
from halfbeat.v1 import asr_pb2, audio_pb2, common_pb2, dialogue_pb2, session_pb2, tts_pb2, turn_pb2
from services.router import floor_events as fe
from services.router.ear import Heard
from services.router.heard import HeardMark, Word
from services.router.turn_record import TurnRecord

_ENDPOINTS = {
    "eager": turn_pb2.ENDPOINT_KIND_EAGER,
    "committed": turn_pb2.ENDPOINT_KIND_COMMITTED,
    "resumed": turn_pb2.ENDPOINT_KIND_RESUMED,
}
_PROMPTS = {
    "": turn_pb2.PROMPT_CAUSE_UNSPECIFIED,
    "opening": turn_pb2.PROMPT_CAUSE_OPENING,
    "client": turn_pb2.PROMPT_CAUSE_CLIENT,
    "silence": turn_pb2.PROMPT_CAUSE_SILENCE,
    "silence_again": turn_pb2.PROMPT_CAUSE_SILENCE_AGAIN,
    "goodbye": turn_pb2.PROMPT_CAUSE_GOODBYE,
}
_CAUSES = {
    "barge_in": session_pb2.EPOCH_CAUSE_BARGE_IN,
    "resumed": session_pb2.EPOCH_CAUSE_RESUMED,
    "cancelled": session_pb2.EPOCH_CAUSE_CANCELLED,
}


class Wire:
    """Builds one session's messages and numbers them per kind and epoch."""

    def __init__(self, sid: str) -> None:
        self._sid = sid
        self._seqs: dict[tuple[subjects.Kind, int], int] = defaultdict(int)

    def stamp(self, kind: subjects.Kind, epoch: int, turn: int, revision: int) -> common_pb2.Stamp:
        """Returns the next stamp of this kind."""
        seq = self._seqs[kind, epoch]
        self._seqs[kind, epoch] = seq + 1
        return common_pb2.Stamp(sid=self._sid, epoch=epoch, turn=turn, revision=revision, seq=seq)

    def audio(self, frame: Heard, epoch: int, turn: int, revision: int) -> audio_pb2.AudioFrame:
        """A frame of the caller."""
        return audio_pb2.AudioFrame(
            stamp=self.stamp(subjects.ASR_AUDIO, epoch, turn, revision),
            offset_samples=frame.offset_samples,
            pcm=frame.pcm,
            is_speech=frame.is_speech,
        )

    def control(self, output: fe.Recognise, epoch: int) -> asr_pb2.AsrControl:
        """A command to the recogniser."""
        message = asr_pb2.AsrControl(stamp=self.stamp(subjects.ASR_CONTROL, epoch, output.turn, output.revision))
        match output.command:
            case "speech_started":
                message.speech_started.offset_samples = output.offset_samples
            case "flush":
                message.flush.offset_samples = output.offset_samples
            case _:
                message.reset.SetInParent()
        return message

    def endpoint(self, output: fe.Announce, epoch: int) -> turn_pb2.Endpoint:
        """A decision about the end of the turn."""
        return turn_pb2.Endpoint(
            stamp=self.stamp(subjects.TURN_ENDPOINT, epoch, output.turn, output.revision),
            kind=_ENDPOINTS[output.kind],
            probability=output.probability,
            silence_ms=output.silence_ms,
            speech_end_samples=output.speech_end_samples,
            cause=output.cause,
        )

    def draft(self, output: fe.Draft, budget_left_ms: int) -> turn_pb2.TurnDrafted:
        """An answer is asked for before the turn is known to be over."""
        return turn_pb2.TurnDrafted(
            stamp=self.stamp(subjects.TURN_DRAFT, output.epoch, output.turn, output.revision),
            transcript=output.transcript,
            budget_left_ms=budget_left_ms,
        )

    def commit(self, output: fe.Commit, budget_left_ms: int) -> turn_pb2.TurnCommitted:
        """The commit gate opens."""
        return turn_pb2.TurnCommitted(
            stamp=self.stamp(subjects.TURN_COMMIT, output.epoch, output.turn, output.revision),
            transcript=output.transcript,
            budget_left_ms=budget_left_ms,
            is_prompted=output.is_prompted,
            instructions=output.instructions,
            wants_answer=output.wants_answer,
            adopts_draft=output.adopts_draft,
            prompt_cause=_PROMPTS[output.prompt_cause],
        )

    def epoch(self, output: fe.AdvanceEpoch) -> session_pb2.EpochAdvanced:
        """Everything older is void."""
        return session_pb2.EpochAdvanced(
            stamp=self.stamp(subjects.SESSION_EPOCH, output.epoch, output.turn, output.revision),
            cause=_CAUSES[output.cause],
        )

    def heard(self, mark: HeardMark) -> turn_pb2.Heard:
        """What was heard, stamped as the answer was."""
        return turn_pb2.Heard(
            stamp=self.stamp(subjects.TURN_HEARD, mark.epoch, mark.turn, mark.revision),
            clause=mark.clause,
            chars=mark.chars,
            played_ms=mark.played_ms,
            is_complete=mark.is_complete,
            is_cut=mark.is_cut,
        )

    def done(self, record: TurnRecord, epoch: int, revision: int, *, end: str, trace_id: str) -> turn_pb2.TurnDone:
        """The turn is over."""
        return turn_pb2.TurnDone(
            stamp=self.stamp(subjects.TURN_DONE, epoch, record.turn, revision),
            v2v_ms=record.v2v_ms,
            hops_ms=record.hops_ms(),
            is_interrupted=end == "cut",
            barge_in_ms=record.barge_in_ms,
            barge_in_hops_ms=record.barge_in_hops_ms,
            trace_id=trace_id,
            drafts=record.drafts,
            is_draft_adopted=record.is_draft_adopted,
            over_budget=record.over_budget,
        )


def event_of(message: asr_pb2.Transcript | dialogue_pb2.DraftVoided) -> fe.FloorEvent:
    """Returns what the floor is told of a message."""
    stamp = message.stamp
    if isinstance(message, dialogue_pb2.DraftVoided):
        return fe.DraftVoided(stamp.epoch, stamp.turn, stamp.revision)
    text = " ".join(part for part in (message.stable, message.unstable) if part).strip()
    return fe.TranscriptArrived(stamp.turn, stamp.revision, text, message.is_final)


def words_of(audio: tts_pb2.SpeechAudio) -> tuple[Word, ...]:
    """Returns the word timings of a message."""
    return tuple(Word(w.char_start, w.char_end, w.start_samples, w.end_samples) for w in audio.words)
