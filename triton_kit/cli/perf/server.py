"""What the server itself reports: metrics, models that the model calls, its process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any  # the fields of a PerfSpec

from triton_kit.cli.perf.group import COUNT, option
from triton_kit.errors import SpecError

_METRICS_PORT = 8002  # Triton's
_METRICS_MS = 1000

OPTIONS = (
    option(
        "--collect-metrics",
        is_flag=True,
        help="Read the server's Prometheus metrics during each run.",
    ),
    option(
        "--metrics-url",
        metavar="URL",
        help="With --collect-metrics: the endpoint. Default: /metrics at port 8002 of "
        "the server.",
    ),
    option(
        "--metrics-interval",
        "metrics_ms",
        type=COUNT,
        metavar="MS",
        help="With --collect-metrics: milliseconds between two readings.  "
        f"[default: {_METRICS_MS}]",
    ),
    option(
        "--bls-composing-models",
        "composing",
        default="",
        show_default=False,
        metavar="NAME,...",
        help="Models that the model calls; the server's statistics of them are shown.",
    ),
    option(
        "--server-pid",
        type=COUNT,
        metavar="PID",
        help="Process of the server on this machine, whose CPU time is not that of "
        "other processes. Default: the process that listens at the port.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What is read of the server beside its responses."""

    collect_metrics: bool
    metrics_url: str | None
    metrics_ms: int | None
    composing: str
    server_pid: int | None

    def __post_init__(self) -> None:
        if self.collect_metrics:
            return
        for option_name, value in (
            ("--metrics-url", self.metrics_url),
            ("--metrics-interval", self.metrics_ms),
        ):
            if value is not None:
                raise SpecError(
                    f"{option_name} {value}, but no metrics are collected",
                    hint="--collect-metrics",
                )

    def fields(self, *, url: str) -> dict[str, Any]:
        """Return the fields of a PerfSpec; `url` is that of the server."""
        metrics_url = (
            (self.metrics_url or _default_url(url)) if self.collect_metrics else None
        )
        return {
            "metrics_url": metrics_url,
            "metrics_interval_s": (self.metrics_ms or _METRICS_MS) / 1000,
            "composing": tuple(
                filter(None, "".join(self.composing.split()).split(","))
            ),
            "server_pid": self.server_pid,
        }


def _default_url(url: str) -> str:
    """Return where the server's metrics are by default: beside its other ports."""
    from triton_kit.triton.address import Address, parse_address

    address = parse_address(url, default_port=0)
    return Address(host=address.host, port=_METRICS_PORT).authority + "/metrics"
