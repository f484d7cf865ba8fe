"""Where the time went from the caller's first voiced sample to a silent agent. No I/O."""

from dataclasses import dataclass

from halfbeat.clock import NS_PER_MS

DETECT, JUDGE, STOP = "detect", "judge", "stop"


@dataclass(slots=True)
class TimeToSilence:
    """Marks of one overlap in monotonic ns; None until it happened.

    Attributes:
        ducked_ns: voice was noticed.
        muted_ns: voice went on; the agent was told to hold its place.
        silent_ns: what it had said by then has sounded at the caller's end, the network aside.
    """

    ducked_ns: int | None = None
    muted_ns: int | None = None
    silent_ns: int | None = None

    def ducked(self, now_ns: int) -> None:
        """Voice was noticed."""
        self.ducked_ns = now_ns

    def muted(self, now_ns: int, silent_ns: int) -> None:
        """The agent was muted; its last sample sounds at `silent_ns`."""
        if self.ducked_ns is None:
            self.ducked_ns = now_ns
        self.muted_ns, self.silent_ns = now_ns, silent_ns

    def went_on(self) -> None:
        """It was not meant."""
        self.ducked_ns = self.muted_ns = self.silent_ns = None

    def hops_ms(self, voice_ns: int, cut_ns: int) -> dict[str, int]:
        """Returns the hops in order, whole ms, once the agent was stopped for good.

        Args:
            voice_ns: first voiced sample of the caller.
            cut_ns: the caller's end was told to throw away what it held.
        """
        detect_ns = max(voice_ns, min(cut_ns, self.ducked_ns or cut_ns))
        judge_ns = max(detect_ns, min(cut_ns, self.muted_ns or cut_ns))
        stop_ns = max(judge_ns, min(cut_ns, self.silent_ns or cut_ns))
        marks = [(at - voice_ns) // NS_PER_MS for at in (voice_ns, detect_ns, judge_ns, stop_ns)]
        return {name: marks[i + 1] - marks[i] for i, name in enumerate((DETECT, JUDGE, STOP))}
