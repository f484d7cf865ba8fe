"""The decisions of a dialogue: which turn is answered, what is said, which tool runs, what is remembered. No I/O.

Events go in, `outputs` come out. An answer belongs to (epoch, turn, revision); whatever is older than the present one
is dropped by comparison. Tools run only in answer to a committed turn. A barge-in voids the answer and takes a hang-up
back, but does not undo a booking. Only heard words stay in the history.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from halfbeat.drop import DropReason
from halfbeat.errors import HalfbeatError
from services.dialogue.answer import Answer, AskAgain, Calls, Limits, Over, Speak, Step
from services.dialogue.conversation import Conversation, Exchange, SpokenClause
from services.dialogue.engine import AgentSaid, CallDelta, CallerSaid, Delta, Item, Note, Prompt, ToolRan, Usage
from services.dialogue.grounding import Grounding
from services.dialogue.outputs import (
    AnswerKey,
    Ask,
    CancelTool,
    Dropped,
    Finish,
    Halt,
    Output,
    Prefill,
    RunTool,
    Say,
    Withheld,
)
from services.dialogue.role import Role

#: Told to the model when its first try was not fit to be spoken.
ONCE_MORE = "Answer in one short sentence without any number, time, date or promise."
#: A caller's words are read ahead once so many new ones are certain.
PREFILL_WORDS = 3


class DialogueSession:
    """One call.

    Args:
        role: Who the agent is.
        opening: What the agent says first, word for word, when it is asked to speak first; empty lets the model do it.
        epoch: Of the session when it was opened.
        tool_rounds: After so many rounds of tools the model may only speak.
    """

    def __init__(self, role: Role, opening: str = "", *, epoch: int = 0, tool_rounds: int = 1) -> None:
        self.role = role
        self.opening = opening
        self.conversation = Conversation()
        self._epoch = epoch
        self._tool_rounds = tool_rounds
        self._latest = (0, -1)
        self._answer: Answer | None = None
        self._exchange = Exchange(0, 0, "")
        self._running: dict[str, tuple[AnswerKey, str]] = {}
        self._extra = ""
        self._calls_made = 0
        self._prefilled = (0, 0, 0)

    @property
    def epoch(self) -> int:
        """The newest epoch seen."""
        return self._epoch

    def is_current(self, key: AnswerKey) -> bool:
        """Whether this is the answer that forms now."""
        return self._answer is not None and self._answer.key == key

    # Events.

    def on_opened(self) -> list[Output]:
        """The call begins: read the prompt before anything is said."""
        return [Prefill(self.prompt(extra=[AgentSaid(self.opening)] if self.opening else []))]

    def on_transcript(
        self, epoch: int, turn: int, revision: int, stable: str, *, is_final: bool = False
    ) -> list[Output]:
        """The caller speaks or has paused: read ahead what is certain.

        That is all but the last word, which may yet grow; of a final transcript, which comes at the first pause and
        mostly before the turn is committed, every word.
        """
        words = stable.split()
        if epoch < self._epoch or (turn, revision) <= self._latest or self._answer is not None:
            return []
        if (turn, revision) != self._prefilled[:2]:
            self._prefilled = (turn, revision, 0)
        certain = len(words) if is_final else len(words) - 1
        if certain - self._prefilled[2] < (1 if is_final else PREFILL_WORDS):
            return []
        self._prefilled = (turn, revision, certain)
        return [Prefill(self.prompt(extra=[CallerSaid(" ".join(words[:certain]))]))]

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
    ) -> list[Output]:
        """The caller's turn is over, or a newer revision of it: answer it, and nothing older any more."""
        reason = self._staleness(epoch, turn, revision)
        if reason is not None:
            return [Dropped("turn.commit", reason)]
        outputs = self._advance(epoch)
        outputs += self._void()
        self._latest = (turn, revision)
        said = " ".join(transcript.split())
        self._exchange = self.conversation.begin(turn, revision, said)
        self._extra = instructions
        self.role.stay()
        self.role.hear(said)
        if not wants_answer or not (said or is_prompted):
            return [*outputs, Prefill(self.prompt())]
        self._answer = Answer(AnswerKey(epoch, turn, revision), self._limits())
        if turn == 0 and not said and self.opening:
            return [*outputs, *self._do(self._answer, [*self._answer.say(self.opening), Over()])]
        return [*outputs, Ask(self._answer.key, self.prompt())]

    def on_delta(self, key: AnswerKey, delta: Delta) -> list[Output]:
        """The model streams."""
        if self._answer is None or self._answer.key != key:
            return []
        return self._do(self._answer, self._answer.on_delta(delta))

    def on_failure(self, key: AnswerKey, error: HalfbeatError) -> list[Output]:
        """The model failed for good: apologise."""
        if self._answer is None or self._answer.key != key:
            return []
        return self._do(self._answer, self._answer.fail(error))

    def on_tool_slow(self, call_id: str) -> list[Output]:
        """The tool has run for a while: say its filler."""
        key, name = self._running.get(call_id, (None, ""))
        filler = self.role.filler(name)
        if key is None or not filler or self._answer is None or self._answer.key != key:
            return []
        return self._do(self._answer, [Speak(filler, is_filler=True)])

    def on_tool_result(
        self, call_id: str, result: dict[str, Any], *, say: str | None = None, error: HalfbeatError | None = None
    ) -> list[Output]:
        """A tool is done. Its result is kept in any case; it is spoken if its answer is still wanted."""
        key, _ = self._running.pop(call_id, (None, ""))
        known = result if say is None else {**result, "said": say}
        is_wanted = key is not None and self._answer is not None and self._answer.key == key
        result_json = json.dumps(known, default=str)
        is_spoken = is_wanted and (say is not None or error is not None)
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
        else:
            answer.has_said_all = False
        if answer.waiting:
            return [*outputs, *self._run(answer, answer.waiting.pop(0))]
        if answer.has_said_all:
            return [*outputs, *self._do(answer, [Over()])]
        answer.rounds += 1
        answer.has_said_all = True
        answer.limits = self._limits()
        return [*outputs, Ask(answer.key, self.prompt(rounds=answer.rounds))]

    def on_heard(
        self, turn: int, revision: int, clause: int, chars: int, *, is_complete: bool = False, is_cut: bool = False
    ) -> list[Output]:
        """The caller's end has played so far; also of an answer that is void by now."""
        exchange = self.conversation.find(turn, revision)
        if exchange is None:
            return [Dropped("turn.heard", DropReason.STALE_TURN)]
        exchange.hear(clause, chars, is_complete=is_complete, is_cut=is_cut)
        return [Prefill(self.prompt())] if is_cut and self._answer is None else []

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
        return [*outputs, *self._void()]

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
                case Speak(text, is_filler):
                    index = len(self._exchange.clauses)
                    self._exchange.parts.append(SpokenClause(text, is_filler))
                    outputs.append(Say(answer.key, index, text, is_filler))
                case Calls(calls):
                    answer.waiting.extend(calls[1:])
                    outputs += [Halt(answer.key), *self._run(answer, calls[0])]
                case AskAgain(why):
                    prompt = self.prompt(rounds=answer.rounds, extra=[Note(ONCE_MORE)])
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
            answer.key, len(self._exchange.clauses), answer.usage, self.role.is_hanging_up and error is None, error
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
        return Prompt(
            instructions=self.role.instructions,
            shots=self.role.shots,
            facts=self.role.facts,
            tools=self.role.tools(),
            items=[*items, *extra, *notes],
            is_speech_only=rounds >= self._tool_rounds,
        )

    def _limits(self) -> Limits:
        role = self.role
        grounding: Grounding | None = None
        if role.fallback is not None:
            known, caller = [role.instructions, *role.facts], []
            for item in self.conversation.items():
                match item:
                    case CallerSaid(text):
                        caller.append(text)
                    case AgentSaid(text):
                        known.append(text)
                    case ToolRan():
                        known += [item.arguments_json, item.result_json or ""]
            grounding = Grounding(known, caller)
        return Limits(grounding, role.may_say, role.fallback or role.apology, role.apology)


def spent(usage: Usage) -> dict[str, int]:
    """Tokens by kind, for the counters."""
    return {
        "prompt": usage.prompt_tokens - usage.cached_tokens,
        "cached": usage.cached_tokens,
        "completion": usage.completion_tokens,
    }
