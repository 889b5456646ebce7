"""Whether a server's certificate and key can be used, before the server starts."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

from triton_kit.errors import SpecError


def check_certificate(certificate: Path, key: Path) -> None:
    """Refuse a certificate that no client will accept today.

    Raises:
        SpecError: a file cannot be read or is not PEM, the key belongs to another
            certificate, or the certificate has expired or is not valid yet.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise SpecError(
            f"{certificate} and {key} are no certificate and key of a server: {reason}",
            hint="give both as PEM, and the key that the certificate was made with",
        ) from error
    except OSError as error:
        raise SpecError(f"{certificate}, {key}: {error.strerror}") from error
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    # The certificate itself is trusted here: only its dates are in question.
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(certificate)
    try:
        _shake_hands(client, server)
    except ssl.SSLCertVerificationError as error:
        raise SpecError(
            f"{certificate}: {error.verify_message}",
            hint="make a new certificate; clients refuse this one",
        ) from error


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """Run a handshake in memory; raises what the client finds."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(down, up),
        server.wrap_bio(up, down, server_side=True),
    )
    for _ in range(4):
        for side in sides:
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
