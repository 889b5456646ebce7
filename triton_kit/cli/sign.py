"""`triton-kit sign`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import PATH_TO_WRITE, repository_argument
from triton_kit.cli.output import echo, notice
from triton_kit.errors import SpecError

PASSWORD_VARIABLE = "TRITON_KIT_KEY_PASSWORD"


@kit_command(
    examples=(
        "triton-kit sign my-project --secret-key ~/keys/release.key --new-key",
        "triton-kit sign my-project --secret-key ~/keys/release.key",
    ),
    epilog=f"The password of an encrypted key is read from {PASSWORD_VARIABLE}, or "
    "asked for. Keys and signatures are those of the program minisign.",
)
@repository_argument("The model repository to sign.")
@kit_option(
    "--secret-key",
    "key",
    type=PATH_TO_WRITE,
    required=True,
    metavar="FILE",
    help="Secret key in the format of minisign.",
)
@kit_option(
    "--new-key",
    is_flag=True,
    help="Make the key first, and its public key as .pub beside it; "
    f"{PASSWORD_VARIABLE} encrypts it.",
)
def command(repository: Path, *, key: Path, new_key: bool) -> None:
    """Sign REPOSITORY: list its files in SHA256SUMS, and sign the list."""
    from triton_kit.transfer import minisign
    from triton_kit.transfer.signature import sign_repository

    if new_key:
        minisign.new_key(key, os.environ.get(PASSWORD_VARIABLE, ""))
        notice(f"wrote {key}; keep it secret. {key.with_suffix('.pub')} is public")
    public = sign_repository(repository, key, lambda: _password(key))
    echo(f"signed {repository} with key {public.name}")
    echo(f"triton-kit validate {repository} --verify-key {public.text}")


def _password(key: Path) -> str:
    if (password := os.environ.get(PASSWORD_VARIABLE)) is not None:
        return password
    if not sys.stdin.isatty():
        raise SpecError(
            f"{key}: is encrypted, and no password is given",
            hint=f"set {PASSWORD_VARIABLE}",
        )
    found: str = click.prompt(f"Password of {key}", hide_input=True, err=True)
    return found
