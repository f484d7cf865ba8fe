"""One call as an application sees it."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Caller:
    """Who calls: the number in E.164 (`None` when withheld) and what else the edge was told."""

    number: str | None = None
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class Call:
    """One call as the application sees it.

    Attributes:
        sid: The session's id, the same in every log line and trace.
        caller: Who calls.
        data: The application's own state of this call. JSON values only: it is stored with the session, so
            that another worker can go on with the call.
        resources: What the application's `lifespan` yielded (a database, an HTTP client), else `None`.
        said: The caller's words in the present turn, as they were recognised.
    """

    def __init__(
        self,
        sid: str,
        caller: Caller | None = None,
        *,
        now: Callable[[], datetime] | None = None,
        data: dict[str, Any] | None = None,
        resources: Any = None,
    ) -> None:
        self.sid = sid
        self.caller = caller or Caller()
        self.data: dict[str, Any] = {} if data is None else data
        self.resources = resources
        self.said = ""
        self._now = now or (lambda: datetime.now(UTC).astimezone())
        self._is_hanging_up = False

    def now(self) -> datetime:
        """The present time, always with a time zone."""
        return self._now()

    def supposing(self, said: str) -> Call:
        """A copy of this call in which the caller has said this; whatever is done to it, this one does not know."""
        call = Call(self.sid, self.caller, now=self._now, data=copy.deepcopy(self.data), resources=self.resources)
        call.said = said
        return call

    def key(self, tool: str, /, **arguments: Any) -> str:
        """An idempotency key: equal for equal session, tool and arguments, in any process."""
        canonical = json.dumps(arguments, sort_keys=True, separators=(",", ":"), default=str)
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:16]
        return f"{self.sid}:{tool}:{digest}"

    def hang_up(self) -> None:
        """End the call once the caller has heard the present answer; a barge-in before that cancels it."""
        self._is_hanging_up = True

    @property
    def is_hanging_up(self) -> bool:
        """Whether `hang_up` was called and no barge-in has taken it back."""
        return self._is_hanging_up

    def stay(self) -> None:
        """Take `hang_up` back. The dialogue service does this when the caller goes on talking."""
        self._is_hanging_up = False
