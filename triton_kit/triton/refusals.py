"""Why `GET /v2` did not return a server of the KServe v2 protocol, and what to do."""

from __future__ import annotations

import re

from triton_kit.errors import TransportError
from triton_kit.triton.address import Address
from triton_kit.triton.http_client import Response

_SHOWN = 120
_V2 = re.compile(r"/v2(/.*)?$")
# nginx, and servers in Go.
_TLS_PORT = re.compile(rb"request was sent to HTTPS port|request to an HTTPS server")
_TAG = re.compile(r"<[^>]*>")
_REDIRECTS = range(300, 400)
_NO_ACCESS = (401, 403)
_GATEWAY_ERRORS = (502, 503, 504)


class NotServerError(TransportError):
    """What responds to `GET /v2` is no v2 server, but perhaps a gateway."""


def explain_refusal(address: Address, response: Response) -> TransportError:
    """Return the error that fits a response to `GET /v2` that is not a v2 server's."""
    status = response.status
    if inner := _V2.search(address.path):
        prefix = address.path.removesuffix(inner[0])
        return NotServerError(
            f"{address}: GET {address.path}/v2 gave HTTP {status}",
            hint=f"leave {inner[0]} out of the URL: -u {address.authority}{prefix}",
        )
    if status == 400 and _TLS_PORT.search(response.body):
        return NotServerError(
            f"{address} speaks TLS, and the URL is for plain HTTP (HTTP 400)",
            hint=f"-u https://{address}",
        )
    if status in _NO_ACCESS:
        return NotServerError(
            f"{address} denies access: GET /v2 gave HTTP {status}{_shown(response)}",
            hint="give credentials: -H 'Authorization: Bearer TOKEN'",
        )
    if status in _REDIRECTS:
        place = response.headers.get("location", "an unknown place")
        return NotServerError(
            f"{address} redirects GET /v2 to {place} (HTTP {status})",
            hint=f"send requests there: -u {place.removesuffix('/v2')}",
        )
    if status in _GATEWAY_ERRORS:
        return NotServerError(
            f"a gateway responds at {address}, the server behind it does not "
            f"(HTTP {status})",
            hint="is the server behind the gateway running, and ready?",
        )
    if status == 404:
        return NotServerError(
            f"{address} speaks HTTP, but not the KServe v2 protocol (GET /v2 gave 404)",
            hint="Triton's HTTP port is 8000, its metrics port another one; behind a "
            "gateway, give the path prefix (-u HOST:PORT/PREFIX) or the name that it "
            "routes by (-H 'Host: NAME')",
        )
    kind = TransportError if status == 200 else NotServerError
    return kind(
        f"{address} speaks HTTP, but not the KServe v2 protocol "
        f"(GET /v2 gave {status}){_shown(response)}",
        hint="is this Triton's HTTP port (8000 by default)?",
    )


def _shown(response: Response) -> str:
    text = _TAG.sub(" ", response.body.decode(errors="replace"))
    text = " ".join(text.split())[:_SHOWN]
    return f": {text}" if text else ""
