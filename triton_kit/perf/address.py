"""Where the server is: `localhost:8000`, `http://host:8000/prefix`, `[::1]:8000`."""

from __future__ import annotations

import socket
from dataclasses import dataclass
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


def connect(address: Address) -> socket.socket:
    """Open a TCP connection, without Nagle's delay and non-blocking.

    Raises:
        TransportError: nobody accepts connections there.
    """
    try:
        connection = socket.create_connection(
            (address.host, address.port), timeout=_CONNECT_WITHIN_S
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise TransportError(
            f"cannot connect to {address.authority}: {reason}",
            hint="is the server running, and is this its port? (-u HOST:PORT)",
        ) from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setblocking(False)
    return connection
