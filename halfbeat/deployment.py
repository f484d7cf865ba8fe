"""What a running deployment has and lacks, as seen from here: the bus, who is there, the router, the language model."""

import time
from collections.abc import AsyncIterator, Sequence
from email.utils import parsedate_to_datetime

import aiohttp

from halfbeat import presence
from halfbeat.bus.nats import NatsBus
from halfbeat.bus.streams import TRACES, TURNS
from halfbeat.doctor import Finding
from halfbeat.errors import Denied, HalfbeatError
from halfbeat.presence import Present
from halfbeat.settings import SERVICES, NatsSettings
from halfbeat.subjects import BUCKETS

HTTP_S = 5.0
# Spans of machines whose clocks differ by more do not line up; HTTP tells whole seconds.
SKEW_S = 2.0
NEARLY_FULL = 0.9
_LOG = "its log says why: `kubectl logs` or `docker compose logs`"


async def examine(nats: NatsSettings | None, router_url: str = "", llm_url: str = "") -> list[Finding]:
    """Looks at what was named; changes nothing.

    Args:
        nats: how to reach the bus, as a user that may read the log.
        router_url: HTTP base of a router.
        llm_url: base of the language model's API, as dialogue has it.
    """
    found: list[Finding] = []
    if nats is not None:
        found += [finding async for finding in _bus(nats)]
    timeout = aiohttp.ClientTimeout(total=HTTP_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        if router_url:
            found += [finding async for finding in _router(session, router_url.rstrip("/"))]
        if llm_url:
            found.append(await _llm(session, llm_url.rstrip("/")))
    return found


async def _bus(settings: NatsSettings) -> AsyncIterator[Finding]:
    url, began = settings.shown_url, time.monotonic()
    bus = NatsBus(settings, name="halfbeat-doctor", makes_storage=False)
    try:
        async with bus:
            took_ms = (time.monotonic() - began) * 1000
            who = f"as {bus.user}" if bus.user or settings.credentials else "as nobody"
            detail = f"{url} {who}, nats-server {bus.server_version}, connected in {took_ms:.0f} ms"
            if bus.user or settings.credentials:
                yield Finding("bus", "ok", detail)
            else:
                remedy = "whoever reaches the port may do anything: give it users, see `halfbeat nats-auth --help`"
                yield Finding("bus", "note", detail, remedy)
            async for finding in _storage(bus):
                yield finding
            is_there = await bus.stream_state(f"KV_{presence.BUCKET}") is not None
            for finding in who_is_there(await presence.present(bus) if is_there else []):
                yield finding
    except Denied as e:
        remedy = "set HALFBEAT_NATS_USER=cli and HALFBEAT_NATS_PASSWORD: that user may look at all of this"
        yield Finding("bus", "missing", str(e), remedy)
    except HalfbeatError as e:
        remedy = "does the server run, and may this machine reach it (address, firewall, network policy, TLS)?"
        yield Finding("bus", "missing", f"{url}: {e}", remedy)


async def _storage(bus: NatsBus) -> AsyncIterator[Finding]:
    """Whether the streams and buckets are there and have room."""
    names = {plan.name: f"stream {plan.name}" for plan in (TURNS, TRACES)}
    names |= {f"KV_{bucket.name}": f"bucket {bucket.name}" for bucket in BUCKETS}
    for stream, subject in names.items():
        state = await bus.stream_state(stream)
        if state is None:
            yield Finding(subject, "missing", "not there", f"the router makes it when it starts; {_LOG}")
            continue
        detail = f"{state.messages:,} messages, {state.size_bytes / 1e6:,.1f} of {state.max_bytes / 1e6:,.0f} MB"
        if state.replicas > 1:
            detail += f", {1 + state.followers} of {state.replicas} copies"
        # A full stream lets its oldest messages go, as it should; a full bucket takes no more.
        if stream.startswith("KV_") and state.size_bytes > NEARLY_FULL * state.max_bytes > 0:
            yield Finding(subject, "note", detail, f"nearly full: `nats stream edit {stream} --max-bytes ...`")
        elif 1 + state.followers < state.replicas:
            yield Finding(subject, "note", detail, "a server of the NATS cluster is down or behind")
        else:
            yield Finding(subject, "ok", detail)


def who_is_there(present: Sequence[Present]) -> list[Finding]:
    """Whether all four services are there, and how many calls they hold at once."""
    found, slots = [], {}
    for service in SERVICES:
        here = [one for one in present if one.service == service]
        slots[service] = sum(int(one.facts.get("slots", 0)) for one in here)
        if not here:
            remedy = f"is it started, and ready (/readyz)? {_LOG}; it announces itself within seconds"
            found.append(Finding(service, "missing", "nobody has announced itself", remedy))
            continue
        told = [f"{one.name} ({_facts(one)})" for one in here]
        found.append(Finding(service, "ok", f"{len(here)}: {', '.join(told)}"))
    versions = sorted({one.version for one in present})
    if len(versions) > 1:
        remedy = "fine during an upgrade; else restart those that are behind"
        found.append(Finding("versions", "note", ", ".join(versions), remedy))
    least = min(slots, key=lambda service: slots[service])
    if slots[least]:
        detail = f"{slots[least]} at once, as many as {least} has slots for"
        found.append(Finding("calls", "ok", f"{detail} ({', '.join(f'{s} {n}' for s, n in slots.items())})"))
    return found


def _facts(one: Present) -> str:
    shown = {key: value for key, value in one.facts.items() if key not in ("http_port", "grpc_port")}
    return ", ".join([one.version, *(f"{key} {value}" for key, value in shown.items())])


async def _router(session: aiohttp.ClientSession, url: str) -> AsyncIterator[Finding]:
    subject = "router's /readyz"
    try:
        async with session.get(f"{url}/readyz") as response:
            text, date = (await response.text()).strip(), response.headers.get("Date", "")
            if response.status == 200:
                yield Finding(subject, "ok", f"{url}: {text}")
            else:
                yield Finding(subject, "missing", f"{url}: {response.status} {text}", f"wait, or look: {_LOG}")
    except (aiohttp.ClientError, TimeoutError, ValueError) as e:
        remedy = "is that its HTTP address, and may this machine reach it?"
        yield Finding(subject, "missing", f"{url}: {_text(e)}", remedy)
        return
    if date:
        skew_s = parsedate_to_datetime(date).timestamp() - time.time()
        text = f"the router's differs by {abs(skew_s):.0f} s" if abs(skew_s) > SKEW_S else "agree with the router's"
        if abs(skew_s) > SKEW_S:
            yield Finding("clocks", "note", text, "spans of different machines will not line up: run NTP on all")
        else:
            yield Finding("clocks", "ok", text)


async def _llm(session: aiohttp.ClientSession, url: str) -> Finding:
    subject = "language model"
    remedy = "does its server run? HALFBEAT_DIALOGUE_LLM_URL of dialogue must end in /v1"
    try:
        async with session.get(f"{url}/models") as response:
            if response.status in (401, 403):
                return Finding(subject, "note", f"{url} answers, but wants a key", "dialogue has it, this command not")
            if response.status != 200:
                return Finding(subject, "missing", f"{url}/models: {response.status}", remedy)
            models = [str(model["id"]) for model in (await response.json(content_type=None))["data"]]
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as e:
        return Finding(subject, "missing", f"{url}: {_text(e)}", remedy)
    return Finding(subject, "ok", f"{url}: {', '.join(models)}")


def _text(error: Exception) -> str:
    return f"no answer within {HTTP_S:.0f} s" if isinstance(error, TimeoutError) else str(error) or repr(error)
