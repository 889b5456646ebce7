"""Options of `triton-kit perf` about how requests travel; names are perf_analyzer's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from triton_kit.errors import SpecError
from triton_kit.loadtest.transport_spec import (
    COMPRESSIONS,
    ENDPOINTS,
    SHARED_MEMORIES,
    TransportSpec,
)
from triton_kit.triton.tls import Tls

_PEM = click.Choice(["PEM"], case_sensitive=False)


def transport_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _file(name: str, text: str) -> Callable[..., Any]:
    return click.option(name, default="", type=click.Path(), metavar="PEM", help=text)


_OPTIONS = [
    click.option(
        "--compression",
        "--grpc-compression-algorithm",
        "compression",
        type=click.Choice(COMPRESSIONS),
        default="none",
        show_default=True,
        help="What requests are compressed with, over HTTP too; done before the clock "
        "starts.",
    ),
    click.option(
        "--accept-compression",
        type=click.Choice(COMPRESSIONS),
        default="none",
        show_default=True,
        help="What the server may compress its answers with; over gRPC it does so if "
        "started with --grpc-infer-response-compression-level.",
    ),
    click.option(
        "--endpoint",
        type=click.Choice(ENDPOINTS),
        default="infer",
        show_default=True,
        help="Over HTTP: generate takes plain JSON, generate_stream sends events.",
    ),
    click.option(
        "--shared-memory",
        type=click.Choice(SHARED_MEMORIES),
        default="none",
        show_default=True,
        help="Send tensors through memory shared with a server on this machine, or on "
        "its GPU.",
    ),
    click.option(
        "--output-shared-memory-size",
        "output_bytes",
        default=102_400,
        show_default=True,
        metavar="BYTES",
        help="Room for each output in shared memory; 0 leaves outputs in the answers.",
    ),
    click.option(
        "--connections",
        type=int,
        metavar="N",
        help="Over gRPC: spread requests over so many, as one ends at a single server "
        "behind a load balancer. HTTP has one for each request in flight. "
        "[default: one for every four CPUs, at most four]",
    ),
    click.option(
        "--ssl-grpc-use-ssl",
        type=bool,
        is_flag=False,
        flag_value=True,
        default=False,
        metavar="[true|false]",
        help="gRPC over TLS.",
    ),
    _file("--ssl-grpc-root-certifications-file", "Authorities to trust, for gRPC."),
    _file("--ssl-grpc-private-key-file", "Our key, if the server asks."),
    _file("--ssl-grpc-certificate-chain-file", "Our certificate, likewise."),
    click.option(
        "--ssl-https-verify-peer",
        type=click.IntRange(0, 1),
        default=1,
        metavar="0|1",
        help="0 trusts any certificate. HTTPS itself is asked for by -u https://...",
    ),
    click.option(
        "--ssl-https-verify-host",
        type=click.IntRange(0, 2),
        default=2,
        metavar="0|1|2",
        help="Less than 2 trusts a certificate for another host.",
    ),
    _file("--ssl-https-ca-certificates-file", "Authorities to trust, for HTTPS."),
    _file("--ssl-https-client-certificate-file", "Our certificate, if asked."),
    click.option("--ssl-https-client-certificate-type", type=_PEM, default="PEM"),
    _file("--ssl-https-private-key-file", "Our key, likewise."),
    click.option("--ssl-https-private-key-type", type=_PEM, default="PEM"),
]


def transport_spec(options: dict[str, Any], *, protocol: str) -> TransportSpec:
    """Take the options of this module out of `options`, and say what they mean.

    Raises:
        SpecError: options of one protocol are given for the other.
    """
    plain = {
        name: options.pop(name)
        for name in (
            "compression",
            "accept_compression",
            "endpoint",
            "shared_memory",
            "output_bytes",
            "connections",
        )
    }
    grpc = {
        "authorities": options.pop("ssl_grpc_root_certifications_file"),
        "certificate": options.pop("ssl_grpc_certificate_chain_file"),
        "key": options.pop("ssl_grpc_private_key_file"),
    }
    https = {
        "authorities": options.pop("ssl_https_ca_certificates_file"),
        "certificate": options.pop("ssl_https_client_certificate_file"),
        "key": options.pop("ssl_https_private_key_file"),
    }
    verifies = {
        "verify_peer": bool(options.pop("ssl_https_verify_peer")),
        "verify_host": options.pop("ssl_https_verify_host") == 2,
    }
    for kind in ("client_certificate", "private_key"):
        options.pop(f"ssl_https_{kind}_type")
    use_ssl = options.pop("ssl_grpc_use_ssl")
    if protocol == "grpc":
        _refuse(https, "--ssl-https-...", "grpc")
        if any(grpc.values()) and not use_ssl:
            raise SpecError("certificates for gRPC, but no --ssl-grpc-use-ssl")
        tls = Tls(**grpc) if use_ssl else None
    else:
        _refuse(grpc | {"use": use_ssl}, "--ssl-grpc-...", "http")
        # As with perf_analyzer, it is the URL that asks for TLS over HTTP.
        is_https = options["url"].startswith("https://")
        if any(https.values()) and not is_https:
            raise SpecError(
                f"certificates for HTTPS, but the URL is {options['url']!r}",
                hint="write -u https://HOST:PORT",
            )
        tls = Tls(**https, **verifies) if is_https else None
    return TransportSpec(tls=tls, **plain)


def _refuse(given: dict[str, Any], options: str, protocol: str) -> None:
    if any(given.values()):
        raise SpecError(
            f"{options} does not go with -i {protocol}",
            hint="--ssl-grpc-... is for -i grpc, --ssl-https-... for -i http",
        )
