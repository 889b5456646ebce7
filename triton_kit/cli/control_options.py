"""Options of the commands that ask a server over Triton's HTTP control API."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: what click hands over

import cloup

from triton_kit.cli.command import kit_option
from triton_kit.cli.options import FILE_TO_READ
from triton_kit.cli.perf.target import HEADER
from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.triton.control_http import HttpControl
    from triton_kit.triton.tls import Tls

CERTIFICATES: tuple[Callable[..., Any], ...] = tuple(
    kit_option(
        name,
        field,
        default="",
        metavar="FILE",
        show_default=False,
        help=f"{text}, as PEM.",
    )
    for name, field, text in (
        (
            "--ssl-https-ca-certificates-file",
            "authorities",
            "Trusted authorities for HTTPS",
        ),
        (
            "--ssl-https-client-certificate-file",
            "certificate",
            "Certificate of the client for HTTPS",
        ),
        (
            "--ssl-https-private-key-file",
            "key",
            "Private key of the client for HTTPS",
        ),
    )
)
_OPTIONS: tuple[Callable[..., Any], ...] = (
    kit_option(
        "-u",
        "--url",
        default="localhost:8000",
        metavar="HOST:PORT",
        help="HTTP address of the server; https://HOST:PORT for TLS.",
    ),
    HEADER,
    kit_option(
        "--key-file",
        type=FILE_TO_READ,
        metavar="FILE",
        help="File with the key of the control APIs, as 'serve' prints it.",
    ),
    *CERTIFICATES,
)


def with_control(command: Callable[..., None]) -> Callable[..., None]:
    """Add `-u`, `-H` and certificates; hand over the server as `control`."""

    @cloup.option_group("Server", *_OPTIONS)
    @wraps(command)
    def wrapped(
        *,
        url: str,
        headers: tuple[str, ...],
        key_file: Path | None,
        authorities: str,
        certificate: str,
        key: str,
        **rest: Any,  # noqa: ANN401
    ) -> None:
        files = (authorities, certificate, key)
        command(control=_control(url, headers, files, key_file), **rest)

    return wrapped


def _control(
    url: str,
    headers: tuple[str, ...],
    files: tuple[str, str, str],
    key_file: Path | None,
) -> HttpControl:
    from triton_kit.loadtest.option_texts import parse_header
    from triton_kit.serving.keys import key_headers, read_key
    from triton_kit.triton.address import parse_address
    from triton_kit.triton.control_http import HttpControl

    address = parse_address(url, default_port=8000, tls=https_tls(url, files, "-u"))
    own = key_headers(read_key(key_file)) if key_file else {}
    return HttpControl(address, headers=own | dict(map(parse_header, headers)))


def https_tls(url: str, files: tuple[str, str, str], option: str) -> Tls | None:
    """Return how to speak TLS with a server; None without it.

    Args:
        url: the server.
        files: trusted authorities, the client's certificate and its key; "": none.
        option: the one that the URL was given with.

    Raises:
        SpecError: there are files, and the URL is none for HTTPS.
    """
    from triton_kit.triton.tls import Tls

    if url.startswith("https://"):
        authorities, certificate, key = files
        return Tls(authorities=authorities, certificate=certificate, key=key)
    if any(files):
        raise SpecError(
            f"certificates for HTTPS, but the URL is {url!r}",
            hint=f"write {option} https://HOST:PORT",
        )
    return None
