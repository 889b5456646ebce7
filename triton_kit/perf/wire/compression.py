"""Compressed request bodies: `gzip` and `deflate` mean the same in HTTP and gRPC."""

from __future__ import annotations

import gzip
import zlib

ALGORITHMS = ("none", "gzip", "deflate")


def compress(data: bytes, algorithm: str) -> bytes:
    """Compress a body once, before the clock starts; `none` leaves it as it is."""
    if algorithm == "gzip":
        return gzip.compress(data, mtime=0)
    if algorithm == "deflate":
        return zlib.compress(data)
    return data
