"""`halfbeat doctor`: what is missing here and how to get it."""

import dataclasses
import json

import click

from halfbeat.cli.examples import examples

_MARKS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "missing": ("MISSING", "red")}


@click.command(
    epilog=examples("halfbeat doctor", """halfbeat doctor --json | jq '.findings[] | select(.state != "ok")'""")
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")
def command(as_json: bool) -> None:
    """Say what is missing on this machine and how to get it.

    Looks at Python, the packages of each service, the models, the bus server, ports, cores, memory and disk. Exits with
    1 if something that the default set-up needs is missing; a note is something that may matter.
    """
    from halfbeat import doctor

    findings = doctor.examine()
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
        click.echo("everything that the default set-up needs is here" if healthy else "something needed is missing")
    if not healthy:
        raise click.exceptions.Exit(1)
