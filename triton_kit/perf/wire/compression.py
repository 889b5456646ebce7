"""Compressed requests, as HTTP and gRPC both name them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

# `deflate` is zlib's format in both protocols, not the bare stream.
_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
}


def compressed(data: bytes, algorithm: str) -> bytes:
    """Compress with `gzip` or `deflate`; `none` returns the data as they are."""
    return data if algorithm == "none" else _COMPRESS[algorithm](data)
