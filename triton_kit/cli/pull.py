"""`triton-kit pull`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import json_option, output_option
from triton_kit.cli.output import echo, echo_json
from triton_kit.cli.transfer_options import (
    STORE_ADDRESS,
    checking_signature,
    verify_key_option,
)


@kit_command(
    examples=(
        "triton-kit pull s3://models/digits -o model_repository",
        "triton-kit pull gs://models/digits -o model_repository --verify-key a.pub",
    )
)
@cloup.argument(
    "address",
    type=STORE_ADDRESS,
    help="s3://BUCKET/PATH, gs://BUCKET/PATH or az://CONTAINER/PATH.",
)
@output_option("Folder to write; it must not be there yet.", required=True)
@kit_option(
    "--digest", metavar="SHA256", help="Which repository.  [default: the newest]"
)
@verify_key_option("Pull only what this key signed.")
@json_option()
def command(
    address: str,
    *,
    output: Path,
    digest: str | None,
    verify_key: str | None,
    as_json: bool,
) -> None:
    """Pull the newest repository at ADDRESS into a new folder.

    Each file is compared with its digest. Nothing is left if it fails.
    """
    from triton_kit.transfer.pull import pull
    from triton_kit.transfer.stores import open_store, read_address

    check = checking_signature(verify_key)
    store = open_store(read_address(address))
    pulled = pull(store, output, digest=digest, check=check)
    if as_json:
        echo_json(asdict(pulled) | {"path": str(pulled.path)})
        return
    echo(f"{pulled.path}  {pulled.files} files, {pulled.bytes:,} bytes")
    echo(f"digest  {pulled.digest}")
