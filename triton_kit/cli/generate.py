"""`triton-kit generate`."""

from __future__ import annotations

from pathlib import Path

import click

from triton_kit.cli.command import kit_command


@kit_command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--name", help="The model's name; that of its file or folder if none.")
@click.option("--max-batch-size", type=int, help="0: no batch axis. Found out if none.")
@click.option("--instances", type=int, help="How many instances, on the CPU.")
@click.option("--dynamic-batching", is_flag=True, help="Join requests into batches.")
def command(
    model: Path,
    *,
    name: str | None,
    max_batch_size: int | None,
    instances: int | None,
    dynamic_batching: bool,
) -> None:
    """Print a config.pbtxt for the ONNX file MODEL."""
    from triton_kit.repository.config.render import render
    from triton_kit.repository.generate.generate import config_from_onnx

    fields: dict[str, object] = {"dynamic_batching": {}} if dynamic_batching else {}
    if instances is not None:
        fields["instance_group"] = [{"count": instances, "kind": "KIND_CPU"}]
    config = config_from_onnx(
        model, name=name, max_batch_size=max_batch_size, fields=fields
    )
    click.echo(render(config), nl=False)
