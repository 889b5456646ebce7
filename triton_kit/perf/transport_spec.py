"""How requests travel: in the clear or not, compressed or not, in what memory."""

from __future__ import annotations

from dataclasses import dataclass

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.perf.tls import Tls

COMPRESSIONS = ("none", "gzip", "deflate")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSpec:
    """What lies between a request's tensors and the server.

    Attributes:
        tls: how to speak TLS; None is in the clear, unless the URL says otherwise.
        compression: of requests, `gzip` or `deflate`; done before the clock starts.
    """

    tls: Tls | None = None
    compression: str = "none"

    def __post_init__(self) -> None:
        if self.compression not in COMPRESSIONS:
            raise SpecError(
                f"unknown compression {self.compression!r}",
                hint=did_you_mean(self.compression, COMPRESSIONS),
            )
