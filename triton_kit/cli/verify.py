"""`triton-kit verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import json_option, repository_argument
from triton_kit.cli.output import echo, echo_json, notice
from triton_kit.cli.transfer_options import checking_signature, verify_key_option

if TYPE_CHECKING:
    from triton_kit.repository.publish.verify import VerifyReport


@kit_command(
    examples=("triton-kit verify models", "triton-kit verify -m digits --json")
)
@repository_argument("The repository.")
@kit_option(
    "-m",
    "--model",
    "names",
    multiple=True,
    metavar="NAME",
    help="Verify this model alone.  Repeatable.",
)
@verify_key_option("Refuse a repository that this key did not sign.")
@json_option()
def command(
    repository: Path, *, names: tuple[str, ...], verify_key: str | None, as_json: bool
) -> None:
    """Compare every file of REPOSITORY with what was published, by sha256.

    Exits with 0 if all are as they were published, 1 if not.
    """
    from triton_kit.repository.publish.transaction import recover
    from triton_kit.repository.publish.verify import verify

    if done := recover(repository):
        notice(done)
    checking_signature(verify_key)(repository)
    report = verify(repository, names)
    (_print_json if as_json else _print)(report)
    sys.exit(0 if report.is_intact else 1)


def _print_json(report: VerifyReport) -> None:
    echo_json(
        {
            "intact": report.is_intact,
            "models": len(report.models),
            "versions": report.versions,
            "files": report.files,
            "bytes": report.bytes,
            "problems": [
                {"path": str(p.path), "what": p.what} for p in report.problems
            ],
            "unlisted": [str(path) for path in report.unlisted],
        }
    )


def _print(report: VerifyReport) -> None:
    for path in report.unlisted:
        notice(f"note: {path} has no manifest: there is nothing to compare it with")
    for problem in report.problems:
        echo(f"{problem.path}: {problem.what}")
    counts = (
        f"{len(report.models)} models, {report.versions} versions, "
        f"{report.files} files, {_size(report.bytes)}"
    )
    if report.is_intact:
        echo(f"{counts}: all as they were published")
    else:
        echo(f"{counts}: {len(report.problems)} problems")


def _size(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
