"""How a call of Triton's gRPC service begins: its header fields."""

from __future__ import annotations

from collections.abc import Mapping

from triton_kit.loadtest.request import HeaderList
from triton_kit.triton.address import Address

_SERVICE = "inference.GRPCInferenceService"


def call_headers(
    address: Address,
    method: str,
    headers: Mapping[str, str] | None = None,
    *,
    compression: str = "none",
) -> HeaderList:
    """Return the header fields of a call of Triton's service."""
    own = (
        (":method", "POST"),
        (":scheme", "https" if address.tls else "http"),
        (":path", f"/{_SERVICE}/{method}"),
        (":authority", address.authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "triton-kit"),
    )
    further = ((name.lower(), value) for name, value in (headers or {}).items())
    encoding = () if compression == "none" else (("grpc-encoding", compression),)
    return HeaderList((*own, *encoding, *further))
