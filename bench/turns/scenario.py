"""What a caller does in one call: clips with labels, and when each begins. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.turns.speech import Clip


class Role(StrEnum):
    """What a clip is to the agent.

    TURN: said when the agent is quiet, wants an answer. WAIT: "hold on", wants none. INTERRUPTION: said over the
    agent, which should stop and answer. ASIDE: a backchannel, cough, noise or side talk over the agent, which should
    go on.
    """

    TURN = "turn"
    WAIT = "wait"
    INTERRUPTION = "interruption"
    ASIDE = "aside"


@dataclass(frozen=True)
class Step:
    """One clip of a call.

    Attributes:
        clip: what is played.
        role: what it is to the agent.
        over_ms: begins so long after the agent began to sound; None waits until the agent is quiet.
        gap_ms: begins so long after the clip before it, whatever the agent does; None does not.
    """

    clip: Clip
    role: Role = Role.TURN
    over_ms: int | None = None
    gap_ms: int | None = None

    def __post_init__(self) -> None:
        is_over = self.role in (Role.INTERRUPTION, Role.ASIDE)
        if is_over != (self.over_ms is not None):
            raise ValueError(f"{self.clip.name}: exactly an interruption and an aside begin over the agent")

    @property
    def wants_answer(self) -> bool:
        """Whether the agent should answer it."""
        return self.role in (Role.TURN, Role.INTERRUPTION)


@dataclass(frozen=True)
class Scenario:
    """One call.

    Attributes:
        name: unique within a set.
        steps: in order.
        number: the caller's.
        has_opening: the agent speaks first, and the caller waits for it.
        patience_ms: the caller takes the agent for finished after this much silence.
        give_up_ms: an answer that has not begun by then will not come.
    """

    name: str
    steps: Sequence[Step]
    number: str = "+15550100142"
    has_opening: bool = False
    patience_ms: int = 500
    give_up_ms: int = 6000

    @property
    def turns(self) -> int:
        """How many answers it wants."""
        return sum(step.wants_answer for step in self.steps)
