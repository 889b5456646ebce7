"""A repository into an object store: its files by digest, then one small pointer.

ADDRESS/DIGEST/MODEL/1/model.onnx is a repository that Triton itself can load.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from triton_kit.errors import RepositoryError
from triton_kit.transfer.pointer import (
    POINTER,
    Pointer,
    list_name,
    pointer_bytes,
    read_list,
    read_pointer,
)
from triton_kit.transfer.stores import Store
from triton_kit.transfer.tree import Tree, find_files, read_tree

_log = logging.getLogger(__name__)
KEEP = ".keep"  # an empty folder needs an object to be there
WORKERS = 8
Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a push did.

    Attributes:
        address: what Triton's --model-repository takes.
        digest: of the repository.
        files: how many it has.
        sent: how many of them were sent.
        copied: how many were copied from an earlier one, inside of the store.
        changed: False if the store's newest repository was this one already.
    """

    address: str
    digest: str
    files: int
    bytes: int
    sent: int
    copied: int
    changed: bool


def push(root: Path, store: Store) -> Pushed:
    """Send a repository, and have the store's pointer name it.

    What a push that was cut has sent is not sent again. If another process moves the
    pointer meanwhile, this one fails, and the pointer names the other's repository.

    Raises:
        ConflictError: another push was faster.
        RepositoryError: a file cannot be read, or changes while it is sent.
        TransportError: the store refuses or loses the connection; the pointer names
            what it did.
    """
    stamps = {name: _stamp(path) for name, path in find_files(root)[0].items()}
    tree = read_tree(root)
    if not tree.files:
        raise RepositoryError(f"{root}: no files to push")
    pointer, version = read_pointer(store)
    sent, copied = _send(root, store, tree, stamps, _known_files(store, pointer))
    _require_whole(store, tree)
    is_new = pointer is None or pointer.digest != tree.digest
    if is_new:
        data = pointer.moved_to(tree) if pointer else pointer_bytes(tree)
        store.write_if(POINTER, data, version)
    return Pushed(
        address=f"{store.address}/{tree.digest}",
        digest=tree.digest,
        files=len(tree.files),
        bytes=tree.bytes,
        sent=sent,
        copied=copied,
        changed=is_new,
    )


def _known_files(store: Store, pointer: Pointer | None) -> dict[str, str]:
    """Return objects of earlier repositories by the sha256 of their content."""
    found = dict[str, str]()
    for digest in pointer.digests if pointer else ():
        try:
            tree = read_list(store, digest)
        except RepositoryError:
            continue  # the user removed it
        there = store.find(digest)
        for name, facts in tree.files.items():
            if there.get(name) == facts.bytes:
                found.setdefault(facts.sha256, f"{digest}/{name}")
    return found


def _send(
    root: Path,
    store: Store,
    tree: Tree,
    stamps: Mapping[str, Stamp],
    known: Mapping[str, str],
) -> tuple[int, int]:
    """Send what is not there; return how many files were sent, and how many copied."""
    there = store.find(tree.digest)
    missing = {n: f for n, f in tree.files.items() if there.get(n) != f.bytes}
    copies = {n: known[f.sha256] for n, f in missing.items() if f.sha256 in known}

    def send(name: str) -> None:
        target = f"{tree.digest}/{name}"
        if name in copies:
            store.copy(copies[name], target)
            return
        _log.info("sending %s", name)
        store.put(root / name, target)
        if _stamp(root / name) != stamps.get(name):
            store.remove(target)
            raise RepositoryError(
                f"{root / name}: changed while it was sent", hint="push it again"
            )

    each_of(send, list(missing))
    for folder in tree.empty_folders:
        if f"{folder}/{KEEP}" not in there:
            store.write(f"{tree.digest}/{folder}/{KEEP}", b"")
    store.write(list_name(tree.digest), tree.text.encode())
    return len(missing) - len(copies), len(copies)


def _require_whole(store: Store, tree: Tree) -> None:
    there = store.find(tree.digest)
    for name, facts in tree.files.items():
        if there.get(name) != facts.bytes:
            raise RepositoryError(
                f"{store.address}/{tree.digest}/{name}: the store has "
                f"{there.get(name, 'nothing')}, not {facts.bytes:,} bytes",
                hint="another process may have removed it; push it again",
            )


def each_of(do: Callable[[str], None], names: list[str]) -> None:
    """Do something for several names at once; the first error ends it."""
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [pool.submit(do, name) for name in names]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError as error:
        raise RepositoryError(f"{path}: cannot be read: {error.strerror}") from error
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
