"""The shared memory through which the server and its Python models exchange tensors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FOLDER = Path("/dev/shm")
_INTERVAL_S = 0.1


def regions(prefix: str) -> list[Path]:
    """Return the regions whose names begin so."""
    return list(_FOLDER.glob(f"{prefix}*"))


@contextmanager
def private_memory(prefix: str) -> Iterator[None]:
    """Take the regions that begin so from other users, for as long as the server runs.

    Triton makes each readable for every local user, whatever the umask is. A region is
    made while its model loads, before it holds any tensor.
    """
    is_over = threading.Event()

    def watch() -> None:
        known: set[Path] = set()
        while not is_over.wait(_INTERVAL_S):
            for region in {*regions(prefix)} - known:
                with suppress(FileNotFoundError):
                    region.chmod(0o600)
                known.add(region)

    thread = threading.Thread(target=watch, name="private-memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
