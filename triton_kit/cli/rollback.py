"""`triton-kit rollback`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import dry_run_option, json_option, repository_argument
from triton_kit.cli.publish_options import print_result, with_checks

if TYPE_CHECKING:
    from triton_kit.publish_delivery import PublishOptions


@kit_command(
    examples=(
        "triton-kit rollback digits models --server localhost:8000",
        "triton-kit rollback digits models --to 3",
    )
)
@cloup.argument("model", help="The model.")
@repository_argument("The repository.")
@kit_option(
    "--to",
    type=click.IntRange(min=1),
    metavar="VERSION",
    help="Version to return to.  [default: the one before the newest]",
)
@dry_run_option("Check and try the old version; publish nothing.")
@json_option()
@with_checks
def command(
    model: str,
    repository: Path,
    *,
    to: int | None,
    as_json: bool,
    options: PublishOptions,
) -> None:
    """Return MODEL to an earlier version.

    Its bytes and its config get the next version number, so that numbers only grow.
    """
    from triton_kit.publishing import rollback

    result = rollback(repository, model, to=to, options=options)
    print_result(result, options, as_json=as_json)
