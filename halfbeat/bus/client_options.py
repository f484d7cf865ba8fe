"""Our settings as options of nats-py, and what of its defaults is changed."""

import os
import ssl
from typing import Any
from urllib.parse import unquote, urlsplit

from halfbeat.errors import InvalidRequest
from halfbeat.settings import NatsSettings, inbox_prefix_of

# The default of 120 s would notice a dead server after 4 minutes.
PING_S = 10


def user_of(settings: NatsSettings) -> str:
    """Returns the name of the user we connect as, "" without one; a URL may hold it."""
    return settings.user or unquote(urlsplit(settings.url.split(",")[0].strip()).username or "")


def client_options(settings: NatsSettings, name: str) -> dict[str, Any]:
    """Returns the keyword arguments of the client's `connect`, without its callbacks.

    Raises:
        InvalidRequest: a file that the settings name cannot be read, or is not what it should be.
    """
    for file in (settings.credentials, settings.tls_ca):
        if file is not None and not os.access(file, os.R_OK):
            raise InvalidRequest(f"cannot read {file}, which the settings of NATS name")
    options: dict[str, Any] = {
        "servers": [url.strip() for url in settings.url.split(",")],
        "name": name,
        "inbox_prefix": settings.inbox_prefix or inbox_prefix_of(user_of(settings)),
        # Defaults give up after 60 attempts and wait 2 s before each.
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.25,
        "ping_interval": PING_S,
        "max_outstanding_pings": 2,
    }
    if settings.credentials is not None:
        options["user_credentials"] = str(settings.credentials)
    if settings.user:
        options |= {"user": settings.user, "password": settings.read_password()}
    if settings.tls_ca is not None:
        try:
            options["tls"] = ssl.create_default_context(cafile=str(settings.tls_ca))
        except ssl.SSLError as e:
            raise InvalidRequest(f"{settings.tls_ca} is not a CA certificate: {e.reason}") from None
    return options
