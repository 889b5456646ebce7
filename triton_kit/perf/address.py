"""Where the server is: `localhost:8000`, `http://host:8000/prefix`, `[::1]:8000`."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from triton_kit.errors import SpecError, TransportError

_CONNECT_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Host, port and path prefix of a server."""

    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL or a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.authority}{self.path}"


def parse_address(url: str, *, default_port: int) -> Address:
    """Read a URL as perf_analyzer's `-u` takes it; the scheme may be left out.

    Raises:
        SpecError: it is not an address, or its scheme is not spoken here.
    """
    hint = "write HOST:PORT, for example localhost:8000"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SpecError(f"{url!r} is no server address: {error}", hint=hint) from error
    if parts.scheme not in ("http", "grpc"):
        raise SpecError(f"{url!r}: cannot speak {parts.scheme!r}", hint=hint)
    if (
        not host
        or " " in url
        or parts.query
        or parts.fragment
        or parts.username is not None
    ):
        raise SpecError(f"{url!r} is no server address", hint=hint)
    return Address(
        host=host,
        port=default_port if port is None else port,
        path=parts.path.rstrip("/"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address whose name has been looked up, once for all connections."""

    name: str
    family: int
    address: tuple[Any, ...]  # as the family has it

    def __str__(self) -> str:
        return self.name


def resolve(address: Address) -> Endpoint:
    """Look up a host name.

    Raises:
        TransportError: there is no such host.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TransportError(
            f"cannot find {address.host}: {error.strerror or error}"
        ) from error
    for family, _, _, _, sockaddr in found if len(found) > 1 else ():
        if _accepts(family, sockaddr):
            return Endpoint(name=str(address), family=family, address=sockaddr)
    family, _, _, _, sockaddr = found[0]
    return Endpoint(name=str(address), family=family, address=sockaddr)


def _accepts(family: int, sockaddr: tuple[Any, ...]) -> bool:
    """`localhost` is often both ::1 and 127.0.0.1, and the server on one of them."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_WITHIN_S)
        return probe.connect_ex(sockaddr) == 0
