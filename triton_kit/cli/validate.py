"""`triton-kit validate`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triton_kit.cli.command import kit_command
from triton_kit.errors import SpecError, TritonKitError

if TYPE_CHECKING:
    from triton_kit.cli.second_opinion import Opinion
    from triton_kit.repository.check.findings import CheckReport


@kit_command()
@click.argument("repository", type=click.Path(path_type=Path))
@click.option("--server", default="2.51", show_default=True, help="Version or release.")
@click.option("--gpus", type=int, default=0, show_default=True, help="GPUs it sees.")
@click.option("--strict", is_flag=True, help="It runs --disable-auto-complete-config.")
@click.option("--backends", help="The backends it has, a,b,c; its container's if none.")
@click.option("--with-server", is_flag=True, help="Ask the embedded server as well.")
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
    with_server: bool,
    form: str,
) -> None:
    """Say what a Triton server would refuse in REPOSITORY, and why.

    Exits with 0 if it would load every model, 1 if not, 2 if that cannot be said.
    """
    from triton_kit.repository.check.check import check_repository

    names = None if backends is None else [b for b in backends.split(",") if b]
    try:
        report = check_repository(
            repository, server=server, gpus=gpus, strict=strict, backends=names
        )
        opinions = _opinions(report, strict=strict) if with_server else None
    except TritonKitError as error:
        # Neither 0 nor 1: the verdict is not known.
        raise SpecError(error.message, hint=error.hint) from error
    click.echo(_written(report, opinions, form))
    refused = [o.model for o in opinions or () if o.accepted is False]
    sys.exit(0 if report.accepted and not refused else 1)


def _opinions(report: CheckReport, *, strict: bool) -> list[Opinion]:
    from triton_kit.cli.second_opinion import second_opinions

    return second_opinions(report, strict=strict)


def _written(report: CheckReport, opinions: list[Opinion] | None, form: str) -> str:
    """Write the report, and beside it what the server said."""
    from triton_kit.repository.check.report import FORMATS

    text = FORMATS[form](report)
    if opinions is None:
        return text
    if form == "json":
        asked = [asdict(opinion) for opinion in opinions]
        return json.dumps(json.loads(text) | {"embedded_server": asked}, indent=2)
    rejected = set(report.rejected_models())
    lines = [text, "The embedded server:"]
    for opinion in opinions:
        own = "rejected" if opinion.model in rejected else "accepted"
        lines.append(f"  {opinion.model}: {opinion.verdict} (by the kit: {own})")
        lines += [f"    {opinion.reason}"] if opinion.reason else []
    return "\n".join(lines)
