"""The decisions of a dialogue: which turn is answered, what is said, which tool runs, what is remembered. No I/O.

Events go in, `outputs` come out. An answer belongs to (epoch, turn, revision); whatever is older than the present one
is dropped by comparison. Tools run only in answer to a committed turn; a draft (`draft.py`) changes nothing before a
commit adopts it. A barge-in voids the answer and takes a hang-up back, but does not undo a booking. Only heard words
stay in the history.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from halfbeat.drop import DropReason
from halfbeat.errors import HalfbeatError
from services.dialogue.answer import Answer, AskAgain, Calls, Over, Speak, Step, Withhold
from services.dialogue.briefing import brief, grounding, once_more
from services.dialogue.conversation import Conversation, Exchange, SpokenClause
from services.dialogue.draft import Draft, Drafts, basis, plain
from services.dialogue.engine import AgentSaid, CallDelta, CallerSaid, Delta, Item, Note, Prompt, ToolRan
from services.dialogue.outputs import (
    AnswerKey,
    Ask,
    CancelTool,
    DraftEnded,
    Dropped,
    Finish,
    Halt,
    Output,
    Prefill,
    RunTool,
    Say,
    VoidDraft,
    Withheld,
)
from services.dialogue.read_ahead import FINAL_AFTER_S, ReadAhead
from services.dialogue.role import Cause, Role


class DialogueSession:
    """One call.

    Args:
        role: Who the agent is.
        opening: What the agent says first, word for word, when it is asked to speak first; empty lets the model do it.
        epoch: Of the session when it was opened.
        tool_rounds: After so many rounds of tools the model may only speak.
        draft_tokens: Once its first clause is there, a draft of so many tokens is not read any further.
    """

    def __init__(
        self, role: Role, opening: str = "", *, epoch: int = 0, tool_rounds: int = 1, draft_tokens: int = 32
    ) -> None:
        self.role = role
        self.opening = opening
        self.conversation = Conversation()
        self._epoch = epoch
        self._tool_rounds = tool_rounds
        self._draft_tokens = draft_tokens
        self._latest = (0, -1)
        self._drafts = Drafts()
        self._answer: Answer | None = None
        self._exchange = Exchange(0, 0, "")
        self._running: dict[str, tuple[AnswerKey, str]] = {}
        self._extra = ""
        self._calls_made = 0
        self._openers_said = 0
        self._read_ahead = ReadAhead()

    @property
    def epoch(self) -> int:
        """The newest epoch seen."""
        return self._epoch

    def is_current(self, key: AnswerKey) -> bool:
        """Whether this is the answer, or the draft, that forms now."""
        return any(forming is not None and forming.key == key for forming in (self._answer, self._drafts.live))

    def is_waiting(self, key: AnswerKey) -> bool:
        """Whether this draft is long enough: what follows is of use only once it is adopted."""
        draft = self._drafts.of(key)
        return draft is not None and draft.clause is not None and draft.written >= self._draft_tokens

    # Events.

    def on_opened(self) -> list[Output]:
        """The call begins: read the prompt before anything is said."""
        return [Prefill(self.prompt(extra=[AgentSaid(self.opening)] if self.opening else []))]

    def on_transcript(
        self, epoch: int, turn: int, revision: int, heard: str, *, is_final: bool = False
    ) -> list[Output]:
        """The caller speaks or has paused: read ahead. `heard` is all that was recognised, certain or not."""
        if epoch < self._epoch or (turn, revision) <= self._latest or self._is_forming:
            return []
        words = self._read_ahead.more(turn, revision, heard, is_final=is_final)
        if words is None:
            return []
        return [Prefill(self.prompt(extra=[CallerSaid(words)]), FINAL_AFTER_S if is_final else 0.0)]

    def on_drafted(self, epoch: int, turn: int, revision: int, transcript: str) -> list[Output]:
        """The caller's turn may be over: form the answer that is given if it is."""
        key = AnswerKey(epoch, turn, revision)
        reason = self._staleness(epoch, turn, revision) or self._drafts.staleness(key)
        if reason is not None:
            return [Dropped("turn.draft", reason)]
        outputs = self._advance(epoch)
        said = " ".join(transcript.split())
        if self._answer is not None or not said:
            return [*outputs, VoidDraft(key), DraftEnded("refused")]
        role = self.role.suppose(said)
        prompt = self._draft_prompt(key, said, role)
        answer = Answer(key, role, grounding(role, prompt.items))
        return [*outputs, *self._drafts.form(Draft(key, said, prompt, answer))]

    def on_resumed(self, epoch: int, turn: int, revision: int) -> list[Output]:
        """The caller goes on, under this revision from now on: a draft of an older one is void."""
        return [] if epoch < self._epoch else self._drafts.on_resumed(turn, revision)

    def on_updated(self, role: Role) -> list[Output]:
        """The agent is somebody else from the next answer on."""
        self.role = role
        return self._recheck_draft()

    def on_committed(
        self,
        epoch: int,
        turn: int,
        revision: int,
        transcript: str,
        *,
        wants_answer: bool = True,
        is_prompted: bool = False,
        instructions: str = "",
        adopts_draft: bool = False,
        cause: Cause = Cause.NONE,
    ) -> list[Output]:
        """The caller's turn is over, or a newer revision of it: answer it, and nothing older any more."""
        reason = self._staleness(epoch, turn, revision)
        if reason is not None:
            return [Dropped("turn.commit", reason)]
        key = AnswerKey(epoch, turn, revision)
        draft = self._drafts.take(key) if adopts_draft and wants_answer else None
        outputs = self._advance(epoch)
        outputs += self._void()
        if self._drafts.live is not None and self._drafts.live.key > key:
            outputs.append(VoidDraft(self._drafts.live.key))
        outputs += [*self._drafts.drop("passed"), *self._drafts.forget()]
        self._latest = (turn, revision)
        said = heard = " ".join(transcript.split())
        if draft is not None and plain(draft.said) == plain(said):
            said = draft.said  # as the model has read it
        self._exchange = self.conversation.begin(turn, revision, said)
        self._extra = instructions
        self.role.stay()
        self.role.hear(heard)
        if not wants_answer or not (said or is_prompted):
            return [*outputs, Prefill(self.prompt())]
        if draft is not None:
            return [*outputs, *self._adopt(draft)]
        self._answer = Answer(key, self.role, grounding(self.role, self.conversation.items()))
        if not said and (words := self._known_words(cause)):
            return [*outputs, *self._do(self._answer, [*self._answer.say(words), Over()])]
        return [*outputs, Ask(key, self.prompt())]

    def on_over_budget(self, key: AnswerKey) -> list[Output]:
        """There should be a sound by now: say an opener, unless something was said or a tool is at work."""
        answer, openers = self._late(key), self.role.openers
        if answer is None or not self._exchange.said or self._exchange.clauses or not openers:
            return []
        answer.is_over_budget = True
        opener = openers[self._openers_said % len(openers)]
        self._openers_said += 1
        return self._do(answer, answer.open(opener))

    def on_still_late(self, key: AnswerKey) -> list[Output]:
        """The opener was said a while ago: if nothing followed yet, a filler keeps the caller from going on."""
        answer, filler = self._late(key), self.role.filler("")
        if answer is None or not answer.is_over_budget or len(self._exchange.clauses) != 1:
            return []
        return self._fill(answer, filler)

    def _late(self, key: AnswerKey) -> Answer | None:
        """This answer, if it forms and waits for the model."""
        is_at_work = any(running == key for running, _ in self._running.values())
        return self._answer if self._answer is not None and self._answer.key == key and not is_at_work else None

    def on_delta(self, key: AnswerKey, delta: Delta) -> list[Output]:
        """The model streams."""
        if draft := self._drafts.of(key):
            return draft.on_delta(delta)
        if self._answer is None or self._answer.key != key:
            return []
        return self._do(self._answer, self._answer.on_delta(delta))

    def on_failure(self, key: AnswerKey, error: HalfbeatError) -> list[Output]:
        """The model failed for good: apologise, or do without the draft."""
        if self._drafts.of(key):
            return [*self._drafts.drop("failed"), VoidDraft(key)]
        if self._answer is None or self._answer.key != key:
            return []
        return self._do(self._answer, self._answer.fail(error))

    def on_tool_slow(self, call_id: str) -> list[Output]:
        """The tool has run for a while: say its filler."""
        key, name = self._running.get(call_id, (None, ""))
        filler = self.role.filler(name)
        if key is None or self._answer is None or self._answer.key != key:
            return []
        return self._fill(self._answer, filler)

    def _fill(self, answer: Answer, filler: str | None) -> list[Output]:
        """Say a filler, but not after the same words or another one."""
        if not filler or any(said.is_filler or said.text == filler for said in self._exchange.clauses[-1:]):
            return []
        return self._do(answer, [Speak(filler, is_filler=True)])

    def on_tool_result(
        self, call_id: str, result: dict[str, Any], *, say: str | None = None, error: HalfbeatError | None = None
    ) -> list[Output]:
        """A tool is done. Its result is kept in any case; it is spoken if its answer is still wanted."""
        return [*self._take_result(call_id, result, say, error), *self._recheck_draft()]

    def _take_result(
        self, call_id: str, result: dict[str, Any], say: str | None, error: HalfbeatError | None
    ) -> list[Output]:
        key, _ = self._running.pop(call_id, (None, ""))
        known = result if say is None else {**result, "said": say}
        is_wanted = key is not None and self._answer is not None and self._answer.key == key
        result_json = json.dumps(known, default=str)
        was_said = say is not None or (self._answer is not None and self._answer.knew_words)
        is_spoken = is_wanted and (was_said or error is not None)
        found = any(
            exchange.set_result(call_id, result_json, is_spoken=is_spoken)
            for exchange in reversed(self.conversation.exchanges)
        )
        if not found:
            return [Dropped("tool.result", DropReason.STALE_TURN)]
        if not is_wanted or self._answer is None:
            return []
        answer = self._answer
        if error is not None:
            answer.waiting.clear()
            return self._do(answer, answer.fail(error))
        outputs: list[Output] = []
        if say is not None:
            outputs += self._do(answer, answer.say(say))
        elif not was_said:
            answer.has_said_all = False
        if answer.waiting:
            call = answer.waiting.pop(0)
            return [*outputs, *self._do(answer, answer.before_tool(call.name)), *self._run(answer, call)]
        if answer.has_said_all:
            return [*outputs, *self._do(answer, [Over()])]
        answer.rounds += 1
        answer.has_said_all = True
        answer.grounding = grounding(self.role, self.conversation.items())
        return [*outputs, Ask(answer.key, self.prompt(rounds=answer.rounds))]

    def on_heard(
        self, turn: int, revision: int, clause: int, chars: int, *, is_complete: bool = False, is_cut: bool = False
    ) -> list[Output]:
        """The caller's end has played so far; also of an answer that is void by now."""
        exchange = self.conversation.find(turn, revision)
        if exchange is None:
            return [Dropped("turn.heard", DropReason.STALE_TURN)]
        exchange.hear(clause, chars, is_complete=is_complete, is_cut=is_cut)
        voided = self._recheck_draft()
        return [*voided, Prefill(self.prompt())] if is_cut and not self._is_forming else voided

    def on_epoch(self, epoch: int) -> list[Output]:
        """What we said or were about to say is void."""
        if epoch <= self._epoch:
            return [Dropped("session.epoch", DropReason.STALE_EPOCH)] if epoch < self._epoch else []
        return self._advance(epoch)

    # Decisions.

    def _staleness(self, epoch: int, turn: int, revision: int) -> DropReason | None:
        if epoch < self._epoch:
            return DropReason.STALE_EPOCH
        if (turn, revision) == self._latest:
            return DropReason.DUPLICATE
        if turn < self._latest[0]:
            return DropReason.STALE_TURN
        return DropReason.STALE_REVISION if (turn, revision) < self._latest else None

    def _advance(self, epoch: int) -> list[Output]:
        if epoch <= self._epoch:
            return []
        self._epoch = epoch
        self.role.stay()
        cancelled = [
            call_id
            for call_id, (key, name) in self._running.items()
            if key.epoch < epoch and self.role.cancels_on_barge_in(name)
        ]
        outputs: list[Output] = []
        for call_id in cancelled:
            del self._running[call_id]
            self._exchange.set_result(call_id, '{"error":"cancelled by the caller"}', is_spoken=False)
            outputs.append(CancelTool(call_id))
        if self._exchange.parts and not self._exchange.is_complete:
            self._exchange.is_cut = True
        return [*outputs, *self._void(), *self._drafts.drop("epoch")]

    @property
    def _is_forming(self) -> bool:
        return self._answer is not None or self._drafts.live is not None

    def _adopt(self, draft: Draft) -> list[Output]:
        """Make the draft the answer: what the model has streamed is read again, now in earnest."""
        prompt = self.prompt()
        is_same = basis(prompt) == basis(draft.prompt)
        answer = Answer(draft.key, self.role, grounding(self.role, prompt.items), retries=draft.answer.retries)
        self._answer = answer
        outputs: list[Output] = [DraftEnded("adopted" if is_same and not draft.is_void else "changed")]
        if draft.clause is not None:  # the router lets it sound
            answer.already = draft.clause.text
            self._exchange.parts.append(SpokenClause(draft.clause.text, is_opener=draft.clause.is_opener))
        if draft.is_void or (draft.clause is None and not is_same):
            return [*outputs, *self._drafts.waste(draft), Ask(draft.key, prompt)]
        for delta in draft.deltas:
            outputs += self._do(answer, answer.on_delta(delta))
            if self._answer is not answer or isinstance(outputs[-1], Ask):
                break
        return outputs

    def _recheck_draft(self) -> list[Output]:
        """Something has changed; a draft that would be another one now must not be adopted."""
        if (draft := self._drafts.live) is None:
            return []
        return self._drafts.recheck(self._draft_prompt(draft.key, draft.said, self.role.suppose(draft.said)))

    def _known_words(self, cause: Cause) -> str | None:
        if cause is Cause.OPENING:
            return self.opening
        if cause is Cause.GOODBYE:
            self.role.leave()
        return self.role.words_for(cause)

    def _void(self) -> list[Output]:
        """Nothing more of the present answer: stop the model; tools that run go on to their end."""
        if self._answer is None:
            return []
        key = self._answer.key
        self._answer = None
        return [Halt(key)]

    def _do(self, answer: Answer, steps: Sequence[Step]) -> list[Output]:
        outputs: list[Output] = []
        for step in steps:
            match step:
                case Speak(text, is_filler, is_opener):
                    index = len(self._exchange.clauses)
                    self._exchange.parts.append(SpokenClause(text, is_filler, is_opener=is_opener))
                    is_late = answer.is_over_budget and not index
                    outputs.append(Say(answer.key, index, text, is_filler, is_over_budget=is_late))
                case Withhold(why):
                    outputs.append(Withheld(why))
                case Calls(calls):
                    answer.waiting.extend(calls[1:])
                    outputs += [Halt(answer.key), *self._run(answer, calls[0])]
                case AskAgain(why):
                    prompt = once_more(self.prompt(rounds=answer.rounds))
                    outputs += [Withheld(why), Ask(answer.key, prompt, is_retry=True)]
                case Over(error):
                    outputs += self._finish(answer, error)
        return outputs

    def _run(self, answer: Answer, call: CallDelta) -> list[Output]:
        self._calls_made += 1
        call_id = call.call_id or f"call-{answer.key.turn}-{answer.key.revision}-{self._calls_made}"
        is_client = self.role.is_client_tool(call.name)
        self._exchange.parts.append(ToolRan(call_id, call.name, call.arguments_json, None))
        self._running[call_id] = (answer.key, call.name)
        return [RunTool(answer.key, call_id, call.name, call.arguments_json, is_client, self.role.filler(call.name))]

    def _finish(self, answer: Answer, error: HalfbeatError | None) -> list[Output]:
        self._answer = None
        finish = Finish(
            answer.key,
            len(self._exchange.clauses),
            answer.usage,
            self.role.is_hanging_up and error is None,
            error,
            self._drafts.take_wasted(),
            answer.is_over_budget,
        )
        return [Halt(answer.key), finish, *self._prefill_after_answer()]

    def _prefill_after_answer(self) -> list[Output]:
        """While the answer is played, the model reads it; if it is cut, that much was read for nothing."""
        if self.role.is_hanging_up:
            return []
        return [Prefill(self.prompt(assume_heard=True))]

    def prompt(self, *, assume_heard: bool = False, rounds: int = 0, extra: Sequence[Item] = ()) -> Prompt:
        """What the model is told now."""
        items = self.conversation.items(assume_heard=assume_heard or rounds > 0)
        notes = [Note(self._extra)] if self._extra else []
        return brief(self.role, [*items, *extra, *notes], is_speech_only=rounds >= self._tool_rounds)

    def _draft_prompt(self, key: AnswerKey, said: str, role: Role) -> Prompt:
        """What the model would be told if this turn was committed now."""
        return brief(role, self.conversation.supposing(key.turn, key.revision, said).items())
