"""The files of a repository into a signed list, and a signed list into a verdict.

SHA256SUMS is what `sha256sum` writes, SHA256SUMS.minisig what `minisign` signs: both
tools verify a repository without the kit. Triton ignores files beside its models.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.files import read_text, write_whole
from triton_kit.transfer.minisign import (
    PublicKey,
    read_public_key,
    read_secret_key,
    sign,
    verify,
)
from triton_kit.transfer.placing import explain_disk
from triton_kit.transfer.tree import BYTECODE, check_paths, find_files, read_facts

LIST_FILE = "SHA256SUMS"
SIGNATURE_FILE = "SHA256SUMS.minisig"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_LIST_BYTES = 64 << 20
_COMMENT = "model repository, listed by triton-kit"


def sign_repository(
    root: Path, key: Path, password: Callable[[], str] = lambda: ""
) -> PublicKey:
    """List the files of a repository in SHA256SUMS and sign the list.

    Args:
        root: the repository.
        key: a secret key in the format of minisign.
        password: called if that key is encrypted.

    Returns:
        The public key that verifies it.

    Raises:
        MissingExtraError: the extra `sign` is not installed.
        RepositoryError: a file cannot be read, or the list cannot be written.
        SpecError: the key is none, or its password is wrong.
    """
    secret = read_secret_key(key, password)
    files, _ = find_files(root)
    inside = key.resolve().parent
    if inside.is_relative_to(root.resolve()):
        raise SpecError(
            f"{key}: the secret key is inside of the repository",
            hint="move it to a folder of your own",
        )
    text = "".join(
        f"{read_facts(path).sha256}  {name}\n"
        for name, path in files.items()
        if name not in (LIST_FILE, SIGNATURE_FILE)
    )
    with explain_disk(root):
        write_whole(root / LIST_FILE, text)
        write_whole(root / SIGNATURE_FILE, sign(secret, text.encode(), _COMMENT))
    return secret.public


def verify_signature(root: Path, key: str) -> PublicKey:
    """Verify that a repository has the files that its signed list names, and no other.

    Args:
        root: the repository.
        key: the file of a public key of minisign, or its one line RW...

    Returns:
        The key.

    Raises:
        MissingExtraError: the extra `sign` is not installed.
        RepositoryError: it is not signed, or by another key; or a file is missing,
            extra or differs.
        SpecError: the key is none.
    """
    public = read_public_key(str(key))
    files, _ = find_files(root, with_bytecode=True)
    for name in (LIST_FILE, SIGNATURE_FILE):
        if files.pop(name, None) is None:
            raise RepositoryError(
                f"{root}: not signed: there is no {name}",
                hint="triton-kit sign REPOSITORY --secret-key FILE",
            )
    try:
        text = read_text(root / LIST_FILE, limit=_LIST_BYTES)
        signature = read_text(root / SIGNATURE_FILE)
    except SpecError as error:
        raise RepositoryError(error.message) from error
    verify(public, text.encode(), signature, str(root / SIGNATURE_FILE))
    listed = _listed(root, text)
    for name in sorted(listed.keys() | files.keys()):
        path = root / name
        if name not in files:
            raise RepositoryError(f"{path}: missing, though the signed list names it")
        if name not in listed:
            raise RepositoryError(
                f"{path}: not in the signed list", hint=_hint_of_extra(name)
            )
        if read_facts(path).sha256 != listed[name]:
            raise RepositoryError(f"{path}: differs from the signed list")
    return public


def _listed(root: Path, text: str) -> dict[str, str]:
    found = dict[str, str]()
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise RepositoryError(f"{root / LIST_FILE}:{number}: not a line of it")
        found[match[2]] = match[1]
    check_paths(found)
    return found


def _hint_of_extra(name: str) -> str:
    if BYTECODE in Path(name).parts:
        return f"Python runs bytecode without a look at its source: remove {BYTECODE}"
    return "remove it, or sign the repository again"
