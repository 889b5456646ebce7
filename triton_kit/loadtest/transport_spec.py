"""How requests travel: in the clear or not, compressed or not, in what memory."""

from __future__ import annotations

from dataclasses import dataclass

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.loadtest.net.transport import MOST_CONNECTIONS
from triton_kit.triton.tls import Tls

COMPRESSIONS = ("none", "gzip", "deflate")
OPENAI_ENDPOINTS = ("chat", "completions")
ENDPOINTS = ("infer", "generate", "generate_stream", *OPENAI_ENDPOINTS)
SHARED_MEMORIES = ("none", "system", "cuda")
TENSOR_FORMATS = ("auto", "binary", "json")

# Triton's gRPC reads and writes a connection with one thread at a time. Where cores are
# idle, more connections get more out of it; where there are two, each costs CPU.
_CPUS_PER_CONNECTION = 4
_MOST_CHOSEN = 4


def connections_for(cpus: int, processes: int) -> int:
    """Return how many gRPC connections each of `processes` best has."""
    suit = min(cpus // _CPUS_PER_CONNECTION, _MOST_CHOSEN)
    return max(suit // processes, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSpec:
    """What lies between a request's tensors and the server.

    Attributes:
        tls: how to speak TLS; None is in the clear, unless the URL says otherwise.
        compression: of requests, `gzip` or `deflate`; done before the clock starts.
        accept_compression: what the server may compress its responses with.
        shared_memory: `system` where tensors go through the machine's shared memory,
            `cuda` where through the memory of its first GPU.
        connections: over gRPC, how many to spread requests over; None is as many as
            suit this machine. HTTP has one for each request in flight.
        new_connection_every: requests after which a connection is replaced, as load
            balancers need it; None keeps connections.
        endpoint: over HTTP, `infer`, Triton's `generate` or `generate_stream`, or
            `chat` or `completions` of the OpenAI API.
        tensor_format: over HTTP, `binary` (the protocol's extension for tensors as
            bytes) or `json`; `auto` is binary where the server takes it.
        output_bytes: room for each output in shared memory; 0 leaves outputs in the
            responses. None is the size of the output, and 102,400 where that varies.
    """

    tls: Tls | None = None
    compression: str = "none"
    accept_compression: str = "none"
    shared_memory: str = "none"
    output_bytes: int | None = None
    endpoint: str = "infer"
    tensor_format: str = "auto"
    connections: int | None = None
    new_connection_every: int | None = None

    def __post_init__(self) -> None:
        wanted = self.connections
        if wanted is not None and not 1 <= wanted <= MOST_CONNECTIONS:
            raise SpecError(f"{wanted} connections: need 1 to {MOST_CONNECTIONS}")
        renewal = self.new_connection_every
        if renewal is not None and renewal < 1:
            raise SpecError(
                f"a new connection every {renewal} requests: need 1 or more"
            )
        for what, value, known in (
            ("endpoint", self.endpoint, ENDPOINTS),
            ("shared memory", self.shared_memory, SHARED_MEMORIES),
            ("tensor format", self.tensor_format, TENSOR_FORMATS),
            ("compression", self.compression, COMPRESSIONS),
            ("compression", self.accept_compression, COMPRESSIONS),
        ):
            if value not in known:
                raise SpecError(
                    f"unknown {what} {value!r}", hint=did_you_mean(value, known)
                )
        if self.output_bytes is not None and self.output_bytes < 0:
            raise SpecError(f"output size {self.output_bytes}: need 0 or more")
        if self.tensor_format == "json" and self.shared_memory != "none":
            raise SpecError(
                "tensors as JSON, and tensors in shared memory",
                hint="leave out --tensor-format or --shared-memory",
            )
        if self.endpoint != "infer":
            self._check_plain_json()

    def _check_plain_json(self) -> None:
        if self.tensor_format != "auto":
            raise SpecError(
                f"tensor format {self.tensor_format}: {self.endpoint} takes plain JSON",
                hint="leave out --tensor-format",
            )
        if self.shared_memory != "none":
            raise SpecError(f"{self.endpoint} takes no tensors from shared memory")
        if self.accept_compression != "none":
            raise SpecError(f"responses of {self.endpoint} are not compressed")
