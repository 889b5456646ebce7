"""`triton-kit unpack`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import FILE_TO_READ, json_option, output_option
from triton_kit.cli.output import echo, echo_json
from triton_kit.cli.transfer_options import checking_signature, verify_key_option


@kit_command(
    examples=(
        "triton-kit unpack digits.tar -o model_repository",
        "triton-kit unpack digits.tar -o model_repository --verify-key minisign.pub",
    )
)
@cloup.argument("archive", type=FILE_TO_READ, help="An uncompressed tar file.")
@output_option("Folder to write; it must not be there yet.", required=True)
@verify_key_option("Unpack only what this key signed.")
@kit_option(
    "--max-bytes",
    type=click.IntRange(min=1),
    default=1 << 40,
    metavar="BYTES",
    help="Largest size of all files together.",
)
@kit_option(
    "--max-files",
    type=click.IntRange(min=1),
    default=100_000,
    metavar="N",
    help="Largest number of files and folders.",
)
@json_option()
def command(
    archive: Path,
    *,
    output: Path,
    verify_key: str | None,
    max_bytes: int,
    max_files: int,
    as_json: bool,
) -> None:
    """Unpack ARCHIVE into a new model repository.

    Refuses paths that leave the folder, links, devices and names that are there twice.
    Nothing is left if it fails.
    """
    from triton_kit.transfer.archive import unpack

    unpacked = unpack(
        archive,
        output,
        max_bytes=max_bytes,
        max_files=max_files,
        check=checking_signature(verify_key),
    )
    if as_json:
        echo_json(asdict(unpacked) | {"path": str(unpacked.path)})
        return
    echo(f"{unpacked.path}  {unpacked.files} files, {unpacked.bytes:,} bytes")
    echo(f"digest  {unpacked.digest}")
