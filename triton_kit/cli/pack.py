"""`triton-kit pack`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from triton_kit.cli.command import kit_command
from triton_kit.cli.options import json_option, output_option, repository_argument
from triton_kit.cli.output import echo, echo_json


@kit_command(examples=("triton-kit pack my-project -o digits.tar",))
@repository_argument("The model repository to pack.")
@output_option("Tar file to write.", required=True)
@json_option()
def command(repository: Path, *, output: Path, as_json: bool) -> None:
    """Pack REPOSITORY into a tar file.

    The same files give the same bytes: no times, no owners, one order. A link inside of
    the repository becomes the file that it names.
    """
    from triton_kit.transfer.archive import pack

    packed = pack(repository, output)
    if as_json:
        echo_json(asdict(packed) | {"path": str(packed.path)})
        return
    echo(f"{packed.path}  {packed.files} files, {packed.bytes:,} bytes")
    echo(f"digest  {packed.digest}")
