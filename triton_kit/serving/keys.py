"""The key of a server's control APIs: made once, in a file for its owner only."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from triton_kit.errors import SpecError

# The HTTP header that carries the key; gRPC's metadata has a prefix of Triton's.
KEY_HEADER = "x-triton-key"
GRPC_KEY_HEADER = f"triton-grpc-protocol-{KEY_HEADER}"
# Triton's flag separates with the characters that these leave out.
_KEY = re.compile(r"[A-Za-z0-9_-]{16,}")


def key_headers(key: str) -> dict[str, str]:
    """Return the headers that control requests need; none without a key."""
    return {KEY_HEADER: key} if key else {}


def new_key() -> str:
    """Return a new key: 32 random bytes, as text."""
    return secrets.token_urlsafe(32)


def read_or_make_key(path: Path) -> str:
    """Return the key in a file; a missing file is made, with a new one.

    Raises:
        SpecError: the file cannot be read or made, other users can read it, or it
            holds no key.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_key(path)
    except OSError as error:
        raise SpecError(
            f"{path}: cannot make the key file: {error.strerror}"
        ) from error
    key = new_key()
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{key}\n")
    return key


def read_key(path: Path) -> str:
    """Return the key in a file.

    Raises:
        SpecError: it cannot be read, other users can read it, or it holds no key.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise SpecError(
            f"{path}: cannot read the key file: {error.strerror}"
        ) from error
    if mode & 0o077:
        raise SpecError(
            f"{path}: other users can read this key file (mode {mode:04o})",
            hint=f"chmod 600 {path}",
        )
    if not _KEY.fullmatch(text):
        raise SpecError(
            f"{path}: no key in this file: expected one line of at least 16 letters, "
            "digits, '-' or '_'",
            hint="name a file that does not exist, for a generated key",
        )
    return text
