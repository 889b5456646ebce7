"""`triton-kit push`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import cloup

from triton_kit.cli.command import kit_command
from triton_kit.cli.options import FOLDER_TO_READ, json_option, project_repository
from triton_kit.cli.output import echo, echo_json
from triton_kit.cli.transfer_options import (
    STORE_ADDRESS,
    checking_signature,
    verify_key_option,
)


@kit_command(
    examples=(
        "triton-kit push my-project s3://models/digits",
        "triton-kit push model_repository gs://models/digits --verify-key release.pub",
    )
)
@cloup.argument(
    "repository",
    type=FOLDER_TO_READ,
    callback=project_repository,
    help="The model repository to push, or a project that has one.",
)
@cloup.argument(
    "address",
    type=STORE_ADDRESS,
    help="s3://BUCKET/PATH, gs://BUCKET/PATH or az://CONTAINER/PATH.",
)
@verify_key_option("Push only what this key signed.")
@json_option()
def command(
    repository: Path, address: str, *, verify_key: str | None, as_json: bool
) -> None:
    """Push REPOSITORY to ADDRESS in an object store.

    The files go under their digest; then one small object, latest.json, names it. A
    push that was cut continues; of two at once, one fails.
    """
    from triton_kit.transfer.push import push
    from triton_kit.transfer.stores import open_store, read_address

    checking_signature(verify_key)(repository)
    pushed = push(repository, open_store(read_address(address)))
    if as_json:
        echo_json(asdict(pushed))
        return
    there = pushed.files - pushed.sent - pushed.copied
    state = "new" if pushed.changed else "unchanged"
    echo(
        f"{state}  {pushed.files} files, {pushed.bytes:,} bytes: {pushed.sent} sent, "
        f"{pushed.copied} copied in the store, {there} there already"
    )
    echo(f"digest  {pushed.digest}")
    echo(f"tritonserver --model-repository={pushed.address}")
