"""Stale messages are found by comparison at the receiver; a cancel message is only the fast path."""

from halfbeat.drop import DropReason
from halfbeat.v1.common_pb2 import Stamp


class Fence:
    """What is current in one session, as far as this receiver knows. It only ever moves forward."""

    def __init__(self, epoch: int = 0, turn: int = 0, revision: int = 0) -> None:
        self.epoch, self.turn, self.revision = epoch, turn, revision

    def __repr__(self) -> str:
        return f"Fence(epoch={self.epoch}, turn={self.turn}, revision={self.revision})"

    def stale(self, stamp: Stamp) -> DropReason | None:
        """Returns why this stamp is behind the fence, or None when it is current or newer.

        The epoch decides first, then the turn, then the revision: a new epoch makes an older turn current again
        only because nothing of the old epoch may be used.
        """
        if stamp.epoch != self.epoch:
            return DropReason.STALE_EPOCH if stamp.epoch < self.epoch else None
        if stamp.turn != self.turn:
            return DropReason.STALE_TURN if stamp.turn < self.turn else None
        return DropReason.STALE_REVISION if stamp.revision < self.revision else None

    def is_stale(self, stamp: Stamp) -> bool:
        """Whether to drop the message of this stamp."""
        return self.stale(stamp) is not None

    def advance(self, stamp: Stamp) -> bool:
        """Moves the fence to a newer stamp; returns whether it moved. A stale or equal one changes nothing."""
        newer = (stamp.epoch, stamp.turn, stamp.revision)
        if newer <= (self.epoch, self.turn, self.revision):
            return False
        self.epoch, self.turn, self.revision = newer
        return True
