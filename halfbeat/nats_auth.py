"""Users of the NATS server and what each may do, made from the table in `halfbeat.subjects`.

Permissions name subjects only, JetStream's API included. What they cannot say: whoever may make a stream may have it
capture and republish any subject, so one service makes them all; whoever may make a consumer may have it deliver what
the stream holds to any subject, so only who reads a stream may. asr, dialogue and tts use no API of JetStream at all:
streams capture what they publish, and a key is written by publishing.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from halfbeat import subjects
from halfbeat.bus.streams import TRACES, TURNS
from halfbeat.errors import InvalidRequest
from halfbeat.settings import inbox_prefix_of

STREAMS = (TURNS.name, TRACES.name)
# A reply may come so long after its request; the router waits HALFBEAT_ROUTER_OPEN_TIMEOUT_S, 5 s by default.
ANSWER_S = 60
#: The services of a site whose router is elsewhere; their server joins the router's as the user "leaf".
LEAF_SERVICES = subjects.ASR + subjects.DIALOGUE + subjects.TTS
USERS = subjects.EVERYBODY + subjects.CLI
ALL_USERS = (*USERS, "leaf")
#: The JetStream domain in deploy/nats/nats.conf.
LEAF_DOMAIN = "hub"
_API = "$JS.API"


@dataclass(frozen=True)
class User:
    """One user and all that it may do.

    Attributes:
        name: of the user; its password is in the server's environment, see `password_variable`.
        publish: subjects and patterns it may publish to.
        subscribe: what it may subscribe to; "PATTERN GROUP" as a member of that queue group only.
        answers: it may publish one reply to each request that reached it.
    """

    name: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: bool

    @property
    def password_variable(self) -> str:
        """Name of the environment variable of the server that holds the password."""
        return f"HALFBEAT_NATS_{self.name.upper().replace('-', '_')}_PASSWORD"

    def permissions(self) -> dict[str, Any]:
        """Returns the permissions in the server's terms."""
        allowed: dict[str, Any] = {
            "publish": {"allow": list(self.publish)} if self.publish else {"deny": [">"]},
            "subscribe": {"allow": list(self.subscribe)},
        }
        if self.answers:
            allowed["allow_responses"] = {"max": 1, "expires": f"{ANSWER_S}s"}
        return allowed


def user(name: str, account: str = "", domain: str = "") -> User:
    """Returns a user with the least permissions that its work needs.

    Args:
        name: a service, "cli", or "leaf" for the server of a site with workers only.
        account: NATS account it belongs to; its name begins with it then, because names are unique in a server.
        domain: of JetStream, for users of a site that joins the one with the streams as a leaf node, and for "leaf".

    Raises:
        InvalidRequest: there is no such user.
    """
    if name not in ALL_USERS:
        raise InvalidRequest(f"no user {name!r}: {', '.join(ALL_USERS)}")
    prefix = f"{account}-" if account else ""
    if name == "leaf":
        return _leaf(prefix, domain or LEAF_DOMAIN)
    return User(
        prefix + name,
        tuple(dict.fromkeys(_in_domain(subject, domain) for subject in _published(name))),
        (*_subscribed(name), f"{inbox_prefix_of(prefix + name)}.>"),
        answers=any(name in kind.subscribers for kind in subjects.OPEN.values()),
    )


def _leaf(prefix: str, domain: str) -> User:
    """What asr, dialogue and tts may, as servers tell each other of it.

    A server tells a leaf node of a listener only where the listener's whole pattern is allowed to the leaf: the
    router's inbox as a whole, not each reply; requests without their queue group.
    """
    users = [user(role, domain=domain) for role in LEAF_SERVICES]
    replies = [f"{inbox_prefix_of(prefix + role)}.>" for kind in subjects.OPEN.values() for role in kind.publishers]
    subscribe = [subject.partition(" ")[0] for role in LEAF_SERVICES for subject in _subscribed(role)]
    inboxes = [f"{inbox_prefix_of(prefix + role)}.>" for role in LEAF_SERVICES]
    return User(
        f"{prefix}leaf",
        tuple(dict.fromkeys([*(subject for one in users for subject in one.publish), *replies])),
        tuple(dict.fromkeys([*subscribe, *inboxes])),
        answers=False,
    )


def _in_domain(subject: str, domain: str) -> str:
    """The subject by which the same is reached from a leaf node."""
    if domain and subject.startswith(_API):
        return f"$JS.{domain}.API{subject.removeprefix(_API)}"
    return f"$JS.{domain}.API.{subject}" if domain and subject.startswith("$KV.") else subject


