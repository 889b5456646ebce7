"""Options of the commands that move repositories between machines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from triton_kit.cli.command import kit_option
from triton_kit.cli.options import Decorator

Check = Callable[[Path], object]


def verify_key_option(text: str) -> Decorator:
    """`--verify-key`: the public key that must have signed a repository."""
    return kit_option("--verify-key", metavar="FILE|KEY", help=text)


def checking_signature(key: str | None) -> Check:
    """Return what refuses a repository that the key did not sign."""
    if key is None:
        return lambda _: None
    from triton_kit.transfer.minisign import read_public_key
    from triton_kit.transfer.signature import verify_signature

    read_public_key(key)  # before any work
    return lambda root: verify_signature(root, key)
