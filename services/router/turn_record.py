"""Where one turn's time went, as the router saw it: marks on one clock, hops whose sum is v2v. No I/O.

The hops follow each other without overlap, so their sum is v2v: the time from the caller's last voice to the decision
is `endpoint`, from there to the commit the wait for the words, and after the commit each hop is what was still waited
for. What a draft had ready before the commit costs nothing there: its hop is 0 or shorter than the service worked.
`playout.first_frame` ends when the first frame leaves; the quiet in which a voice begins belongs to `tts.first_audio`.
The spans of a trace show the work itself and may lie beside each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from halfbeat.clock import NS_PER_MS
from halfbeat.v1 import common_pb2

ENDPOINT, ASR, DIALOGUE, TTS, PLAYOUT, BUS = (
    "endpoint",
    "asr.flush",
    "llm.clause",
    "tts.first_audio",
    "playout.first_frame",
    "bus",
)


@dataclass(slots=True)
class TurnRecord:
    """Marks in monotonic ns; None until it happened.

    Attributes:
        turn: number of the turn.
        committed_ns: the commit gate opened.
        voice_end_ns: the caller's last voiced sample; None when nothing was spoken.
        decided_ns: the turn was known to be over; from then on its words were awaited.
        clause_ns: the first clause came.
        audio_ns: the first audio came.
        frame_ns: the first frame left.
        audible_ns: the first audible sample sounds at the caller's end, the network aside.
        barge_in_hops_ms: from the caller's first voiced sample to silence, when the answer was interrupted.
        drafts: answers asked for before the commit.
        is_draft_adopted: the answer is one of them.
        over_budget: hops that took their cheaper way.
        residence_us: what the hops said they spent, queue and work.
    """

    turn: int
    committed_ns: int
    voice_end_ns: int | None = None
    decided_ns: int = 0
    clause_ns: int | None = None
    audio_ns: int | None = None
    frame_ns: int | None = None
    audible_ns: int | None = None
    barge_in_hops_ms: dict[str, int] = field(default_factory=dict)
    drafts: int = 0
    is_draft_adopted: bool = False
    over_budget: list[str] = field(default_factory=list)
    residence_us: dict[str, int] = field(default_factory=dict)

    def clause_came(self, now_ns: int, residence: Iterable[common_pb2.Residence]) -> None:
        """A clause came; only the first counts."""
        if self.clause_ns is None:
            self.clause_ns = now_ns
            self._take(residence)

    def audio_came(self, now_ns: int, residence: Iterable[common_pb2.Residence]) -> None:
        """Audio came; only the first counts."""
        if self.audio_ns is None:
            self.audio_ns = now_ns
            self._take(residence)

    def went_over_budget(self, hop: str) -> None:
        """A hop took its cheaper way."""
        if hop not in self.over_budget:
            self.over_budget.append(hop)

    def _take(self, residence: Iterable[common_pb2.Residence]) -> None:
        for hop in residence:
            self.residence_us.setdefault(hop.hop, hop.queue_us + hop.work_us)

    @property
    def barge_in_ms(self) -> int | None:
        """The caller's first voiced sample to a silent agent; None when nobody interrupted."""
        return sum(self.barge_in_hops_ms.values()) if self.barge_in_hops_ms else None

    @property
    def v2v_ms(self) -> int | None:
        """Voice to voice; None when the caller said nothing or the agent was not heard."""
        if self.voice_end_ns is None or self.audible_ns is None:
            return None
        return max(0, self.audible_ns - self.voice_end_ns) // NS_PER_MS

    def hops_ms(self) -> dict[str, int]:
        """Returns the time of each hop, in order; whole ms whose sum is `v2v_ms` (from the commit on without speech).

        A service's own share is what it says it spent, as far as it was waited for after the commit; the rest of the
        time between the router's question and the answer's arrival is `bus`: transit both ways and the router's queue.
        """
        if self.audible_ns is None:
            return {}
        start = self.voice_end_ns if self.voice_end_ns is not None else self.committed_ns
        frame_ns = self.audible_ns if self.frame_ns is None else self.frame_ns
        marks = (start, self.decided_ns or start, self.committed_ns, self.clause_ns, self.audio_ns, frame_ns)
        times: list[int] = []
        for mark in (*marks, self.audible_ns):
            at = start if mark is None else mark
            times.append(min(max(at, times[-1] if times else start), max(start, self.audible_ns)))
        *spans_ns, onset_ns = (later - earlier for earlier, later in pairwise(times))
        hops_ns = dict(zip((ENDPOINT, ASR, DIALOGUE, TTS, PLAYOUT), spans_ns, strict=True))
        bus_ns = 0
        for name, service in ((DIALOGUE, "dialogue"), (TTS, "tts")):
            if service in self.residence_us:
                own_ns = min(hops_ns[name], self.residence_us[service] * 1000)
                bus_ns += hops_ns[name] - own_ns
                hops_ns[name] = own_ns
        hops_ns[TTS] += onset_ns
        hops_ns[BUS] = bus_ns
        return _whole_ms(hops_ns)


def _whole_ms(hops_ns: dict[str, int]) -> dict[str, int]:
    """Rounds so that the sum is the rounded sum."""
    hops_ms: dict[str, int] = {}
    total_ns = 0
    for name, ns in hops_ns.items():
        hops_ms[name] = (total_ns + ns) // NS_PER_MS - total_ns // NS_PER_MS
        total_ns += ns
    return hops_ms
