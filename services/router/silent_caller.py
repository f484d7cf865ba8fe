"""A caller who says nothing: asked, asked again, and bid goodbye. No I/O."""

from halfbeat.clock import NS_PER_S

#: Why the agent speaks up, in order.
CAUSES = ("silence", "silence_again", "goodbye")


class SilentCaller:
    """Counts how often a silent caller was asked."""

    def __init__(self, prompt_s: float) -> None:
        """Takes how long nobody must have said anything; 0 never asks."""
        self._prompt_ns = int(prompt_s * NS_PER_S)
        self._asked = 0

    def spoke(self) -> None:
        """The caller said something."""
        self._asked = 0

    def cause(self, silent_ns: int) -> str:
        """Returns why to speak up now, "" when not; each cause is returned once.

        Args:
            silent_ns: how long nobody has said anything.
        """
        if not self._prompt_ns or silent_ns < self._prompt_ns or self._asked >= len(CAUSES):
            return ""
        self._asked += 1
        return CAUSES[self._asked - 1]
