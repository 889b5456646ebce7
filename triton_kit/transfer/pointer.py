"""The one small object that says which repository is the newest in a store."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.files import json_from
from triton_kit.transfer.stores import Store
from triton_kit.transfer.tree import Tree, tree_from_text

POINTER = "latest.json"
SCHEMA = 1
_MOST_RECENT = 10
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Pointer:
    """The digests of a store's repositories, the newest first."""

    digests: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.digests or not all(map(_DIGEST.fullmatch, self.digests)):
            raise RepositoryError("no digest of a repository")

    @property
    def digest(self) -> str:
        """The newest one."""
        return self.digests[0]

    def moved_to(self, tree: Tree) -> bytes:
        """Return the object that names a new repository."""
        return pointer_bytes(tree, self.digests)


def pointer_bytes(tree: Tree, before: tuple[str, ...] = ()) -> bytes:
    """Return the object that names a repository, and those before it."""
    recent = dict.fromkeys((tree.digest, *before))
    document = {
        "schema": SCHEMA,
        "digest": tree.digest,
        "files": len(tree.files),
        "bytes": tree.bytes,
        "recent": [*recent][:_MOST_RECENT],
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def read_pointer(store: Store) -> tuple[Pointer | None, str | None]:
    """Return the pointer, and its version for the next write; None where there is none.

    Raises:
        RepositoryError: the object is no pointer.
    """
    # The version first: a write between the two makes ours fail, as it shall.
    version = store.version(POINTER)
    data = store.read(POINTER) if version is not None else None
    if data is None:
        return None, version
    where = f"{store.address}/{POINTER}"
    try:
        document = json_from(data, where)
        recent = dict.fromkeys([document["digest"], *document["recent"]])
        return Pointer(tuple(recent)), version
    except (RepositoryError, SpecError, KeyError, TypeError) as error:
        raise RepositoryError(
            f"{where}: not the pointer of a repository",
            hint="another program wrote it; push to another path",
        ) from error


def list_name(digest: str) -> str:
    """Return the name of the object that lists the files of a repository."""
    return f"{digest}.json"


def read_list(store: Store, digest: str) -> Tree:
    """Return the files of a repository in a store.

    Raises:
        RepositoryError: there is none of this digest, or its list is another one.
    """
    if not _DIGEST.fullmatch(digest):
        raise RepositoryError(f"{digest!r}: not a digest: 64 digits of base 16")
    where = f"{store.address}/{list_name(digest)}"
    data = store.read(list_name(digest))
    if data is None:
        raise RepositoryError(
            f"{store.address}: no repository with digest {digest}",
            hint="`triton-kit push` prints the digest",
        )
    tree = tree_from_text(data, where)
    if tree.digest != digest:
        raise RepositoryError(f"{where}: does not have the digest of its name")
    return tree
