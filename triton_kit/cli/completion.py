"""`triton-kit completion`: scripts that complete commands and options in a shell."""

from __future__ import annotations

import click
import cloup
from click.shell_completion import get_completion_class

from triton_kit.cli.command import kit_command
from triton_kit.cli.output import echo


@kit_command(
    examples=(
        'eval "$(triton-kit completion bash)"',
        "triton-kit completion fish > ~/.config/fish/completions/triton-kit.fish",
    )
)
@cloup.argument(
    "shell",
    type=click.Choice(["bash", "zsh", "fish"]),
    help="The shell to complete in.",
)
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL."""
    from triton_kit.cli import COMPLETION_VARIABLE, NAME

    source = get_completion_class(shell)
    if source is None:  # click lost a shell that it had
        raise click.UsageError(f"no completion for {shell}")
    group = ctx.find_root().command
    echo(source(group, {}, NAME, COMPLETION_VARIABLE).source())
