"""Who may come in, and how many at a time."""

import hmac
import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from halfbeat.errors import AtCapacity, Denied, InvalidRequest
from services.router.counters import count_refused
from services.router.edges.counters import CONNECTIONS, REFUSED

_LOCAL_NAMES = {"localhost", "localhost."}


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without port, is this machine's own."""
    host = host.strip("[]").lower()
    if host in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Door:
    """Checks keys, browsers and the number of connections, for all edges together.

    Without keys the door is open, and then only to this machine: binding another address needs keys, or
    `allows_open` from somebody who knows what that means.
    """

    def __init__(
        self,
        *,
        hosts: Sequence[str],
        api_keys: Sequence[str] = (),
        allows_open: bool = False,
        max_connections: int = 200,
    ) -> None:
        """Takes the settings.

        Args:
            hosts: addresses that will be bound.
            api_keys: bearer keys; empty leaves the door open.
            allows_open: bind other addresses than loopback without keys.
            max_connections: calls at a time over all edges.

        Raises:
            InvalidRequest: an address beyond loopback would be open to anybody.
        """
        if any(not key for key in api_keys):
            raise InvalidRequest("an API key is empty")
        beyond = [host for host in hosts if not is_loopback(host)]
        if beyond and not api_keys and not allows_open:
            raise InvalidRequest(
                f"refusing to listen on {beyond[0]} without API keys: anybody who reaches it could place calls; "
                "set HALFBEAT_ROUTER_API_KEYS, or HALFBEAT_ROUTER_ALLOW_OPEN=true if something else guards it"
            )
        self._keys = [key.encode() for key in api_keys]
        self._is_local = not beyond
        self._max_connections = max_connections
        self._connections = 0

    @property
    def has_keys(self) -> bool:
        """Whether a key is needed at all."""
        return bool(self._keys)

    @property
    def is_beyond_loopback(self) -> bool:
        """Whether other machines can reach this door."""
        return not self._is_local

    def check_key(self, presented: str) -> None:
        """Compares a key in constant time.

        Raises:
            Denied: keys are set and this is none of them.
        """
        if not self._keys:
            return
        given = presented.encode()
        # Every key is compared, so that the time tells nothing about which one nearly fitted.
        if sum(hmac.compare_digest(given, key) for key in self._keys) == 0:
            raise Denied("no API key, or a wrong one")

    def check_browser(self, origin: str | None, host: str | None) -> None:
        """Keeps pages of other sites from using an open door through the browser of somebody who sits at this machine.

        Args:
            origin: header `Origin`, which browsers send and scripts cannot forge.
            host: header `Host`; on loopback it must name loopback, else a name was rebound to this address.

        Raises:
            Denied: the page is not ours.
        """
        if self._keys:
            return
        name = urlsplit(f"//{host or ''}").hostname or ""
        if self._is_local and not is_loopback(name):
            raise Denied(f"unexpected Host {name!r}")
        if origin and origin != "null" and urlsplit(origin).netloc == host:
            return
        if origin:
            raise Denied("pages of other sites may not use this router without an API key")

    @contextmanager
    def admit(self, edge: str) -> Iterator[None]:
        """Holds one place for the length of a connection.

        Raises:
            AtCapacity: all places are taken.
        """
        if self._connections >= self._max_connections:
            REFUSED.labels(edge, "at_capacity").inc()
            count_refused(AtCapacity.code)
            raise AtCapacity(f"{self._max_connections} calls are in progress; try again later")
        self._connections += 1
        CONNECTIONS.labels(edge).inc()
        try:
            yield
        finally:
            self._connections -= 1
            CONNECTIONS.labels(edge).dec()


def bearer(authorization: str) -> str:
    """Returns the key of an `Authorization: Bearer` header, or an empty string."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
