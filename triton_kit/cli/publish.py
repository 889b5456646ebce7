"""`triton-kit publish`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import (
    FILE_TO_READ,
    PATH_TO_READ,
    PATH_TO_WRITE,
    dry_run_option,
    json_option,
)
from triton_kit.cli.publish_options import print_result, with_checks
from triton_kit.cli.transfer_options import checking_signature, verify_key_option

if TYPE_CHECKING:
    from triton_kit.publish_delivery import PublishOptions

PERF = kit_option(
    "--perf",
    type=FILE_TO_READ,
    metavar="FILE",
    help="JSON result of perf for the model; travels with the version.",
)
REQUIRE = kit_option(
    "--require",
    "required",
    default="",
    metavar="BOUNDS",
    show_default=False,
    help="Objectives that the perf result must meet, such as 'p99<20ms' or "
    "'ttft_p95<300ms,tokens>500'.",
)


@kit_command(
    examples=(
        "triton-kit publish my-project models --server localhost:8000",
        "triton-kit publish digits.onnx models --model digits --canary",
    )
)
@cloup.argument(
    "source",
    type=PATH_TO_READ,
    help="A project, a repository, a model's folder, or a model file.",
)
@cloup.argument("repository", type=PATH_TO_WRITE, help="The repository to publish to.")
@kit_option(
    "-m",
    "--model",
    "names",
    multiple=True,
    metavar="NAME",
    help="Publish this model alone; of a model file: its name.  Repeatable.",
)
@kit_option(
    "-t", "--target", metavar="NAME", help="A target of the project.  [default: first]"
)
@kit_option(
    "--sample",
    type=FILE_TO_READ,
    metavar="FILE",
    help="Inputs (.npz) for the smoke test; they travel with the version.",
)
@PERF
@REQUIRE
@kit_option(
    "--canary",
    is_flag=True,
    help="Serve the new version beside the old one, until 'canary finish' or 'abort'.",
)
@dry_run_option("Check and try the new versions; publish nothing.")
@verify_key_option("Refuse a SOURCE that this key did not sign: minisign's public key.")
@json_option()
@with_checks
def command(
    source: Path,
    repository: Path,
    *,
    names: tuple[str, ...],
    target: str | None,
    sample: Path | None,
    perf: Path | None,
    required: str,
    canary: bool,
    verify_key: str | None,
    as_json: bool,
    options: PublishOptions,
) -> None:
    """Publish the models of SOURCE to REPOSITORY: all of them, or none.

    A new version is copied, checked and loaded in a scratch server before it appears.
    If anything fails, the repository and the server have the old state.
    """
    from triton_kit.publishing import publish

    checking_signature(verify_key)(source)
    result = publish(
        source,
        repository,
        names=names,
        target=target,
        sample=sample,
        perf=perf,
        required=required,
        canary=canary,
        options=options,
    )
    print_result(result, options, as_json=as_json)
