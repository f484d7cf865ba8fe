"""The picture of the storm night: calls, slots that are open, and who was refused."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from bench.autoscale.night import Outcome

_COLOURS = {"router": "#7f7f7f", "asr": "#1f77b4", "tts": "#ff7f0e", "dialogue": "#2ca02c", "llm": "#9467bd"}


def draw(nights: Mapping[str, Outcome], path: Path, *, from_s: int = 1500, to_s: int = 9000) -> None:
    """Draws one row for each policy."""
    figure, rows = plt.subplots(len(nights), 1, figsize=(8, 3.1 * len(nights)), sharex=True, squeeze=False)
    for axes, (name, night) in zip(rows[:, 0], nights.items(), strict=True):
        shown = [moment for moment in night.timeline if from_s <= moment.at_s <= to_s]
        minutes = [moment.at_s / 60 for moment in shown]
        axes.fill_between(minutes, [moment.calls for moment in shown], color="#dddddd", label="calls")
        for service in shown[0].slots:
            slots = [moment.slots[service] for moment in shown]
            axes.step(
                minutes, slots, where="post", linewidth=1.3, color=_COLOURS.get(service), label=f"{service} slots"
            )
        refused = [after.refused - before.refused for before, after in pairwise(shown)]
        if any(refused):
            axes.bar(minutes[1:], refused, width=0.25, color="#d62728", label="refused in 15 s")
        axes.set_title(f"{name}: {night.refused.total():,} dials refused", fontsize=10, loc="left")
        axes.set_ylabel("calls, slots")
        axes.set_xlim(minutes[0], minutes[-1])
        axes.set_ylim(0, 1.15 * max(max(moment.calls, *moment.slots.values()) for moment in shown))
    rows[0, 0].legend(fontsize=8, ncol=4, loc="upper right")
    rows[-1, 0].set_xlabel("minutes")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
