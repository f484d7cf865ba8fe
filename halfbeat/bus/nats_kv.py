"""A JetStream key-value bucket with a time to live per key that can be renewed.

The client's own `KeyValue` is not enough: its `update` and `put` have no per-key TTL (renewing a key makes it
immortal), and its `get` and `create` take the marker that the server leaves for an expired key for a value.
"""

import math
import re
from collections.abc import AsyncIterator

import nats.js.errors
from nats.js import api

from halfbeat.bus import KeyChange
from halfbeat.bus.connection import Connection
from halfbeat.bus.streams import read
from halfbeat.errors import HalfbeatError, InvalidRequest

_ASK_S = 5.0
# How long the server keeps the marker of an expired key; a watcher that was away for longer misses the expiry.
MARKER_S = 600.0
_NAME_IN_USE = 10058
_WRONG_LAST_SEQUENCE = (10071, 10164)
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_KEY = re.compile(r"[A-Za-z0-9_=/-]+(\.[A-Za-z0-9_=/-]+)*")


def view(connection: Connection, bucket: str, *, ttl_s: float | None) -> "NatsKeyValue":
    """Returns a bucket that somebody else makes; nothing is asked, and using it fails while it is not there.

    Args:
        connection: open connection.
        bucket: name.
        ttl_s: default time to live of the keys written through this view; None keeps them.
    """
    if not _NAME.fullmatch(bucket):
        raise InvalidRequest(f"not a bucket name: {bucket!r}")
    return NatsKeyValue(connection, bucket, ttl_s)


async def open_bucket(connection: Connection, bucket: str, *, ttl_s: float | None, replicas: int = 1) -> "NatsKeyValue":
    """Opens a bucket, creating it if need be.

    Args:
        connection: open connection.
        bucket: name.
        ttl_s: see `view`.
        replicas: copies in a cluster, when it has to be created.
    """
    opened = view(connection, bucket, ttl_s=ttl_s)
    config = api.KeyValueConfig(
        bucket=bucket,
        history=1,
        direct=True,
        replicas=replicas,
        storage=api.StorageType.FILE,
        max_bytes=64 * 1024 * 1024,
        # The bucket's own `ttl` expires keys silently; with markers watchers hear of it. Hence TTLs are per key.
        limit_marker_ttl=MARKER_S,
    )
    try:
        await connection.ask(connection.js.create_key_value(config), timeout_s=_ASK_S, what=f"bucket {bucket}")
    except HalfbeatError as e:
        cause = e.__cause__
        if not (isinstance(cause, nats.js.errors.APIError) and cause.err_code == _NAME_IN_USE):
            raise
    return opened


class NatsKeyValue:
    """Implements `halfbeat.bus.KeyValue`."""

    def __init__(self, connection: Connection, bucket: str, ttl_s: float | None) -> None:
        self._connection, self._ttl_s = connection, ttl_s
        self._stream, self._prefix = f"KV_{bucket}", f"$KV.{bucket}."

    async def get(self, key: str) -> tuple[bytes, int] | None:
        found = await self._last(key)
        return None if found is None or _is_marker(found.headers) else (found.data or b"", int(found.seq or 0))

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> int:
        revision = await self._write(key, value, ttl_s, None)
        assert revision is not None
        return revision

    async def create(self, key: str, value: bytes, *, ttl_s: float | None = None) -> int | None:
        revision = await self._write(key, value, ttl_s, 0)
        if revision is None:
            found = await self._last(key)
            if found is None:
                return await self._write(key, value, ttl_s, 0)
            if _is_marker(found.headers):
                return await self._write(key, value, ttl_s, int(found.seq or 0))
        return revision

    async def update(self, key: str, value: bytes, revision: int, *, ttl_s: float | None = None) -> int | None:
        return await self._write(key, value, ttl_s, revision)

    async def delete(self, key: str) -> None:
        # The mark of a deletion goes away by itself too: there is a key per call.
        headers = {
            "KV-Operation": "PURGE",
            api.Header.ROLLUP.value: "sub",
            api.Header.MSG_TTL.value: str(int(MARKER_S)),
        }
        await self._publish(key, b"", headers)

    async def keys(self) -> list[str]:
        """Returns the keys that have a value now; costs a round trip a key, so it is for few keys or rare calls."""
        info = await self._connection.ask(
            self._connection.js.stream_info(self._stream, subjects_filter=f"{self._prefix}>"),
            timeout_s=_ASK_S,
            what="keys",
        )
        names = sorted(subject.removeprefix(self._prefix) for subject in info.state.subjects or {})
        return [name for name in names if await self.get(name) is not None]

    async def watch(self) -> AsyncIterator[KeyChange]:
        async for stored in read(self._connection, self._stream, f"{self._prefix}>", follow=True, is_latest_only=True):
            message = stored.message
            value = None if _is_marker(message.headers) else message.data
            yield KeyChange(message.subject.removeprefix(self._prefix), value, stored.sequence)

    async def _write(self, key: str, value: bytes, ttl_s: float | None, expected: int | None) -> int | None:
        headers = {}
        ttl_s = self._ttl_s if ttl_s is None else ttl_s
        if ttl_s is not None:
            # Renewing is a publish to the key's subject with the expected sequence and a TTL of its own. The server
            # counts whole seconds, at least one.
            headers[api.Header.MSG_TTL.value] = str(max(1, math.ceil(ttl_s)))
        if expected is not None:
            headers[api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value] = str(expected)
        try:
            return await self._publish(key, value, headers)
        except HalfbeatError as e:
            cause = e.__cause__
            if isinstance(cause, nats.js.errors.APIError) and cause.err_code in _WRONG_LAST_SEQUENCE:
                return None
            raise

    async def _publish(self, key: str, value: bytes, headers: dict[str, str]) -> int:
        subject = self._connection.keys + self._subject(key).removeprefix("$KV")
        asking = self._connection.js.publish(subject, value, headers=headers)
        acknowledged = await self._connection.ask(asking, timeout_s=_ASK_S, what="writing a key")
        return int(acknowledged.seq)

    async def _last(self, key: str) -> api.RawStreamMsg | None:
        asking = self._connection.js.get_last_msg(self._stream, self._subject(key), direct=True)
        try:
            return await self._connection.ask(asking, timeout_s=_ASK_S, what="reading a key")
        except HalfbeatError as e:
            if isinstance(e.__cause__, nats.js.errors.NotFoundError):
                return None
            raise

    def _subject(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise InvalidRequest(f"not a key: {key!r}")
        return self._prefix + key


def _is_marker(headers: dict[str, str] | None) -> bool:
    """Whether a message says that the key is gone: deleted by us, or expired by the server."""
    return headers is not None and ("KV-Operation" in headers or "Nats-Marker-Reason" in headers)
