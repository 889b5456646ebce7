"""Which addresses a server has, and what its clients may ask of it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from triton_kit.errors import SpecError
from triton_kit.serving.certificates import check_certificate

LOOPBACK = "127.0.0.1"
ANY_ADDRESS = "0.0.0.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The addresses of a server, its control APIs and its limits.

    Attributes:
        address: where HTTP and gRPC listen: an IP address of this machine.
        metrics_address: where Prometheus reads metrics.
        key_file: holds the key of the control APIs, and is made with a new key when
            missing; None is a new key in a temporary file.
        open_control: accept control requests without a key.
        client_shared_memory: let clients on the same machine pass tensors in shared
            memory.
        max_request_bytes: largest HTTP request body, after decompression too; None is
            `models_request_bytes`. Releases before 25.06 have no limit.
        models_request_bytes: largest request that the models take, where the shapes of
            their inputs tell it; None is Triton's limit, 64 MB.
        grpc_certificate, grpc_key: PEM files; gRPC speaks TLS with them.
        grpc_authorities: PEM file; gRPC demands a client certificate that leads to one
            of these.
    """

    address: str = LOOPBACK
    metrics_address: str = LOOPBACK
    key_file: Path | None = None
    open_control: bool = False
    client_shared_memory: bool = False
    max_request_bytes: int | None = None
    models_request_bytes: int | None = None
    grpc_certificate: Path | None = None
    grpc_key: Path | None = None
    grpc_authorities: Path | None = None

    def __post_init__(self) -> None:
        for name in ("address", "metrics_address"):
            _check_address(name, getattr(self, name))
        for name in ("max_request_bytes", "models_request_bytes"):
            if (size := getattr(self, name)) is not None and size <= 0:
                raise SpecError(f"{name} must be > 0: {size}")
        if (self.grpc_certificate is None) != (self.grpc_key is None):
            raise SpecError(
                "TLS for gRPC needs a certificate and its key; one of them is missing",
                hint="give both --grpc-server-cert and --grpc-server-key",
            )
        if self.grpc_authorities and not self.grpc_certificate:
            raise SpecError(
                f"{self.grpc_authorities}: authorities of gRPC's clients, but no "
                "certificate of the server",
                hint="give --grpc-server-cert and --grpc-server-key as well",
            )
        if self.grpc_certificate and self.grpc_key:
            check_certificate(self.grpc_certificate, self.grpc_key)

    @property
    def tls_files(self) -> dict[str, Path]:
        """The PEM files by the flag that names each, without dashes."""
        wanted = {
            "grpc-server-cert": self.grpc_certificate,
            "grpc-server-key": self.grpc_key,
            "grpc-root-cert": self.grpc_authorities,
        }
        return {name: path for name, path in wanted.items() if path}


def _check_address(name: str, address: str) -> None:
    try:
        ip_address(address)
    except ValueError as error:
        raise SpecError(
            f"{name} {address!r} is no IP address",
            hint=f"use {LOOPBACK} for this machine only, {ANY_ADDRESS} for every "
            "network that it is in",
        ) from error
