"""`triton-kit canary`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import cloup

from triton_kit.cli.command import kit_command
from triton_kit.cli.options import json_option, repository_argument
from triton_kit.cli.publish_options import print_result, with_server_to_load

if TYPE_CHECKING:
    from triton_kit.publish_delivery import PublishOptions


@kit_command(
    examples=(
        "triton-kit canary finish digits models --server localhost:8000",
        "triton-kit canary abort digits models",
    )
)
@cloup.argument(
    "how",
    metavar="finish|abort",
    type=click.Choice(["finish", "abort"]),
    help="Serve the new version alone, or the old one again.",
)
@cloup.argument("model", help="The model.")
@repository_argument("The repository.")
@json_option()
@with_server_to_load
def command(
    how: Literal["finish", "abort"],
    model: str,
    repository: Path,
    *,
    as_json: bool,
    options: PublishOptions,
) -> None:
    """End a canary of MODEL that 'publish --canary' began.

    An aborted version is removed; its number is not used again.
    """
    from triton_kit.publish_upkeep import end_canary

    result = end_canary(repository, model, how=how, options=options)
    print_result(result, options, as_json=as_json)
