"""A repository of an object store into a folder: each file verified by its digest."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from triton_kit.errors import RepositoryError
from triton_kit.files import cache_folder, make_cache
from triton_kit.transfer.archive import Packed
from triton_kit.transfer.placing import explain_disk, flush, new_folder
from triton_kit.transfer.pointer import read_list, read_pointer
from triton_kit.transfer.push import each_of
from triton_kit.transfer.stores import Store
from triton_kit.transfer.tree import FileFacts, Tree, read_facts, verify_tree

_log = logging.getLogger(__name__)
_KEPT = 5  # repositories in the cache that no process uses
_ATTEMPTS = 2
Check = Callable[[Path], object]


def find_tree(store: Store, digest: str | None = None) -> Tree:
    """Return the files of the newest repository, or of the one of a digest.

    Raises:
        RepositoryError: there is none.
    """
    if digest is None:
        pointer, _ = read_pointer(store)
        if pointer is None:
            raise RepositoryError(
                f"{store.address}: no repository there",
                hint=f"triton-kit push REPOSITORY {store.address}",
            )
        digest = pointer.digest
    return read_list(store, digest)


def pull(
    store: Store,
    target: Path,
    *,
    digest: str | None = None,
    check: Check = lambda _: None,
) -> Packed:
    """Fetch a repository into a new folder: all of it, or nothing.

    Args:
        store: where it is.
        target: a folder that is not there yet.
        digest: which one; None is the newest.
        check: called with the folder before it gets its name; what it raises refuses
            it.

    Raises:
        RepositoryError: there is none, a file differs from its digest, or the disk is
            in the way.
        TransportError: the store refuses or loses the connection.
    """
    with new_folder(target) as stage:
        tree = find_tree(store, digest)
        _fetch(store, tree, stage)
        check(stage)
    return Packed(
        path=target, digest=tree.digest, files=len(tree.files), bytes=tree.bytes
    )


@contextmanager
def cached(store: Store, *, digest: str | None = None) -> Iterator[Path]:
    """Yield a repository in the user's cache; fetch it first if it is not there.

    As long as the block runs, no other process removes it.

    Raises:
        RepositoryError, TransportError: as `pull`.
    """
    tree = find_tree(store, digest)
    folder = cache_folder() / "repositories"
    with explain_disk(folder):
        make_cache(folder)
        descriptor = os.open(
            folder / f"{tree.digest}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    try:
        with explain_disk(folder):
            root = folder / tree.digest
            while True:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                _fill(store, tree, root)
                # Another process may take the lock before it is shared: look again.
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if root.is_dir():
                    break
            os.utime(root)
            _prune(folder)
        yield root
    finally:
        os.close(descriptor)


def _fill(store: Store, tree: Tree, root: Path) -> None:
    """Have a repository in the cache; the caller holds its lock."""
    if root.is_dir():
        try:
            verify_tree(root, tree)
        except RepositoryError as error:
            _log.warning("%s; fetching it again", error.message)
            shutil.rmtree(root)
        else:
            return
    # What a fetch that was cut has fetched is not fetched again.
    part = root.with_suffix(".part")
    part.mkdir(exist_ok=True)
    _fetch(store, tree, part)
    part.rename(root)
    flush(root.parent)


def _prune(folder: Path) -> None:
    """Remove the repositories that were not used for longest, and are not in use."""
    entries = [path for path in folder.iterdir() if path.is_dir()]
    entries.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in entries[_KEPT:]:
        lock = os.open(folder / f"{path.stem}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
        finally:
            os.close(lock)


def _fetch(store: Store, tree: Tree, folder: Path) -> None:
    """Fetch what a folder does not have, and verify that it is the whole tree."""

    def fetch(name: str) -> None:
        _fetch_file(store, f"{tree.digest}/{name}", folder / name, tree.files[name])

    each_of(fetch, list(tree.files))
    for name in tree.empty_folders:
        (folder / name).mkdir(parents=True, exist_ok=True)
    verify_tree(folder, tree)


def _fetch_file(store: Store, name: str, path: Path, facts: FileFacts) -> None:
    if path.is_file() and read_facts(path) == facts:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(_ATTEMPTS):
        _log.info("fetching %s", name)
        store.get(name, path)
        path.chmod(0o755 if facts.executable else 0o644)
        found = read_facts(path)
        if found == facts:
            with path.open("rb") as file:
                os.fsync(file.fileno())
            return
    raise RepositoryError(
        f"{store.address}/{name}: has {found.bytes:,} bytes with sha256 "
        f"{found.sha256[:12]}..., expected {facts.bytes:,} with {facts.sha256[:12]}...",
        hint="the object was changed or cut in the store; push the repository again",
    )
