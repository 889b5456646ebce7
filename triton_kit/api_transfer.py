"""The public Python functions that move repositories between machines.

Paths are `str` or `PathLike`. A function returns a result or raises a TritonKitError;
it prints nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triton_kit.transfer.archive import Packed
    from triton_kit.transfer.push import Pushed

AnyPath = str | os.PathLike[str]


def push(
    repository: AnyPath, address: str, *, verify_key: AnyPath | None = None
) -> Pushed:
    """Send a model repository to an object store.

    Args:
        repository: the folder of model folders.
        address: s3://BUCKET/PATH, gs://BUCKET/PATH or az://CONTAINER/PATH.
        verify_key: the file of a public key of minisign, or its line; the repository
            must be signed with it.
    """
    from triton_kit.transfer import push as pushing
    from triton_kit.transfer.stores import open_store, read_address

    if verify_key is not None:
        verify_signature(repository, verify_key)
    return pushing.push(Path(repository), open_store(read_address(address)))


def pull(
    address: str,
    output: AnyPath,
    *,
    digest: str | None = None,
    verify_key: AnyPath | None = None,
) -> Packed:
    """Fetch a model repository of an object store into a new folder: all, or nothing.

    Args:
        address: as in `push`.
        output: a folder that is not there yet.
        digest: which one; None: the newest.
        verify_key: the file of a public key of minisign, or its line; the repository
            must be signed with it.
    """
    from triton_kit.transfer import pull as pulling
    from triton_kit.transfer.stores import open_store, read_address

    return pulling.pull(
        open_store(read_address(address)),
        Path(output),
        digest=digest,
        check=_signed_by(verify_key),
    )


def pack(repository: AnyPath, output: AnyPath) -> Packed:
    """Write a model repository as a tar file: the same bytes for the same files."""
    from triton_kit.transfer import archive

    return archive.pack(Path(repository), Path(output))


def unpack(
    archive: AnyPath,
    output: AnyPath,
    *,
    verify_key: AnyPath | None = None,
    max_bytes: int = 1 << 40,
    max_files: int = 100_000,
) -> Packed:
    """Write the files of an uncompressed tar file to a new folder: all, or nothing.

    Args:
        archive: the tar file; links, devices and paths that leave the folder are
            refused.
        output: a folder that is not there yet.
        verify_key: the file of a public key of minisign, or its line; the repository
            must be signed with it.
        max_bytes: the most that all files together may have.
        max_files: the most files and folders.
    """
    from triton_kit.transfer import archive as archives

    return archives.unpack(
        Path(archive),
        Path(output),
        max_bytes=max_bytes,
        max_files=max_files,
        check=_signed_by(verify_key),
    )


def sign(repository: AnyPath, secret_key: AnyPath, *, password: str = "") -> str:
    """List the files of a repository in SHA256SUMS, and sign the list.

    Args:
        repository: the folder of model folders.
        secret_key: a file in the format of minisign.
        password: of that key, if it is encrypted.

    Returns:
        The public key in one line.
    """
    from triton_kit.transfer.signature import sign_repository

    key = sign_repository(Path(repository), Path(secret_key), lambda: password)
    return key.text


def verify_signature(repository: AnyPath, key: AnyPath) -> None:
    """Verify that a repository has the files that were signed, and no other.

    Args:
        repository: the folder of model folders.
        key: the file of a public key of minisign, or its one line RW...

    Raises:
        RepositoryError: it does not; the file is named.
    """
    from triton_kit.transfer import signature

    signature.verify_signature(Path(repository), os.fspath(key))


def _signed_by(key: AnyPath | None) -> Callable[[Path], None]:
    """Return what refuses a repository that the key did not sign."""

    def check(root: Path) -> None:
        if key is not None:
            verify_signature(root, key)

    return check
