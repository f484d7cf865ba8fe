"""`halfbeat doctor`: what is missing, here or in a running deployment, and how to get it."""

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from halfbeat.cli.examples import examples

if TYPE_CHECKING:
    from halfbeat.doctor import Finding

_MARKS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "missing": ("MISSING", "red")}


@click.command(
    epilog=examples(
        "halfbeat doctor",
        """halfbeat doctor --json | jq '.findings[] | select(.state != "ok")'""",
        "halfbeat doctor --nats-url nats://nats:4222 --router http://router:8080 --llm-url http://llm:8081/v1",
    )
)
@click.option("--nats-url", default="", help="Look at a running deployment: its bus, and who is there.")
@click.option("--router", "router_url", default="", help="Look at a running deployment: HTTP address of a router.")
@click.option("--llm-url", default="", help="Look at a running deployment: its language model's API, with /v1.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")
def command(nats_url: str, router_url: str, llm_url: str, as_json: bool) -> None:
    """Say what is missing on this machine, or in a running deployment, and how to get it.

    Looks at Python, the packages of each service, the models, the bus server, ports, cores, memory and disk. With an
    address it looks at what runs there instead: whether the bus answers and as which user, the streams and buckets,
    which processes have announced themselves, their slots, whether the router is ready and the language model there.
    HALFBEAT_NATS_USER and HALFBEAT_NATS_PASSWORD say who it is on the bus; the user "cli" may look at everything.

    Exits with 1 if something needed is missing; a note is something that may matter.
    """
    from halfbeat import doctor

    is_remote = bool(nats_url or router_url or llm_url)
    findings = _deployment(nats_url, router_url, llm_url) if is_remote else doctor.examine()
    healthy = all(finding.state != "missing" for finding in findings)
    if as_json:
        rows = [dataclasses.asdict(finding) for finding in findings]
        click.echo(json.dumps({"healthy": healthy, "findings": rows}, indent=2))
    else:
        for finding in findings:
            mark, colour = _MARKS[finding.state]
            click.echo(f"{click.style(f'{mark:<8}', fg=colour)}{finding.subject:<34} {finding.detail}")
            if finding.remedy:
                click.echo(f"{'':<8}{'':<34} -> {finding.remedy}")
        what = "a call needs" if is_remote else "the default set-up needs"
        click.echo(f"everything that {what} is here" if healthy else "something needed is missing")
    if not healthy:
        raise click.exceptions.Exit(1)


def _deployment(nats_url: str, router_url: str, llm_url: str) -> "list[Finding]":
    from halfbeat import deployment
    from halfbeat.service import run_loop
    from halfbeat.settings import NatsSettings

    nats = NatsSettings.from_environment(url=nats_url) if nats_url else None
    return run_loop(deployment.examine(nats, router_url, llm_url))
