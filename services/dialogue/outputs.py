"""What the session wants done; the service does it."""

from __future__ import annotations

from dataclasses import dataclass, field

from halfbeat.drop import DropReason
from halfbeat.errors import HalfbeatError
from services.dialogue.engine import Prompt, Usage


@dataclass(frozen=True, order=True)
class AnswerKey:
    """One answer: everything that belongs to it carries these three."""

    epoch: int
    turn: int
    revision: int


@dataclass(frozen=True)
class Ask:
    """Let the model stream an answer to this prompt. Ends what the model was asked before."""

    key: AnswerKey
    prompt: Prompt
    is_retry: bool = False


@dataclass(frozen=True)
class Halt:
    """Stop the model; the answer is void, or a tool has been called."""

    key: AnswerKey


@dataclass(frozen=True)
class Say:
    """Publish a clause."""

    key: AnswerKey
    index: int
    text: str
    is_filler: bool = False
    is_draft: bool = False
    is_over_budget: bool = False


@dataclass(frozen=True)
class RunTool:
    """Run a tool of ours, or hand it to the client."""

    key: AnswerKey
    call_id: str
    name: str
    arguments_json: str
    is_client: bool = False
    filler: str | None = None


@dataclass(frozen=True)
class CancelTool:
    """Cancel a running tool of ours."""

    call_id: str


@dataclass(frozen=True)
class Finish:
    """No further clause of this answer comes."""

    key: AnswerKey
    clauses: int
    usage: Usage = field(default_factory=Usage)
    hangs_up: bool = False
    error: HalfbeatError | None = None
    wasted_tokens: int = 0
    is_over_budget: bool = False


@dataclass(frozen=True)
class Prefill:
    """Nothing is being answered: let the model read this meanwhile, unless it is asked something in `after_s`."""

    prompt: Prompt
    after_s: float = 0.0


@dataclass(frozen=True)
class Dropped:
    """A message came too late or twice."""

    what: str
    reason: DropReason


@dataclass(frozen=True)
class Withheld:
    """Words of the model were not spoken: "invented", "claim" or "empty"."""

    why: str


@dataclass(frozen=True)
class VoidDraft:
    """Tell the router that it must not adopt this draft."""

    key: AnswerKey


@dataclass(frozen=True)
class DraftEnded:
    """What became of a draft.

    Attributes:
        outcome: "adopted"; "changed" (adopted, or made anew, although what it was made from had changed); "resumed"
            (the caller went on); "voided" (what it was made from changed before the commit); "replaced" by a newer
            one; "passed" (another turn was committed); "epoch"; "failed" (the model did); "refused" (an answer forms).
    """

    outcome: str


@dataclass(frozen=True)
class Wasted:
    """What a draft cost that came to nothing; of the prompt only where the model's server has told."""

    usage: Usage


Output = (
    Ask | Halt | Say | RunTool | CancelTool | Finish | Prefill | Dropped | Withheld | VoidDraft | DraftEnded | Wasted
)
