"""The memory allocator that the server runs with.

Much of what a server does for a small request is allocating: with tcmalloc the same
server used 16 % less CPU per request than with glibc's malloc
(docs/benchmarks/perf.md).
"""

from __future__ import annotations

from ctypes.util import find_library
from typing import Literal

from triton_kit.errors import ServerError

Allocator = Literal["system", "tcmalloc", "jemalloc"]

# In order of preference; the full tcmalloc carries profilers as well.
_LIBRARIES = {
    "tcmalloc": ("tcmalloc_minimal", "tcmalloc"),
    "jemalloc": ("jemalloc",),
}
_PACKAGES = {"tcmalloc": "libtcmalloc-minimal4", "jemalloc": "libjemalloc2"}


def preload(allocator: Allocator) -> str:
    """Return the shared library that puts it in place of malloc; "" for the system's.

    Raises:
        ServerError: it is not installed.
    """
    if allocator == "system":
        return ""
    for name in _LIBRARIES[allocator]:
        if library := find_library(name):
            return library
    raise ServerError(
        f"{allocator} is not installed: the loader knows no "
        + " or ".join(f"lib{name}.so" for name in _LIBRARIES[allocator]),
        hint=f"apt-get install {_PACKAGES[allocator]} (Debian, Ubuntu), "
        "or leave --allocator out",
    )
