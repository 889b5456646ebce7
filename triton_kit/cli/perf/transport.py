"""How requests travel: TLS, compression, shared memory, endpoint, connections."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from triton_kit.cli.perf.group import COUNT, Option, option
from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.loadtest.transport_spec import TransportSpec
    from triton_kit.triton.tls import Tls

_PEM = click.Choice(["PEM"], case_sensitive=False)
_COMPRESSIONS = click.Choice(["none", "gzip", "deflate"])


class _Endpoint(click.Choice[str]):
    """A name of an endpoint; the path of one, as perf_analyzer takes it, is it too."""

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the name that a path such as `v1/chat/completions` means."""
        paths = {"v1/chat/completions": "chat", "v1/completions": "completions"}
        name = paths.get(value.lstrip("/"), value)
        return super().convert(name, param, ctx)


def _file(name: str, text: str) -> Option:
    return option(
        name,
        default="",
        type=click.Path(),
        metavar="FILE",
        show_default=False,
        help=f"{text}, as PEM.",
    )


OPTIONS = (
    option(
        "--endpoint",
        "--endpoint-type",
        "endpoint",
        type=_Endpoint(["infer", "generate", "generate_stream", "chat", "completions"]),
        default="infer",
        help="HTTP endpoint: infer sends tensors, generate plain JSON; "
        "generate_stream receives events; chat and completions are the OpenAI API.",
    ),
    option(
        "--tensor-format",
        type=click.Choice(["auto", "binary", "json"]),
        default="auto",
        help="Tensors over HTTP: binary needs a server with that extension of the "
        "protocol; auto finds out whether it has it.",
    ),
    option(
        "--compression",
        "--grpc-compression-algorithm",
        "compression",
        type=_COMPRESSIONS,
        default="none",
        help="Compression of requests, done before the clock starts.",
    ),
    option(
        "--accept-compression",
        type=_COMPRESSIONS,
        default="none",
        help="Compression that the server may use for responses; over gRPC it needs "
        "--grpc-infer-response-compression-level.",
    ),
    option(
        "--shared-memory",
        type=click.Choice(["none", "system", "cuda"]),
        default="none",
        help="Send tensors through memory that a server on this machine shares.",
    ),
    option(
        "--output-shared-memory-size",
        "output_bytes",
        type=click.IntRange(min=0),
        metavar="BYTES",
        help="Bytes for each output in shared memory; 0 leaves outputs in responses. "
        "Default: the size of the output, 102400 where it varies.",
    ),
    option(
        "--connections",
        type=COUNT,
        metavar="N",
        help="gRPC connections to spread requests over. Default: one for every four "
        "CPUs, at most four. HTTP has one for each request in flight.",
    ),
    option(
        "--new-connection-every",
        type=COUNT,
        metavar="N",
        help="Replace a connection after N requests, so that load balancers and new "
        "servers are met. Default: connections are kept.",
    ),
    option(
        "--ssl-grpc-use-ssl",
        "use_grpc_tls",
        type=bool,
        is_flag=False,
        flag_value=True,
        default=False,
        metavar="[true|false]",
        help="Use TLS for gRPC.",
    ),
    _file("--ssl-grpc-root-certifications-file", "Trusted authorities for gRPC"),
    _file("--ssl-grpc-private-key-file", "Private key of the client for gRPC"),
    _file("--ssl-grpc-certificate-chain-file", "Certificate of the client for gRPC"),
    option(
        "--ssl-https-verify-peer",
        type=click.IntRange(0, 1),
        default=1,
        metavar="0|1",
        help="HTTPS: 0 trusts any certificate. Use -u https://... for HTTPS.",
    ),
    option(
        "--ssl-https-verify-host",
        type=click.IntRange(0, 2),
        default=2,
        metavar="0|1|2",
        help="HTTPS: less than 2 trusts a certificate for another host.",
    ),
    _file("--ssl-https-ca-certificates-file", "Trusted authorities for HTTPS"),
    _file("--ssl-https-client-certificate-file", "Certificate of the client for HTTPS"),
    _file("--ssl-https-private-key-file", "Private key of the client for HTTPS"),
    *(
        option(
            f"--ssl-https-{what}-type",
            type=_PEM,
            default="PEM",
            hidden=True,
            expose_value=False,
        )
        for what in ("client-certificate", "private-key")
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportOptions:
    """Options of both protocols, and TLS for each of them."""

    endpoint: str
    tensor_format: str
    compression: str
    accept_compression: str
    shared_memory: str
    output_bytes: int | None
    connections: int | None
    new_connection_every: int | None
    use_grpc_tls: bool
    ssl_grpc_root_certifications_file: str
    ssl_grpc_private_key_file: str
    ssl_grpc_certificate_chain_file: str
    ssl_https_verify_peer: int
    ssl_https_verify_host: int
    ssl_https_ca_certificates_file: str
    ssl_https_client_certificate_file: str
    ssl_https_private_key_file: str

    def transport(self, *, protocol: str, url: str) -> TransportSpec:
        """Return the transport.

        Raises:
            SpecError: an option of one protocol is given for the other.
        """
        from triton_kit.loadtest.transport_spec import TransportSpec

        return TransportSpec(
            tls=self._grpc_tls() if protocol == "grpc" else self._https(url),
            endpoint=self.endpoint,
            tensor_format=self.tensor_format,
            compression=self.compression,
            accept_compression=self.accept_compression,
            shared_memory=self.shared_memory,
            output_bytes=self.output_bytes,
            connections=self.connections,
            new_connection_every=self.new_connection_every,
        )

    def _grpc_tls(self) -> Tls | None:
        files = self._grpc_files()
        if self._https_files() != type(files)():
            raise _wrong_protocol("--ssl-https-...", "grpc")
        if files != type(files)() and not self.use_grpc_tls:
            raise SpecError("certificates for gRPC, but no --ssl-grpc-use-ssl")
        return files if self.use_grpc_tls else None

    def _https(self, url: str) -> Tls | None:
        """As with perf_analyzer, the URL asks for TLS over HTTP."""
        files, is_https = self._https_files(), url.startswith("https://")
        if self._grpc_files() != type(files)() or self.use_grpc_tls:
            raise _wrong_protocol("--ssl-grpc-...", "http")
        if files != type(files)() and not is_https:
            raise SpecError(
                f"certificates for HTTPS, but the URL is {url!r}",
                hint="write -u https://HOST:PORT",
            )
        if not is_https:
            return None
        return replace(
            files,
            verify_peer=bool(self.ssl_https_verify_peer),
            verify_host=self.ssl_https_verify_host == 2,
        )

    def _grpc_files(self) -> Tls:
        from triton_kit.triton.tls import Tls

        return Tls(
            authorities=self.ssl_grpc_root_certifications_file,
            certificate=self.ssl_grpc_certificate_chain_file,
            key=self.ssl_grpc_private_key_file,
        )

    def _https_files(self) -> Tls:
        from triton_kit.triton.tls import Tls

        return Tls(
            authorities=self.ssl_https_ca_certificates_file,
            certificate=self.ssl_https_client_certificate_file,
            key=self.ssl_https_private_key_file,
        )


def _wrong_protocol(options: str, protocol: str) -> SpecError:
    return SpecError(
        f"{options} does not go with -i {protocol}",
        hint="--ssl-grpc-... is for -i grpc, --ssl-https-... for -i http",
    )
