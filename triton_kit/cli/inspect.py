"""`triton-kit inspect`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--profile", is_flag=True, help="Run it, and show its slowest nodes.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def command(file: Path, profile: bool, as_json: bool) -> None:
    """Show what FILE is: an ONNX model, a plan, an RTX engine or a manifest."""
    from triton_kit.convert.describe import describe, description_lines
    from triton_kit.convert.manifest import as_text

    facts = describe(file, profile=profile)
    if as_json:
        click.echo(as_text(facts), nl=False)
    else:
        click.echo("\n".join(description_lines(facts)))
