"""Whatever comes in whatever order: one generation at a time, no tool for a void draft, and only heard words remain."""

from collections.abc import Sequence

from dialogue_role import FakeRole
from hypothesis import given, settings
from hypothesis import strategies as st

from services.dialogue.engine import AgentSaid, CallDelta, Finished, TextDelta, ToolRan, Usage
from services.dialogue.outputs import (
    AnswerKey,
    Ask,
    CancelTool,
    DraftEnded,
    Finish,
    Halt,
    Output,
    Prefill,
    RunTool,
    Say,
    VoidDraft,
)
from services.dialogue.session import DialogueSession

WORDS = ("send a truck", "Send a truck.", "and a text", "no wait")
TEXTS = ("Sure, ", "I can do that. ", "It comes ", "at 9 AM. ", "Is there ", "anything else? ")
OPS = (
    "draft", "commit", "adopt", "resume", "epoch", "hear", "text", "text", "call", "finish", "result", "late",
    "slow", "partial", "add", "fail",
)  # fmt: skip


class World:
    """The router, the model, the tools and the caller's ear of one session, as simple as can be."""

    def __init__(self) -> None:
        role = FakeRole("book", "bye")
        role.tool_openers, role.known, role.fillers = {"book": "Okay,"}, {"bye": "Bye. Take care."}, {"book": "Wait."}
        role.cancelling = {"bye"}
        self.session = DialogueSession(role, draft_tokens=3)
        self.epoch, self.turn, self.revision = 0, 1, 0
        self.draft: tuple[AnswerKey, str] | None = None
        self.voided: set[AnswerKey] = set()
        self.answered: AnswerKey | None = None
        self.streaming: AnswerKey | None = None
        self.running: dict[str, AnswerKey] = {}
        self.clauses: dict[AnswerKey, dict[int, tuple[str, bool]]] = {}
        self.heard: dict[tuple[int, int], tuple[AnswerKey, int, int]] = {}
        self.ends: dict[AnswerKey, int] = {}

    def step(self, op: str, number: int) -> None:
        session, words = self.session, WORDS[number % len(WORDS)]
        match op:
            case "draft" if self.draft is None:
                key = AnswerKey(self.epoch, self.turn, self.revision)
                self.draft = (key, words)
                self.do(session.on_drafted(key.epoch, key.turn, key.revision, words))
            case "commit":
                if self.draft is not None:
                    self.revision += 1
                self.commit(words, adopts=False)
            case "adopt" if self.draft is not None:
                self.commit(self.draft[1], adopts=True)  # also one that was voided meanwhile
            case "resume":
                self.revision += 1
                self.draft = None
                self.do(session.on_resumed(self.epoch, self.turn, self.revision))
            case "epoch":
                self.epoch += 1
                self.draft, self.answered = None, None
                self.do(session.on_epoch(self.epoch))
            case "hear":
                self.hear(number)
            case "text" if self.streaming is not None:
                self.do(session.on_delta(self.streaming, TextDelta(TEXTS[number % len(TEXTS)])))
            case "call" if self.streaming is not None:
                key = self.streaming
                self.do(session.on_delta(key, CallDelta("", ("book", "bye")[number % 2], "{}")))
                self.finish(key, "tool")
            case "finish" if self.streaming is not None:
                self.finish(self.streaming, "stop")
            case "fail" if self.streaming is not None:
                from halfbeat.errors import EngineFailed

                key, self.streaming = self.streaming, None
                self.do(session.on_failure(key, EngineFailed("gone")))
            case "result" if self.running:
                call_id = sorted(self.running)[number % len(self.running)]
                del self.running[call_id]
                self.do(session.on_tool_result(call_id, {"ref": number}, say="Okay, done." if number % 3 else None))
            case "late" if self.answered is not None:
                self.do(session.on_over_budget(self.answered))
            case "slow" if self.running:
                self.do(session.on_tool_slow(min(self.running)))
            case "partial":
                text = " ".join(["word"] * number)
                self.do(session.on_transcript(self.epoch, self.turn, self.revision, text, is_final=number % 2 == 0))
            case "add":
                self.turn, self.revision, self.draft, self.answered = self.turn + 1, 0, None, None
                self.do(session.on_committed(self.epoch, self.turn, 0, "By the way", wants_answer=False))
                self.turn += 1

    def commit(self, words: str, *, adopts: bool) -> None:
        key = AnswerKey(self.epoch, self.turn, self.revision)
        self.draft, self.answered = None, key
        before = self.clauses.get(key, {}) if adopts else {}
        self.clauses[key] = dict(before)
        self.do(self.session.on_committed(key.epoch, key.turn, key.revision, words, adopts_draft=adopts))
        self.turn, self.revision = self.turn + 1, 0

    def finish(self, key: AnswerKey, reason: str) -> None:
        self.do(self.session.on_delta(key, Usage(5, 1, 3)))
        if self.streaming == key:
            outputs = self.session.on_delta(key, Finished(reason))
            self.streaming = None
            self.do(outputs)

    def hear(self, number: int) -> None:
        """The caller hears up to a random place of the answer that sounds, which only the router's marks tell."""
        key = self.answered
        if key is None or not self.clauses.get(key):
            return
        clause = min(number % 4, max(self.clauses[key]))
        chars = number % 12
        former = self.heard.get((key.turn, key.revision), (key, -1, 0))
        if (clause, chars) >= former[1:]:
            self.heard[key.turn, key.revision] = (key, clause, chars)
            self.do(self.session.on_heard(key.turn, key.revision, clause, chars, is_cut=number % 5 == 0))

    def do(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            match output:
                case Ask(key):
                    assert self.session.is_current(key)
                    self.streaming = key
                case Halt(key):
                    self.streaming = None if self.streaming == key else self.streaming
                case Prefill():
                    assert self.streaming is None, "two generations"
                case Say(key, index, text, is_filler):
                    if output.is_draft:
                        assert self.draft is not None
                        assert key == self.draft[0]
                        self.clauses[key] = {}
                    else:
                        assert key == self.answered
                    assert index == len(self.clauses[key])
                    self.clauses[key][index] = (text, is_filler)
                case RunTool(key):
                    assert key == self.answered, "a tool without a commit"
                    assert key.epoch == self.epoch
                    self.running[output.call_id] = key
                case CancelTool(call_id):
                    self.running.pop(call_id, None)
                case Finish(key, clauses):
                    assert key == self.answered
                    assert key not in self.ends
                    assert clauses == len(self.clauses[key]) > 0
                    self.ends[key] = clauses
                case VoidDraft(key):
                    self.voided.add(key)
                case DraftEnded("adopted"):
                    assert self.answered not in self.voided

    def check(self) -> None:
        session = self.session
        if self.streaming is not None:
            assert session.is_current(self.streaming), "a stream that nobody wants"
        for exchange in session.conversation.exchanges:
            expected: list[str] = []
            if (exchange.turn, exchange.revision) in self.heard:
                key, clause, chars = self.heard[exchange.turn, exchange.revision]
                for index, (text, is_filler) in sorted(self.clauses[key].items()):
                    whole = index < clause or (index == clause and chars >= len(text))
                    part = text if whole else text[: chars + 1].rpartition(" ")[0] if index == clause else ""
                    expected += [part] if part and not is_filler else []
            said = [item.text for item in exchange.items() if isinstance(item, AgentSaid)]
            assert " ".join(said) == " ".join(expected)
        committed = [item for item in session.conversation.items() if isinstance(item, ToolRan)]
        assert len({item.call_id for item in committed}) == len(committed)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(OPS), st.integers(0, 40)), max_size=60))
def test_no_order_of_events_makes_a_draft_count_before_its_commit(steps: list[tuple[str, int]]) -> None:
    world = World()
    for op, number in steps:
        world.step(op, number)
        world.check()
