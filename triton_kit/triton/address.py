"""Where the server is: `localhost:8000`, `http://host:8000/prefix`, `[::1]:8000`."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from triton_kit.errors import SpecError, TransportError
from triton_kit.triton.tls import Tls

_CONNECT_WITHIN_S = 5.0
_TLS_SCHEMES = ("https", "grpcs")
_SCHEMES = ("http", "grpc", *_TLS_SCHEMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Host, port and path prefix of a server, and TLS where it speaks that."""

    host: str
    port: int
    path: str = ""
    tls: Tls | None = None

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL or a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.authority}{self.path}"


def parse_address(url: str, *, default_port: int, tls: Tls | None = None) -> Address:
    """Read a URL as perf_analyzer's `-u` takes it; the scheme may be left out.

    Args:
        url: `https` and `grpcs` mean TLS.
        default_port: where the URL has none.
        tls: how to speak TLS, which it also means.

    Raises:
        SpecError: it is not an address, or its scheme is not spoken here.
    """
    hint = "write HOST:PORT, for example localhost:8000"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        place = repr(shown(url))
        raise SpecError(
            f"{place} is not a server address: {error}", hint=hint
        ) from None
    if parts.scheme not in _SCHEMES:
        raise SpecError(f"{shown(url)!r}: cannot speak {parts.scheme!r}", hint=hint)
    if parts.username is not None:
        raise SpecError(
            f"{shown(url)!r}: credentials are not taken from a URL",
            hint="leave them out; perf sends them as -H 'Authorization: Basic ...'",
        )
    if not host or " " in url or parts.query or parts.fragment:
        raise SpecError(f"{shown(url)!r} is not a server address", hint=hint)
    return Address(
        host=host,
        port=default_port if port is None else port,
        path=parts.path.rstrip("/"),
        tls=tls or (Tls() if parts.scheme in _TLS_SCHEMES else None),
    )


def shown(url: str) -> str:
    """Return a URL for messages and reports: without its user, password and query."""
    url = re.sub(r"^([a-z]+://)?[^/]*@", r"\1***@", url)
    return re.sub(r"\?.*", "?***", url, flags=re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address whose name has been looked up, once for all connections."""

    name: str
    host: str
    family: int
    address: tuple[Any, ...]  # as the family has it
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return self.name


def resolve(address: Address, *, speaks: str) -> Endpoint:
    """Look up a host name.

    Args:
        address: of the server.
        speaks: what TLS says is spoken inside, `h2` or `http/1.1`.

    Raises:
        TransportError: there is no such host.
        SpecError: a file that TLS needs cannot be read.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TransportError(
            f"cannot find {address.host}: {error.strerror or error}"
        ) from error
    family, _, _, _, sockaddr = next(
        (entry for entry in found if len(found) > 1 and _accepts(entry[0], entry[4])),
        found[0],
    )
    return Endpoint(
        name=str(address),
        host=address.host,
        family=family,
        address=sockaddr,
        tls=address.tls.context(speaks) if address.tls else None,
    )


def _accepts(family: int, sockaddr: tuple[Any, ...]) -> bool:
    """`localhost` is often both ::1 and 127.0.0.1, and the server on one of them."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_WITHIN_S)
        return probe.connect_ex(sockaddr) == 0


def speaks_tls(endpoint: Endpoint) -> bool:
    """Whether a server that does not respond in the clear accepts a TLS handshake."""
    context = Tls(verify_peer=False).context("h2", "http/1.1")
    try:
        with socket.socket(endpoint.family, socket.SOCK_STREAM) as plain:
            plain.settimeout(_CONNECT_WITHIN_S)
            plain.connect(endpoint.address)
            with context.wrap_socket(plain, server_hostname=endpoint.host):
                return True
    except OSError:  # ssl.SSLError is one
        return False
