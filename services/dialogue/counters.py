"""Metrics of the dialogue service beside those that all services share."""

from prometheus_client import Counter

from halfbeat.telemetry import TOKENS, from_zero
from services.dialogue.engine import Usage

TOOL_CALLS = Counter("halfbeat_tool_calls_total", "Tools by name and how they ended", ["tool", "outcome"])
WITHHELD = Counter("halfbeat_dialogue_withheld_total", "Answers of the model that were not spoken, by why", ["why"])
PREFILLS = Counter("halfbeat_dialogue_prefills_total", "Prompts read ahead, by how that ended", ["outcome"])
DRAFTS = Counter(
    "halfbeat_dialogue_drafts_total", "Answers formed before the commit, by what became of them", ["outcome"]
)

# Known series begin at zero; those of the tools once the application is known.
from_zero(TOKENS, "prompt", "cached", "completion", "wasted", "prefill")
from_zero(WITHHELD, "empty", "invented", "claim")
from_zero(PREFILLS, "done", "cancelled", "failed")
from_zero(
    DRAFTS, "adopted", "changed", "resumed", "voided", "replaced", "passed", "epoch", "failed", "refused"
)  # fmt: skip


def count_tokens(usage: Usage, *, is_wasted: bool = False) -> None:
    """Tokens that the model read and wrote; what it wrote for nothing is "wasted" and no "completion"."""
    TOKENS.labels("prompt").inc(max(0, usage.prompt_tokens - usage.cached_tokens))
    TOKENS.labels("cached").inc(usage.cached_tokens)
    TOKENS.labels("wasted" if is_wasted else "completion").inc(usage.completion_tokens)
