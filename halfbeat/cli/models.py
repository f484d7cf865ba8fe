"""`halfbeat models`: what there is, get it, check it."""

import json
from typing import Any

import click

from halfbeat.cli.examples import examples

_NAMES = click.argument("names", nargs=-1, metavar="[NAME]...")
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")


@click.group()
def command() -> None:
    """List, pull and verify the models.

    They lie in $HALFBEAT_CACHE/models (by default ~/.cache/halfbeat/models), one folder each, and are shared by all
    checkouts. A NAME is a model or a set: `default` is what the default engines need, `all` is everything.
    """


@command.command(
    "list",
    short_help="Show every model and whether it is here.",
    epilog=examples("""halfbeat models list --json | jq -r '.models[] | select(.state == "missing") | .name'"""),
)
@_AS_JSON
def list_models(as_json: bool) -> None:
    """Show every model: what it is for, its size and licence, and whether it is here."""
    from halfbeat import models
    from halfbeat.models.store import default_root

    rows = [_row(model) for model in models.catalogue().models.values()]
    if as_json:
        sets = {name: list(members) for name, members in models.catalogue().sets.items()}
        click.echo(json.dumps({"folder": str(default_root()), "sets": sets, "models": rows}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("model", "for", "MB", "licence", "sets", "state"):
        table.add_column(title, justify="right" if title == "MB" else "left", no_wrap=title != "for")
    for row in rows:
        size = f"{row['size_bytes'] / 1e6:,.0f}"
        table.add_row(row["name"], row["purpose"], size, row["licence"], " ".join(row["sets"]), row["state"])
    console = Console()
    console.print(table)
    console.print(f"\nin {default_root()}", highlight=False, soft_wrap=True)


@command.command(epilog=examples("halfbeat models pull", "halfbeat models pull whisper-base-ct2"))
@_NAMES
def pull(names: tuple[str, ...]) -> None:
    """Fetch models that are not here yet, or damaged. Without a NAME: the set `default`.

    Every file is checked by SHA-256. ^C loses nothing: the next pull goes on where this one stopped.
    """
    from rich.console import Console

    from halfbeat import models
    from halfbeat.cli.pull_progress import shown

    with shown(Console(stderr=True)) as progress:
        models.pull(names or ("default",), progress)


@command.command(epilog=examples("halfbeat models verify", "halfbeat models verify default --json"))
@_NAMES
@_AS_JSON
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Hash the files of models and compare with the catalogue. Without a NAME: every model that is here.

    Exits with 1 if a model is damaged, or named and missing.
    """
    from halfbeat import models

    verdicts = models.verify(names or ("all",))
    if not names:
        verdicts = [verdict for verdict in verdicts if verdict.state != "missing"]
    if as_json:
        click.echo(json.dumps([{"name": v.name, "state": v.state, "detail": v.detail} for v in verdicts], indent=2))
    else:
        for verdict in verdicts:
            click.echo(f"{verdict.name}: {verdict.detail or 'ok'}")
        if not verdicts:
            click.echo("no model is here; `halfbeat models pull` gets the default ones")
    if any(verdict.state != "ok" for verdict in verdicts):
        raise click.exceptions.Exit(1)


def _row(model: Any) -> dict[str, Any]:
    from halfbeat import models
    from halfbeat.models.store import Store, default_root

    store = Store(default_root())
    try:
        store.path(model)
        state = "here"
    except models.ModelMissing:
        state = "missing"
    except models.ModelCorrupt:
        state = "damaged"
    return {
        "name": model.name,
        "kind": model.kind,
        "purpose": model.purpose,
        "licence": model.licence,
        "note": model.note.strip(),
        "sets": list(model.sets),
        "size_bytes": model.size_bytes,
        "download_bytes": model.download_bytes,
        "state": state,
        "folder": str(store.folder(model)),
    }
