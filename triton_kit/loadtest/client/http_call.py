"""A POST request to Triton over HTTP/1.1, head and body."""

from __future__ import annotations

from collections.abc import Mapping

from triton_kit.loadtest.http.compression import compressed
from triton_kit.triton.address import Address


def post(
    address: Address,
    path: str,
    fields: Mapping[str, str],
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
        headers: of the user; they take the place of ours of the same name.
        compression: of the body: none, gzip or deflate.
    """
    body = compressed(body, compression)
    own = {
        "Host": address.authority,
        **fields,
        "Content-Length": str(len(body)),
        **({} if compression == "none" else {"Content-Encoding": compression}),
    }
    given = headers or {}
    taken = {name.lower() for name in given}
    sent = {name: value for name, value in own.items() if name.lower() not in taken}
    lines = [f"{name}: {value}" for name, value in (sent | dict(given)).items()]
    start = f"POST {address.path}{path} HTTP/1.1"
    return "\r\n".join([start, *lines, "", ""]).encode() + body
