"""Metrics of the dialogue service beside those that all services share."""

from prometheus_client import Counter

TOOL_CALLS = Counter("halfbeat_tool_calls_total", "Tools by name and how they ended", ["tool", "outcome"])
WITHHELD = Counter("halfbeat_dialogue_withheld_total", "Answers of the model that were not spoken, by why", ["why"])
PREFILLS = Counter("halfbeat_dialogue_prefills_total", "Prompts read ahead, by how that ended", ["outcome"])
