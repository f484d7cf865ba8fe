"""`halfbeat nats-auth`: users and permissions for a NATS server's configuration."""

import click

from halfbeat.cli.examples import examples


@click.command(
    epilog=examples(
        "halfbeat nats-auth > deploy/nats/auth.conf",
        "halfbeat nats-auth --account city --account county > auth.conf",
        "halfbeat nats-auth router asr dialogue tts cli leaf > auth.conf",
        "halfbeat nats-auth --domain hub asr dialogue tts > leaf-auth.conf",
    )
)
@click.argument("users", nargs=-1, metavar="[USER]...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["conf", "json"]),
    default="conf",
    show_default=True,
    help="conf: to be included by nats-server's configuration. json: for config.merge of the NATS Helm chart.",
)
@click.option(
    "--account", "accounts", multiple=True, help="A NATS account with these users, for one tenant; repeat for more."
)
@click.option("--domain", default="", help="For the users of a leaf node's site: JetStream domain of the hub.")
def command(users: tuple[str, ...], form: str, accounts: tuple[str, ...], domain: str) -> None:
    """Print the users of the NATS server and what each may publish and subscribe.

    By default one user for each service and "cli" for `halfbeat trace`, `replay`, `call` and `doctor`. The permissions
    come from the table of subjects: nothing that is not needed is allowed. USER picks some; "leaf" is the user of a
    leaf node with asr, dialogue and tts.

    The server takes the passwords from its environment: HALFBEAT_NATS_ROUTER_PASSWORD and so on. A service is told
    its own by HALFBEAT_NATS_USER and HALFBEAT_NATS_PASSWORD. The server reads a password as it reads its configuration:
    begin it with a letter and use letters and digits only.
    """
    from halfbeat import nats_auth

    names = users or nats_auth.USERS
    if form == "json":
        click.echo(nats_auth.as_json(names, accounts, domain), nl=False)
    else:
        click.echo("# Made by `halfbeat nats-auth`; passwords are in the server's environment.")
        click.echo(nats_auth.as_conf(names, accounts, domain), nl=False)
