"""One JSON object per line on standard error. Nothing a caller said and no secret belongs into a log line.

Lines of one call are joined by `sid`, those of one turn by the `trace_id` of its trace, over all processes.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

_STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_about: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))


@contextmanager
def about(**fields: str) -> Iterator[None]:
    """Every line written inside the block, also by tasks that are started there, has these fields too.

    Args:
        fields: `sid`, or what `telemetry.ids_of` and `telemetry.ids_in` return; nothing a caller said.
    """
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


class JsonFormatter(logging.Formatter):
    """Formats a record with its `extra` fields as one line of JSON."""

    def __init__(self, service: str, instance: str) -> None:
        super().__init__()
        self._common = {"service": service, "instance": instance}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._common,
            **_about.get(),
            **{k: v for k, v in record.__dict__.items() if k not in _STANDARD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def setup(service: str, instance: str, level: str) -> None:
    """Sends all logging of this process through `JsonFormatter`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service, instance))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("httpx", "httpx2", "openai", "aiohttp.access", "nats", "asyncio", "alembic"):
        logging.getLogger(noisy).setLevel("WARNING")
