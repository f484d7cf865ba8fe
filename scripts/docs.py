"""Writes docs/settings.md and docs/metrics.md from the code; `--check` fails if they are out of date."""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from halfbeat.settings import PREFIX, SERVICES, NatsSettings, ServiceSettings

ROOT = Path(__file__).parents[1]
# Modules that make metrics when they are imported; the heavy engines behind them are not.
METRIC_MODULES = (
    "halfbeat.bus.metrics",
    "halfbeat.telemetry",
    "services.router.counters",
    "services.router.edges.counters",
    "services.asr.service",
    "services.dialogue.counters",
    "services.tts.voice",
    "apps.city311.outbox",
)


def settings_of(service: str) -> type[ServiceSettings]:
    """Returns the settings class of a service."""
    module = importlib.import_module(f"services.{service}.config")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ServiceSettings) and value.service == service
    )


def rows(fields: dict[str, object], prefix: str) -> Iterable[str]:
    """One table row per field."""
    for name, field in fields.items():
        default = "" if field.default_factory or field.default in (None, "") else f"`{field.default}`"  # type: ignore[attr-defined]
        text = (field.description or "").replace("|", "\\|")  # type: ignore[attr-defined]
        yield f"| `{prefix}{name.upper()}` | {default} | {text} |"


def settings() -> str:
    """Returns the page about settings."""
    from apps.city311.config import City311Settings

    head = "| variable | default | meaning |\n|---|---|---|"
    common = {n: f for n, f in ServiceSettings.model_fields.items() if n != "nats"}
    nats = {f"NATS_{n}": f for n, f in NatsSettings.model_fields.items()}
    parts = [
        "# Settings",
        "Written by `scripts/docs.py` from the code; `make docs` renews it.\n\n"
        "A service reads `HALFBEAT_<SERVICE>_<NAME>`, else `HALFBEAT_<NAME>`, else the TOML file given with `--config` "
        "(its table `[<service>]`, then its top level), else the default. Unknown names are refused. "
        "`python -m services.<service> --print-config` shows what is in force, secrets masked.",
        "## All services",
        "\n".join([head, *rows({**nats, **common}, PREFIX)]),
    ]
    for service in SERVICES:
        own = {n: f for n, f in settings_of(service).model_fields.items() if n not in ServiceSettings.model_fields}
        parts += [f"## {service}", "\n".join([head, *rows(own, f"{PREFIX}{service.upper()}_")])]
    parts += ["## The 311 application", "\n".join([head, *rows(City311Settings.model_fields, f"{PREFIX}CITY311_")])]
    return "\n\n".join(parts) + "\n"


def metrics() -> str:
    """Returns the page about metrics."""
    for module in METRIC_MODULES:
        importlib.import_module(module)
    registry: CollectorRegistry = REGISTRY
    made = {
        m._name: m
        for m in registry._collector_to_names
        if isinstance(m, MetricWrapperBase) and m._name.startswith("halfbeat_")
    }
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for name in sorted(made):
        m = made[name]
        shown = f"{name}_total" if m._type == "counter" else name
        labels = ", ".join(f"`{label}`" for label in m._labelnames)
        lines.append(f"| `{shown}` | {m._type} | {labels} | {m._documentation} |")
    return (
        "# Metrics\n\nWritten by `scripts/docs.py` from the code; `make docs` renews it. Every process shows its own "
        "at `/metrics`. No label holds a session id.\n\n" + "\n".join(lines) + "\n"
    )


def main() -> int:
    """Writes or checks; returns the exit code."""
    pages = {"docs/settings.md": settings(), "docs/metrics.md": metrics()}
    stale = [name for name, text in pages.items() if not (ROOT / name).exists() or (ROOT / name).read_text() != text]
    if "--check" in sys.argv:
        for name in stale:
            print(f"{name} is out of date: run `make docs` and commit the result", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (ROOT / name).write_text(pages[name])
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
