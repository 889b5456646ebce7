"""`triton-kit inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from triton_kit.cli.command import kit_command


@kit_command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--profile", is_flag=True, help="Run it, and show its slowest nodes.")
@click.option(
    "--shapes",
    multiple=True,
    metavar="NAME:SHAPE",
    help="For the profile: x:8x3x224x224.",
)
@click.option("--batch", type=int, help="For the profile: of inputs without --shapes.")
@click.option("--runs", type=int, default=20, show_default=True, help="Measured.")
@click.option("--warm-up", type=int, default=5, show_default=True, help="Not measured.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def command(
    file: Path,
    profile: bool,
    shapes: tuple[str, ...],
    batch: int | None,
    runs: int,
    warm_up: int,
    as_json: bool,
) -> None:
    """Show what FILE is: an ONNX model, a plan, an RTX engine or a manifest."""
    from triton_kit.conversion.inspection.describe import describe, description_lines
    from triton_kit.conversion.order import profile_spec
    from triton_kit.conversion.results.manifest import as_text
    from triton_kit.errors import SpecError

    if file.is_dir():
        raise SpecError(
            f"{file}: expected a file, found a folder",
            hint="name the model's file in it; triton-kit validate reads repositories",
        )
    asked = profile_spec(shapes, batch=batch, runs=runs, warm_up=warm_up)
    facts = describe(file, profile=asked if profile else None)
    if as_json:
        click.echo(as_text(facts), nl=False)
    else:
        click.echo("\n".join(description_lines(facts)))
