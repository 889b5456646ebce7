"""The manifest beside an artifact: what the files are and what they came from.

Schema 2 adds `provenance`, and a digest of the manifest itself; schema 1 is read too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any  # JSON

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.files import json_from, read_bytes
from triton_kit.repository.publish.layout import MANIFEST_FILE

SCHEMA = 1
PROVENANCE_SCHEMA = 2
_CHUNK_BYTES = 1 << 20


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_manifest(
    version: Path,
    facts: Mapping[str, Any],
    *,
    digests: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Describe every file of a version folder; `facts` describe how they were made.

    The same files and facts give the same bytes: no clock, no path of this machine.

    Args:
        version: the folder.
        facts: JSON.
        digests: the sha256 of files by name, as far as they are known.
        provenance: where the version comes from; makes it a manifest of schema 2.
    """
    known = digests or {}
    files = {
        name: {"sha256": known.get(name) or sha256(path), "bytes": path.stat().st_size}
        for path in _files(version)
        for name in (str(path.relative_to(version)),)
    }
    document: dict[str, Any] = {"schema": SCHEMA, "files": files, **facts}
    if provenance is not None:
        document |= {"schema": PROVENANCE_SCHEMA, "provenance": dict(provenance)}
        document["digest"] = _own_digest(document)
    (version / MANIFEST_FILE).write_text(_as_text(document), encoding="utf-8")


def read_manifest(version: Path) -> dict[str, Any]:
    """Return a version's manifest.

    Raises:
        RepositoryError: it is missing, is not a manifest, was changed, or names a file
            outside the version's folder.
    """
    path = version / MANIFEST_FILE
    try:
        content = read_bytes(path)
    except SpecError as error:
        raise RepositoryError(error.message) from error
    return manifest_from(content, path)


def manifest_from(
    content: bytes, path: Path, *, is_trusted: bool = False
) -> dict[str, Any]:
    """Return a version's manifest from the bytes of its file.

    Args:
        content: UTF-8 JSON.
        path: the file, for errors.
        is_trusted: these bytes are known to be those that were published.

    Raises:
        RepositoryError: as `read_manifest`.
    """
    try:
        document = json_from(content, str(path))
    except SpecError as error:
        raise RepositoryError(error.message) from error
    if not isinstance(document, dict) or not isinstance(document.get("files"), dict):
        raise RepositoryError(f"{path}: not a manifest: it lists no files")
    for name in document["files"]:
        _refuse_outside(path, name)
    if is_trusted or "digest" not in document:
        return document
    if document["digest"] != _own_digest(document):
        raise RepositoryError(
            f"{path}: differs from its own digest",
            hint="a published version never changes: publish a new one",
        )
    return document


def _refuse_outside(path: Path, name: str) -> None:
    parts = name.split("/")
    is_folder = all(part in ("", ".") for part in parts)
    if is_folder or name.startswith("/") or ".." in parts or "\0" in name:
        raise RepositoryError(f"{path}: names a file outside its folder: {name!r}")
    try:
        os.fsencode(name)
    except UnicodeError:
        raise RepositoryError(f"{path}: no file can be named {name!r}") from None


def version_digest(version: Path) -> str:
    """Return the digest of a version's files, whatever its manifest says besides.

    Two versions with the same digest have the same bytes.

    Raises:
        RepositoryError: its manifest is missing or is not a manifest.
    """
    return files_digest(read_manifest(version))


def files_digest(manifest: Mapping[str, Any]) -> str:
    """Return the digest of the files that a manifest lists."""
    listed = {
        name: str(facts.get("sha256")) if isinstance(facts, dict) else ""
        for name, facts in manifest["files"].items()
    }
    return hashlib.sha256(_as_text(listed).encode()).hexdigest()


def _own_digest(document: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in document.items() if name != "digest"}
    return hashlib.sha256(_as_text(rest).encode()).hexdigest()


def _as_text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def verify_manifest(version: Path) -> None:
    """Compare a version's files with its manifest.

    Raises:
        RepositoryError: a file is missing, extra or differs; it is named.
    """
    listed = read_manifest(version)["files"]
    found = {str(path.relative_to(version)): path for path in _files(version)}
    for name in sorted(listed.keys() | found.keys()):
        path = version / name
        if name not in found:
            raise RepositoryError(f"{path}: missing, though the manifest lists it")
        if name not in listed:
            raise RepositoryError(f"{path}: not in the manifest")
        if not is_as_listed(path, listed[name]):
            raise RepositoryError(
                f"{path}: differs from its manifest",
                hint="a published version never changes: build a new one",
            )


def is_whole(version: Path) -> bool:
    """Whether the files that a version's manifest lists are there, as it lists them.

    Others may be there too: a server leaves files of its own.

    Raises:
        RepositoryError: the manifest is missing or is not a manifest.
    """
    listed = read_manifest(version)["files"]
    return all(is_as_listed(version / name, facts) for name, facts in listed.items())


def is_as_listed(path: Path, facts: object) -> bool:
    """Whether a file is the one that a manifest lists."""
    # The size first: it is known without reading the file.
    return (
        isinstance(facts, dict)
        and path.is_file()
        and path.stat().st_size == facts.get("bytes")
        and sha256(path) == facts.get("sha256")
    )


def is_listed(version: Path, path: Path) -> bool:
    """Whether a file is one that a manifest lists, and not one that a server left."""
    # Triton leaves its bytecode beside a model.py that it may write beside.
    return path != version / MANIFEST_FILE and path.parent.name != "__pycache__"


def _files(version: Path) -> Iterator[Path]:
    found = sorted(path for path in version.rglob("*") if path.is_file())
    yield from (path for path in found if is_listed(version, path))
