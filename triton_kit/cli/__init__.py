"""The command line: parse options, call the library, print what it returned."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any  # Any: what click hands over

import click
import cloup

from triton_kit.cli.command import CONTEXT_SETTINGS, ENVIRONMENT_PREFIX, KitCommand
from triton_kit.cli.exits import EXIT_CODES, run_to_exit_code
from triton_kit.errors import nearest

NAME = "triton-kit"
COMPLETION_VARIABLE = "_TRITON_KIT_COMPLETE"
# Section -> command -> one line of help. The module of a command has its name. It is
# imported when its command runs, so that `--help` stays fast however heavy the
# libraries behind the commands are.
_SECTIONS = {
    "Start": {
        "demo": "Build, serve, score and load-test an example.",
        "new": "Write an example project.",
        "init": "Write a triton-kit.yaml for your models.",
        "doctor": "Show what works on this machine, and what is missing.",
    },
    "Models": {
        "convert": "Convert one model and verify its accuracy.",
        "inspect": "Show what a model file or plan contains.",
    },
    "Repositories": {
        "build": "Build a project into a model repository.",
        "validate": "Check a model repository without a server.",
        "format": "Rewrite config.pbtxt in the canonical layout.",
        "diff": "Compare configs, models or repositories.",
        "generate": "Write a config.pbtxt for an ONNX file.",
        "schema": "Print the JSON Schema of triton-kit.yaml.",
        "graph": "Draw the ensembles of a repository.",
        "ui": "Show a repository and its results in the browser.",
        "push": "Push a model repository to an object store.",
        "pull": "Pull a model repository from an object store.",
        "pack": "Pack a model repository into a tar file.",
        "unpack": "Unpack a tar file into a model repository.",
        "sign": "Sign a model repository.",
    },
    "Publishing": {
        "publish": "Publish models to a repository that is served.",
        "versions": "List the versions of models.",
        "rollback": "Return a model to an earlier version.",
        "promote": "Publish a version of one repository to another.",
        "canary": "Finish or abort a canary.",
        "prune": "Remove old versions.",
        "verify": "Compare every file with what was published.",
        "history": "List the changes of a repository.",
    },
    "Servers": {
        "releases": "Show Triton's releases and their open vulnerabilities.",
        "serve": "Serve a model repository on this machine.",
        "image": "Build an image that serves a repository.",
        "ps": "List the servers in containers.",
        "logs": "Show the log of a server in a container.",
        "stop": "Stop a server in a container.",
        "deploy": "Write the files that start a server elsewhere.",
        "status": "Show a server and the state of its models.",
        "load": "Load a model on a server, or load it again.",
        "unload": "Unload a model on a server.",
        "infer": "Send one request and show the response.",
        "metrics": "Show the metrics of a server.",
        "test": "Run the tests of a project on a server.",
        "perf": "Load-test a served model.",
        "compare": "Compare two results of perf or tune.",
        "tune": "Find the settings with which a model serves best.",
        "report": "Draw results of perf, tune and convert.",
    },
    "Shell": {"completion": "Print a completion script for bash, zsh or fish."},
}
COMMANDS = {name: text for part in _SECTIONS.values() for name, text in part.items()}


class KitGroup(KitCommand, cloup.Group):
    """Finds commands lazily, and turns every outcome into an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Run the command line and exit, unless `standalone_mode` is off."""
        if not standalone_mode:
            return super().main(
                args, prog_name, complete_var, standalone_mode=False, **extra
            )
        # Before any import of ONNX Runtime, here or in a child process.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        words = sys.argv[1:] if args is None else list(args)
        sys.exit(run_to_exit_code(lambda: self._run(words, prog_name or NAME, extra)))

    def _run(self, args: list[str], name: str, extra: dict[str, Any]) -> int:
        """Complete a word of the shell, or run a command."""
        if instruction := os.environ.get(COMPLETION_VARIABLE):
            from click.shell_completion import shell_complete

            return shell_complete(self, extra, name, COMPLETION_VARIABLE, instruction)
        with self.make_context(name, args, **extra) as ctx:
            self.invoke(ctx)
        return 0

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the work, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"triton_kit.cli.{cmd_name}").command
        command.name = cmd_name  # all are functions called `command`
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the command that was probably meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            match = nearest(args[0], COMMANDS)
            meant = f" Did you mean {match!r}?" if match else ""
            ctx.fail(f"No such command {args[0]!r}.{meant}")
        return click.Group.resolve_command(self, ctx, args)

    def format_params(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Leave the options to `format_commands`: the commands come first."""

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the commands without importing them, the options, the exit codes."""
        width = max(map(len, COMMANDS))
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                rows = [(name.ljust(width), text) for name, text in commands.items()]
                formatter.write_dl(rows)
        super().format_params(ctx, formatter)
        with formatter.section("Exit codes"):
            formatter.write_dl([(code.ljust(width), text) for code, text in EXIT_CODES])


@click.group(
    cls=KitGroup,
    context_settings=CONTEXT_SETTINGS,
    epilog=f"Options can be set in the environment: {ENVIRONMENT_PREFIX}_<OPTION>, or "
    f"{ENVIRONMENT_PREFIX}_<COMMAND>_<OPTION> for one command.",
)
@click.version_option(package_name="triton_kit", help="Show the version.")
def main() -> None:
    """From a trained model to a served, measured Triton model repository."""
