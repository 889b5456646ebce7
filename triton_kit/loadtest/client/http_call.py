"""A POST request to Triton over HTTP/1.1, head and body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triton_kit.errors import SpecError
from triton_kit.loadtest.http.compression import compressed
from triton_kit.loadtest.inputs.data import Array
from triton_kit.triton.address import Address
from triton_kit.triton.http_client import request_bytes


def post(
    address: Address,
    path: str,
    fields: dict[str, str],
    body: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    compression: str = "none",
) -> bytes:
    """Return a whole request.

    Args:
        address: whose Host header and path prefix to use.
        path: below that prefix.
        fields: what the body is, as header fields.
        body: before it is compressed.
        headers: of the user; they replace fields of the same name.
        compression: of the body: none, gzip or deflate.
    """
    encoding = {} if compression == "none" else {"Content-Encoding": compression}
    return request_bytes(
        "POST",
        address,
        path,
        compressed(body, compression),
        fields=fields | encoding,
        headers=headers or {},
    )


def json_values(name: str, array: Array) -> list[Any]:
    """Return the values of an input in their order, as JSON has them.

    Raises:
        SpecError: strings are no text.
    """
    items = array.ravel().tolist()
    try:
        return [i.decode() if isinstance(i, bytes) else i for i in items]
    except UnicodeDecodeError as error:
        raise SpecError(
            f"input {name!r} is no text, which JSON cannot carry"
        ) from error
