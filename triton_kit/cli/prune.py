"""`triton-kit prune`."""

from __future__ import annotations

from pathlib import Path

import click

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import dry_run_option, json_option, repository_argument
from triton_kit.cli.output import echo, echo_json, notice
from triton_kit.cli.publish_options import LOCK


@kit_command(
    examples=("triton-kit prune models --keep 5", "triton-kit prune -m digits")
)
@repository_argument("The repository.")
@kit_option(
    "-m",
    "--model",
    "names",
    multiple=True,
    metavar="NAME",
    help="Prune this model alone.  Repeatable.",
)
@kit_option(
    "--keep",
    type=click.IntRange(min=1),
    default=3,
    metavar="N",
    help="Number of versions of each model that stay.",
)
@dry_run_option("List what would be removed; remove nothing.")
@json_option()
@LOCK
def command(
    repository: Path,
    *,
    names: tuple[str, ...],
    keep: int,
    dry_run: bool,
    as_json: bool,
    lock_within_s: float,
) -> None:
    """Remove the oldest versions in REPOSITORY; no version that is served."""
    from triton_kit.publish_delivery import PublishOptions
    from triton_kit.publish_upkeep import prune

    options = PublishOptions(lock_within_s=lock_within_s, dry_run=dry_run)
    result = prune(repository, names, keep=keep, options=options)
    for note in result.notes:
        notice(f"note: {note}")
    if as_json:
        echo_json(
            {
                "repository": str(repository),
                "removed": [{"name": n, "version": v} for n, v in result.removed],
                "notes": list(result.notes),
                "dry_run": result.was_dry_run,
            }
        )
        return
    verb = "would be removed" if dry_run else "removed"
    for name, version in result.removed:
        echo(f"{name}  version {version}  {verb}")
    if not result.removed:
        echo("nothing to remove")
