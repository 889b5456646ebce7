"""The command line: parse words, call the library, print what it returned."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import click

from triton_kit.errors import TritonKitError, nearest

# Command -> (module, one line of help). A module is imported when its command runs,
# so that `--help` stays fast however heavy the libraries behind the commands are.
_COMMANDS = {
    "demo": ("triton_kit.cli.demo", "Build, serve, score and load-test an example."),
    "new": ("triton_kit.cli.new", "Scaffold a project to start from."),
    "doctor": ("triton_kit.cli.doctor", "Say what works on this machine."),
    "convert": ("triton_kit.cli.convert", "Convert one model, checked for accuracy."),
    "inspect": ("triton_kit.cli.inspect", "Say what a model file or plan is."),
    "build": ("triton_kit.cli.build", "Build a project into a model repository."),
    "validate": ("triton_kit.cli.validate", "Check a model repository offline."),
    "format": ("triton_kit.cli.format", "Bring config.pbtxt into canonical layout."),
    "diff": ("triton_kit.cli.diff", "Compare configs, models or repositories."),
    "generate": ("triton_kit.cli.generate", "Print a config for an ONNX file."),
    "graph": ("triton_kit.cli.graph", "Draw the ensembles of a repository."),
    "serve": ("triton_kit.cli.serve", "Serve a model repository on this machine."),
    "perf": ("triton_kit.cli.perf", "Load-test a served model."),
}


class KitGroup(click.Group):
    """Finds commands lazily, and explains library errors; bugs keep their traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the work, not of the alphabet."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        command: click.Command = import_module(module).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say which command was probably meant."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            match = nearest(args[0], _COMMANDS)
            meant = f" Did you mean {match!r}?" if match else ""
            ctx.fail(f"No such command {args[0]!r}.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a library error becomes its message, hint and exit code."""
        try:
            with _tidy_at_sigterm():
                return super().invoke(ctx)
        except TritonKitError as error:
            click.secho(f"Error: {error.message}", fg="red", err=True)
            if error.hint:
                click.secho(f"  hint: {error.hint}", fg="cyan", err=True)
            sys.exit(error.exit_code)


@contextmanager
def _tidy_at_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that children and scratch folders go as well."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.group(cls=KitGroup)
@click.version_option(package_name="triton_kit")
def main() -> None:
    """From a trained model to a served, measured Triton model repository."""
