"""What to show and what to demand when the server speaks TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from triton_kit.errors import SpecError, TransportError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to speak TLS; files are PEM.

    Attributes:
        authorities: certificates to trust instead of those of the system.
        certificate: the client's own, where the server asks for one.
        key: the private key to it, where that is another file.
        verify_peer: demand a certificate that leads to a trusted one.
        verify_host: demand that it is for the host that was asked.
    """

    authorities: str = ""
    certificate: str = ""
    key: str = ""
    verify_peer: bool = True
    verify_host: bool = True

    def context(self, *protocols: str) -> ssl.SSLContext:
        """Return what connections are made with; `protocols` is what ALPN offers.

        Raises:
            SpecError: a file cannot be read, or is not what it should be.
        """
        context = ssl.create_default_context()
        context.check_hostname = self.verify_peer and self.verify_host
        if not self.verify_peer:
            context.verify_mode = ssl.CERT_NONE
        if protocols:
            context.set_alpn_protocols(list(protocols))
        if self.authorities:
            with _naming(self.authorities):
                context.load_verify_locations(self.authorities)
        if self.certificate:
            with _naming(self.certificate, self.key):
                context.load_cert_chain(self.certificate, self.key or None)
        return context


@contextmanager
def _naming(*paths: str) -> Iterator[None]:
    """Turn errors about files into errors that name them."""
    named = " and ".join(path for path in paths if path)
    try:
        yield
    except ssl.SSLError as error:
        raise SpecError(
            f"{named}: not PEM, or not of one pair ({error.reason or error})"
        ) from error
    except OSError as error:
        raise SpecError(f"{named}: {error.strerror}") from error


def handshake_failed(name: str, error: ssl.SSLError | str) -> TransportError:
    """Say why there is no TLS with the server `name`, and what to do about it.

    `error` is the library's, or a reason in words.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return TransportError(
            f"{name} is not trusted: {error.verify_message}",
            hint="name its authority: --ssl-https-ca-certificates-file or "
            "--ssl-grpc-root-certifications-file",
        )
    return TransportError(
        f"no TLS with {name}: {handshake_reason(error)}",
        hint="does this port speak TLS at all?",
    )


def handshake_reason(error: ssl.SSLError | str) -> str:
    """Return OpenSSL's reason in words."""
    if isinstance(error, str):
        return error
    # An error that Python raises itself has no reason.
    reason = getattr(error, "reason", None) or str(error)
    return str(reason).replace("_", " ").lower()