def _published(role: str) -> Iterator[str]:
    for kind in subjects.KINDS:
        if role in kind.publishers:
            yield kind.all
    if role in subjects.EVERYBODY:
        yield f"{subjects.TRACE_SPANS}.*"
    for bucket in subjects.BUCKETS:
        if role in bucket.writers:
            yield f"$KV.{bucket.name}.{role}.*" if bucket.is_by_service else f"$KV.{bucket.name}.*"
    if role == subjects.STORAGE_MAKER:
        yield f"{_API}.INFO"  # the client asks what the server can do before it makes a bucket
        for stream in STREAMS:
            yield from (f"{_API}.STREAM.{verb}.{stream}" for verb in ("CREATE", "INFO", "UPDATE"))
        yield from (f"{_API}.STREAM.CREATE.KV_{bucket.name}" for bucket in subjects.BUCKETS)
    if role in subjects.CLI:
        for stream in STREAMS:
            yield from _reading(stream)
        # `halfbeat doctor` looks whether they are there.
        yield from (f"{_API}.STREAM.INFO.KV_{bucket.name}" for bucket in subjects.BUCKETS)
    for bucket in subjects.BUCKETS:
        if role in bucket.readers:
            yield from _reading(f"KV_{bucket.name}")
            yield f"{_API}.DIRECT.GET.KV_{bucket.name}.$KV.{bucket.name}.>"


def _reading(stream: str) -> Iterator[str]:
    """The API calls of `halfbeat.bus.streams.read`. Nothing is acknowledged, and pulling needs no flow control."""
    yield f"{_API}.STREAM.INFO.{stream}"
    yield f"{_API}.CONSUMER.CREATE.{stream}"
    yield f"{_API}.CONSUMER.MSG.NEXT.{stream}.*"
    yield f"{_API}.CONSUMER.DELETE.{stream}.*"


def _subscribed(role: str) -> Iterator[str]:
    for kind in subjects.KINDS:
        if role in kind.subscribers:
            # Of requests, only as a member of the queue group: a stray subscriber would hear every caller's number.
            yield f"{kind.all} {role}" if kind in subjects.OPEN.values() else kind.all
        elif role in subjects.CLI and kind.is_logged:
            yield kind.all


def as_conf(names: Sequence[str] = USERS, accounts: Sequence[str] = (), domain: str = "") -> str:
    """Returns the part of a server's configuration file.

    Args:
        names: of the users wanted.
        accounts: NATS accounts, one for each tenant, each with all those users; none for a server without accounts.
        domain: see `user`.

    Raises:
        InvalidRequest: there is no such user.
    """
    if not accounts:
        return "authorization {\n" + _users_conf([user(name, "", domain) for name in names], "  ") + "}\n"
    by_account = {account: [user(name, account, domain) for name in names] for account in accounts}
    parts = [f"  {a} {{\n    jetstream: enabled\n{_users_conf(u, '    ')}  }}\n" for a, u in by_account.items()]
    return "accounts {\n" + "".join(parts) + "}\n"


def _users_conf(users: Sequence[User], indent: str) -> str:
    lines = ["users = ["]
    for one in users:
        allowed = one.permissions()
        lines += ["  {", f"    user: {json.dumps(one.name)}", f"    password: ${one.password_variable}"]
        lines += ["    permissions {"]
        for verb in ("publish", "subscribe"):
            [(rule, patterns)] = allowed[verb].items()
            lines += [f"      {verb} {{ {rule}: ["]
            lines += [f"        {json.dumps(pattern)}" for pattern in patterns]
            lines += ["      ] }"]
        if one.answers:
            answers = allowed["allow_responses"]
            lines += [f'      allow_responses {{ max: {answers["max"]}, expires: "{answers["expires"]}" }}']
        lines += ["    }", "  }"]
    lines += ["]"]
    return "".join(f"{indent}{line}\n" for line in lines)


def as_json(names: Sequence[str] = USERS, accounts: Sequence[str] = (), domain: str = "") -> str:
    """Returns the same as JSON for the `config.merge` of the NATS Helm chart, which sets `<< ... >>` without quotes."""

    def listed(account: str) -> list[dict[str, Any]]:
        found = [user(name, account, domain) for name in names]
        return [
            {"user": u.name, "password": f"<< ${u.password_variable} >>", "permissions": u.permissions()} for u in found
        ]

    if not accounts:
        told: dict[str, Any] = {"authorization": {"users": listed("")}}
    else:
        told = {"accounts": {account: {"jetstream": "enabled", "users": listed(account)} for account in accounts}}
    return json.dumps(told, indent=2) + "\n"
