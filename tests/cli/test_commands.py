"""The command line as a whole: every command loads, teaches, and costs nothing until it is called."""

import importlib
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from halfbeat.cli import COMMANDS, main, module_of
from halfbeat.errors import Unavailable

_HEAVY = ("google", "grpc", "nats", "numpy", "onnxruntime", "opentelemetry", "pydantic", "rich")
PRESENT = main.list_commands(click.Context(main))


def test_help_imports_no_command_and_nothing_heavy() -> None:
    code = f"""
import sys
from click.testing import CliRunner
from halfbeat.cli import COMMANDS, main, module_of
result = CliRunner().invoke(main, ["--help"])
assert result.exit_code == 0, result.output
loaded = [name for name in {_HEAVY} if name in sys.modules]
loaded += [name for name in COMMANDS if module_of(name) in sys.modules]
sys.exit(f"loaded: {{loaded}}" if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", PRESENT)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    command = importlib.import_module(module_of(name)).command
    commands = [*command.commands.items()] if isinstance(command, click.Group) else [("", command)]
    for subcommand, _ in commands:
        result = CliRunner().invoke(main, [part for part in (name, subcommand, "--help") if part])
        assert result.exit_code == 0, result.output
        assert "Example" in result.output, f"halfbeat {name} {subcommand}"
        assert f"halfbeat {name}" in result.output
        assert "\\b" not in result.output, "the mark of a paragraph that is not wrapped"


def test_help_lists_the_commands_in_the_order_of_the_table() -> None:
    output = CliRunner().invoke(main, ["--help"]).output
    places = [output.index(f"\n  {name} ") for name in PRESENT]
    assert places == sorted(places)
    assert {"models", "doctor"} <= set(PRESENT) <= set(COMMANDS)


def test_an_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["dial"])
    assert result.exit_code == 2
    assert "No such command 'dial'" in result.stderr


def test_the_version_is_that_of_the_package() -> None:
    import importlib.metadata

    assert CliRunner().invoke(main, ["--version"]).output == f"halfbeat {importlib.metadata.version('halfbeat')}\n"


def raising(error: Exception) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


def test_an_error_of_ours_is_one_line_not_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halfbeat.cli.doctor.command", raising(Unavailable("no bus at 127.0.0.1")))
    result = CliRunner().invoke(main, ["doctor"])
    assert (result.exit_code, result.stderr) == (1, "Error: no bus at 127.0.0.1\n")


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halfbeat.cli.doctor.command", raising(ZeroDivisionError("ours")))
    assert isinstance(CliRunner().invoke(main, ["doctor"]).exception, ZeroDivisionError)
