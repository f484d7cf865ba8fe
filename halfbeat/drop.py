"""Why a message was dropped; the label `reason` of `halfbeat_dropped_total`."""

from enum import StrEnum


class DropReason(StrEnum):
    """Reasons; every drop anywhere is counted under exactly one of them."""

    # The consumer is slower than the sender and our ring was full: the oldest real-time message went.
    RING_FULL = "ring_full"
    # It waited longer than real-time data is worth.
    LATE = "late"
    # Published while the connection was down; sent later it would be a stale burst.
    DISCONNECTED = "disconnected"
    # The client's own buffer towards the server is full.
    BUFFER_FULL = "buffer_full"
    # Larger than the server takes.
    TOO_LARGE = "too_large"
    # Its epoch, turn or revision is over.
    STALE_EPOCH = "stale_epoch"
    STALE_TURN = "stale_turn"
    STALE_REVISION = "stale_revision"
    # Seen before.
    DUPLICATE = "duplicate"
    # A kind this version does not know.
    UNKNOWN_KIND = "unknown_kind"
    # Not what its subject says it is.
    MALFORMED = "malformed"
