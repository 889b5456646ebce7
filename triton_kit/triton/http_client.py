"""One question over HTTP/1.1: a bounded response, one deadline for all of it."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import httptools

from triton_kit.errors import TransportError
from triton_kit.triton.address import Address
from triton_kit.triton.tls import handshake_failed

# The client reads no more of a response, whatever the server sends.
LARGEST_RESPONSE_BYTES = 64 * 1024 * 1024
_LARGEST_HEAD_BYTES = 64 * 1024
_READ_BYTES = 64 * 1024
_TLS_ALERT = b"\x15\x03"
_WITHOUT_TLS = "does this port speak TLS? Then use https:// in the URL"
_WITH_TLS = (
    "does it ask for a certificate of the client? --ssl-https-client-certificate-file"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """Status, header fields (names in lower case) and body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def request_bytes(
    method: str,
    address: Address,
    path: str,
    body: bytes,
    *,
    fields: Mapping[str, str],
    headers: Mapping[str, str],
) -> bytes:
    """Return a whole request.

    Args:
        method: GET or POST.
        address: whose Host header and path prefix to use.
        path: below that prefix.
        body: as it is sent.
        fields: what the body is, as header fields.
        headers: of the user; they replace fields of the same name.
    """
    own = {"Host": address.authority, **fields, "Content-Length": str(len(body))}
    replaced = {name.lower() for name in headers}
    sent = {name: value for name, value in own.items() if name.lower() not in replaced}
    lines = [f"{name}: {value}" for name, value in (sent | dict(headers)).items()]
    start = f"{method} {address.path}{path} HTTP/1.1"
    return "\r\n".join([start, *lines, "", ""]).encode() + body


def ask(address: Address, request: bytes, *, within_s: float) -> Response:
    """Send a request on a connection of its own, and return the response.

    Raises:
        TransportError: no server accepts the connection, the response is not HTTP, is
            larger than 64 MiB, or is not complete within `within_s` seconds.
    """
    deadline_s = time.monotonic() + within_s
    try:
        with _connect(address, deadline_s) as connection:
            connection.settimeout(_left(deadline_s))
            connection.sendall(request)
            return _read(connection, address, deadline_s)
    except ssl.SSLError as error:
        raise handshake_failed(str(address), error) from error
    except TimeoutError as error:
        raise TransportError(
            f"{address} did not respond within {within_s:g} s"
        ) from error
    except OSError as error:
        raise TransportError(
            f"lost the connection to {address}: {error.strerror or error}"
        ) from error


def _left(deadline_s: float) -> float:
    left = deadline_s - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _connect(address: Address, deadline_s: float) -> socket.socket:
    """Connect to the first of the host's addresses that accepts."""
    tls = address.tls.context("http/1.1") if address.tls else None
    refusal: OSError | None = None
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        found, refusal = [], error
    for family, kind, *_, sockaddr in found:
        connection = socket.socket(family, kind)
        try:
            connection.settimeout(_left(deadline_s))
            connection.connect(sockaddr)
            if tls is None:
                return connection
            return tls.wrap_socket(connection, server_hostname=address.host)
        except ssl.SSLError:
            connection.close()
            raise
        except OSError as error:
            connection.close()
            refusal = error
    if isinstance(refusal, TimeoutError):
        raise refusal
    reason = refusal and (refusal.strerror or refusal)
    raise TransportError(
        f"cannot connect to {address}: {reason}",
        hint="is the server running, and is this its port? (-u HOST:PORT)",
    ) from refusal


def _read(connection: socket.socket, address: Address, deadline_s: float) -> Response:
    reader = _ResponseReader()
    size = 0
    while not reader.is_complete:
        connection.settimeout(_left(deadline_s))
        data = connection.recv(_READ_BYTES)
        size += len(data)
        if not data and not reader.ends_by_close:
            what = "in the middle of" if size else "without"
            raise TransportError(
                f"{address} closed the connection {what} its response",
                hint=_WITH_TLS if address.tls else _WITHOUT_TLS,
            )
        if not data:
            break
        try:
            reader.feed(data)
        except httptools.HttpParserError as error:
            raise _not_http(address, data) from error
        if not reader.status and size > _LARGEST_HEAD_BYTES:
            raise TransportError(
                f"{address}: the head of a response is longer than "
                f"{_LARGEST_HEAD_BYTES} bytes"
            )
        if size > LARGEST_RESPONSE_BYTES:
            raise TransportError(
                f"{address}: a response is longer than {LARGEST_RESPONSE_BYTES} bytes"
            )
    return Response(
        status=reader.status, headers=reader.headers, body=bytes(reader.body)
    )


def _not_http(address: Address, data: bytes) -> TransportError:
    if data.startswith(_TLS_ALERT):
        return TransportError(
            f"{address} speaks TLS, not plain HTTP", hint="use https:// in the URL"
        )
    return TransportError(
        f"{address} responds, but not in HTTP",
        hint="is this the gRPC port? Triton's HTTP port is 8000 by default",
    )


class _ResponseReader:
    """Takes a response apart; llhttp calls the methods whose names begin with `on_`."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.is_complete = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Read on; raises httptools.HttpParserError."""
        self._parser.feed_data(data)

    @property
    def ends_by_close(self) -> bool:
        """Whether a response without a length is complete once the server closes."""
        framed = self.headers.keys() & {"content-length", "transfer-encoding"}
        return bool(self.status) and not framed

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header field."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note the status, unless it is that of an interim response (1xx)."""
        status = self._parser.get_status_code()
        if status >= 200:
            self.status = status
        else:
            self.headers.clear()

    def on_body(self, part: bytes) -> None:
        """Keep a piece of the body."""
        if not self.is_complete:
            self.body += part

    def on_message_complete(self) -> None:
        """Note the end; that of an interim response is none."""
        self.is_complete = self.is_complete or bool(self.status)
