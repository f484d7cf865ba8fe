"""Builds the messages of one session: their numbers, and on the first clause of an answer where its time went."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from halfbeat import telemetry
from halfbeat.bus import Delivery
from halfbeat.v1 import common_pb2, dialogue_pb2, tts_pb2
from services.dialogue.outputs import AnswerKey, Finish, Say


class Wire:
    """See the module."""

    def __init__(self, sid: str, *, trace_pii: bool) -> None:
        self._sid, self._trace_pii = sid, trace_pii
        self._seq: dict[tuple[str, int], int] = {}
        self._received_ns = time.monotonic_ns()
        self._residence = telemetry.Residence("dialogue", self._received_ns)
        self._upstream: Sequence[common_pb2.Residence] = ()
        self._budget_ms = 0
        self._has_stamped = True
        self.headers: Mapping[str, str] = {}

    def begin(self, delivery: Delivery, stamp: common_pb2.Stamp, budget_ms: int) -> None:
        """This message is to be answered; its budget counts from its arrival."""
        self.headers = delivery.headers
        self._upstream = list(stamp.residence)
        self._received_ns = delivery.received_ns
        self._residence = telemetry.Residence("dialogue", delivery.received_ns)
        self._residence.start()
        self._budget_ms = budget_ms
        self._has_stamped = False

    def adopt(self, delivery: Delivery, stamp: common_pb2.Stamp, budget_ms: int) -> None:
        """The draft becomes the answer; a first clause that is not out yet has the budget of the commit."""
        if self._has_stamped:
            self.headers = delivery.headers
        else:
            self.begin(delivery, stamp, budget_ms)

    @property
    def spent_ms(self) -> int:
        """Since the message that is being answered arrived."""
        return max(0, time.monotonic_ns() - self._received_ns) // 1_000_000

    def stamp(self, kind: str, key: AnswerKey) -> common_pb2.Stamp:
        """The next stamp of this kind; none is counted for an empty kind."""
        stamp = common_pb2.Stamp(sid=self._sid, epoch=key.epoch, turn=key.turn, revision=key.revision)
        if kind:
            stamp.seq = self._seq[kind, key.epoch] = self._seq.get((kind, key.epoch), -1) + 1
        return stamp

    def clause(self, say: Say) -> dialogue_pb2.Clause:
        """A clause; the first one of an answer carries residence, what is left of the budget, and makes a span."""
        message = dialogue_pb2.Clause(
            stamp=self.stamp("clause", say.key),
            index=say.index,
            text=say.text,
            is_filler=say.is_filler,
            is_draft=say.is_draft,
        )
        if self._has_stamped:
            return message
        self._has_stamped = True
        if self._budget_ms:  # 0 says that it is not known
            message.budget_left_ms = max(1, self._budget_ms - self.spent_ms)
        message.stamp.residence.extend(self._upstream)
        self._residence.stamp_on(message.stamp)
        work_us = message.stamp.residence[-1].work_us
        span = telemetry.start_span(
            "llm.clause",
            message.stamp,
            context=telemetry.context_of(self.headers),
            start_ns=time.time_ns() - work_us * 1000,
        )
        span.set_attribute("halfbeat.is_draft", say.is_draft)
        span.set_attribute("halfbeat.over_budget", say.is_over_budget)
        if self._trace_pii:
            span.set_attribute("pii.text", say.text)
        span.end()
        telemetry.observe_hop("llm.clause", work_us / 1e6, span)
        return message

    def done(self, finish: Finish) -> dialogue_pb2.AnswerDone:
        """The answer is over."""
        message = dialogue_pb2.AnswerDone(
            stamp=self.stamp("done", finish.key),
            clauses=finish.clauses,
            prompt_tokens=finish.usage.prompt_tokens,
            cached_tokens=finish.usage.cached_tokens,
            completion_tokens=finish.usage.completion_tokens,
            hangs_up=finish.hangs_up,
            wasted_tokens=finish.wasted_tokens,
            is_over_budget=finish.is_over_budget,
        )
        if finish.error is not None:
            message.error.CopyFrom(finish.error.to_message())
        return message

    def void(self, key: AnswerKey) -> dialogue_pb2.DraftVoided:
        """This draft must not be adopted."""
        return dialogue_pb2.DraftVoided(stamp=self.stamp("void", key))

    def prepare(self, epoch: int, texts: Sequence[str]) -> tts_pb2.PrepareSpeech:
        """These clauses are likely to be needed."""
        return tts_pb2.PrepareSpeech(stamp=self.stamp("prepare", AnswerKey(epoch, 0, 0)), texts=texts)
