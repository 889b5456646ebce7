"""The shared memory through which the server and its Python models exchange tensors."""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FOLDER = Path("/dev/shm")
_PREFIX = re.compile(r"triton-kit-\d+-[0-9a-f]{8}-")
_INTERVAL_S = 0.1


def remove_regions(prefix: str) -> None:
    """Remove the regions whose names begin so: a killed Python model leaves its own.

    Raises:
        ValueError: these are not regions of a server of the kit.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"not the memory of a server: {prefix!r}")
    for region in _FOLDER.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def new_prefix() -> str:
    """Return how the names of one server's regions begin."""
    return f"triton-kit-{os.getpid()}-{secrets.token_hex(4)}-"


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
            for region in {*_FOLDER.glob(f"{prefix}*")} - known:
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
