"""The command line `halfbeat`: one module here per command, imported only when that command is called.

A command `up` is the object `command` in `halfbeat/cli/up.py`, and one line in `COMMANDS`.
"""

import importlib
import importlib.util
import sys
from typing import Any

import click

from halfbeat.cli.examples import examples

COMMANDS = {
    "up": "Start everything on this machine: bus, services, language model. ^C drains.",
    "demo": "Hold the 311 call with real models and show where the time went.",
    "call": "Call a running router: play WAV files or speak lines of text.",
    "trace": "Draw where the milliseconds of a call's turns went.",
    "replay": "Show a past call again from its log.",
    "bench": "Measure latency, load and echo.",
    "models": "List, pull and verify the models.",
    "doctor": "Say what is missing here and how to get it.",
    "nats-auth": "Print the users of a NATS server and what each may do.",
    "nats-metrics": "Tell Prometheus what NATS servers tell about themselves.",
}


def module_of(command: str) -> str:
    """Returns the module of a command: that of `nats-auth` is `halfbeat.cli.nats_auth`."""
    return f"{__name__}.{command.replace('-', '_')}"


class Commands(click.Group):
    """Imports a command when it is asked for, so that `halfbeat --help` need not load them all."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of `COMMANDS`."""
        return [name for name in COMMANDS if importlib.util.find_spec(module_of(name))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None if there is none of that name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(module_of(cmd_name)).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the table of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; an error of ours becomes one line on stderr and exit code 1, not a traceback."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            ours = sys.modules.get("halfbeat.errors")
            if ours is not None and isinstance(error, ours.HalfbeatError):
                raise click.ClickException(str(error)) from error
            raise


@click.group(
    cls=Commands,
    epilog=examples("halfbeat doctor", "halfbeat models pull", "halfbeat up"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="halfbeat", prog_name="halfbeat", message="%(prog)s %(version)s")
def main() -> None:
    """A voice-agent platform that answers within half a beat."""
