"""Text messages: what is sent, and the small protocol behind which each provider stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class TextMessage:
    """One text to deliver. Number and body are left out of `repr`, so that they reach no log.

    Attributes:
        key: Idempotency key, the same in every attempt.
        to: Receiver's number, E.164.
        body: The text.
        created_at: When it was queued.
        is_outcome_unknown: An earlier attempt may have reached the provider: look before sending again.
    """

    key: str
    to: str = field(repr=False)
    body: str = field(repr=False)
    created_at: datetime
    is_outcome_unknown: bool = False


@dataclass(frozen=True)
class Sent:
    """The provider took the text; `provider_id` is its name for it."""

    provider_id: str


@dataclass(frozen=True)
class Rejected:
    """The provider will never take the text. `error` is a code, never the text or the number."""

    error: str


@dataclass(frozen=True)
class Retry:
    """The provider did not take the text now.

    Attributes:
        error: A code, never the text or the number.
        after_s: Least wait in seconds that the provider asked for.
        is_outcome_unknown: The text may have been taken nevertheless (no answer came).
    """

    error: str
    after_s: float | None = None
    is_outcome_unknown: bool = False


class TextProvider(Protocol):
    """Delivers texts. One instance serves one outbox worker."""

    async def send(self, message: TextMessage) -> Sent | Rejected | Retry:
        """Deliver one text and say what became of it.

        An exception counts as `Retry` with an unknown outcome. Cancelling may leave the outcome unknown too.
        """
        ...

    async def aclose(self) -> None:
        """Free what the provider holds."""
        ...
