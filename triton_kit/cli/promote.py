"""`triton-kit promote`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import (
    FOLDER_TO_READ,
    PATH_TO_WRITE,
    dry_run_option,
    json_option,
)
from triton_kit.cli.publish import PERF, REQUIRE
from triton_kit.cli.publish_options import print_result, with_checks
from triton_kit.cli.transfer_options import checking_signature, verify_key_option

if TYPE_CHECKING:
    from triton_kit.publish_delivery import PublishOptions


@kit_command(
    examples=(
        "triton-kit promote digits staging production --server gpu7:8000",
        "triton-kit promote digits staging prod --perf p.json --require 'p99<20ms'",
    )
)
@cloup.argument("model", help="The model.")
@cloup.argument("source", type=FOLDER_TO_READ, help="The repository that has it.")
@cloup.argument("repository", type=PATH_TO_WRITE, help="The repository to publish to.")
@kit_option(
    "--version",
    "version",
    type=click.IntRange(min=1),
    metavar="VERSION",
    help="Version in SOURCE.  [default: the newest]",
)
@PERF
@REQUIRE
@dry_run_option("Check and try the version; publish nothing.")
@verify_key_option("Refuse a SOURCE that this key did not sign: minisign's public key.")
@json_option()
@with_checks
def command(
    model: str,
    source: Path,
    repository: Path,
    *,
    version: int | None,
    perf: Path | None,
    required: str,
    verify_key: str | None,
    as_json: bool,
    options: PublishOptions,
) -> None:
    """Publish a version of MODEL in SOURCE to REPOSITORY: the same bytes."""
    from triton_kit.publishing import promote

    checking_signature(verify_key)(source)
    result = promote(
        model,
        source,
        repository,
        version=version,
        perf=perf,
        required=required,
        options=options,
    )
    print_result(result, options, as_json=as_json)
