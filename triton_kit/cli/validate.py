"""`triton-kit validate`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from triton_kit.errors import SpecError, TritonKitError


@click.command()
@click.argument("repository", type=click.Path(path_type=Path))
@click.option("--server", default="2.51", show_default=True, help="Version or release.")
@click.option("--gpus", type=int, default=0, show_default=True, help="GPUs it sees.")
@click.option("--strict", is_flag=True, help="It runs --disable-auto-complete-config.")
@click.option("--backends", help="The backends it has, a,b,c; its container's if none.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
)
def command(
    repository: Path,
    *,
    server: str,
    gpus: int,
    strict: bool,
    backends: str | None,
    form: str,
) -> None:
    """Say what a Triton server would refuse in REPOSITORY, and why.

    Exits with 0 if it would load every model, 1 if not, 2 if that cannot be said.
    """
    from triton_kit.repository.check import check_repository
    from triton_kit.repository.report import FORMATS

    names = None if backends is None else [b for b in backends.split(",") if b]
    try:
        report = check_repository(
            repository, server=server, gpus=gpus, strict=strict, backends=names
        )
    except TritonKitError as error:
        # Neither 0 nor 1: the verdict is not known.
        raise SpecError(error.message, hint=error.hint) from error
    click.echo(FORMATS[form](report))
    sys.exit(0 if report.accepted else 1)
