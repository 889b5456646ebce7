"""Compressed requests and responses, as HTTP and gRPC both name them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

# `deflate` is zlib's format in both protocols, not the bare stream.
_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
}

# No response that is read may be larger, nor become larger when it is expanded.
LARGEST_RESPONSE_BYTES = 256 * 1024 * 1024
# zlib distinguishes gzip and its own format by the first bytes.
_EITHER = zlib.MAX_WBITS | 32


def compressed(data: bytes, algorithm: str) -> bytes:
    """Compress with `gzip` or `deflate`; `none` returns the data as they are."""
    return data if algorithm == "none" else _COMPRESS[algorithm](data)


def expanded(data: bytes) -> bytes:
    """Undo `gzip` or `deflate`, whichever it was.

    Raises:
        ValueError: it is neither, is incomplete, or is too large.
    """
    reader = zlib.decompressobj(_EITHER)
    try:
        plain = reader.decompress(data, LARGEST_RESPONSE_BYTES)
    except zlib.error as error:
        raise ValueError(f"badly compressed: {error}") from error
    if reader.unconsumed_tail:
        raise ValueError(f"more than {LARGEST_RESPONSE_BYTES} bytes when expanded")
    if not reader.eof:
        raise ValueError("compressed, and incomplete")
    return plain
