"""The header fields of a call of Triton's gRPC service."""

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
    """Return the header fields of a call; a `Host` of the user's is its :authority."""
    given = {name.lower(): value for name, value in (headers or {}).items()}
    authority = given.pop("host", address.authority)
    own = (
        (":method", "POST"),
        (":scheme", "https" if address.tls else "http"),
        (":path", f"/{_SERVICE}/{method}"),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "triton-kit"),
    )
    encoding = () if compression == "none" else (("grpc-encoding", compression),)
    return HeaderList((*own, *encoding, *given.items()))
