"""`triton-kit metrics`."""

from __future__ import annotations

import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import json_option
from triton_kit.cli.output import echo, echo_json, notice

_PATH = "/metrics"


@kit_command(
    examples=("triton-kit metrics", "triton-kit metrics nv_gpu --url gpu7:8002")
)
@cloup.argument(
    "words", nargs=-1, help="Show only metrics with one of these in name or labels."
)
@kit_option(
    "-u",
    "--url",
    default="localhost:8002",
    metavar="HOST:PORT",
    help="Address of the metrics; a path replaces /metrics.",
)
@json_option()
def command(words: tuple[str, ...], *, url: str, as_json: bool) -> None:
    """Show the Prometheus metrics of a server."""
    from triton_kit.loadtest.record.metrics import MetricsWatch

    host = url.split("://")[-1]
    scrape = MetricsWatch(url if "/" in host else f"{url}{_PATH}").scrape()
    found = [
        (name, labels, value)
        for (name, labels), value in sorted(scrape.values.items())
        if not words or any(_has(word, name, labels) for word in words)
    ]
    if as_json:
        echo_json([{"name": n, "labels": dict(of), "value": v} for n, of, v in found])
        return
    if not found:
        notice(f"no metric contains {' or '.join(words)}")
    for name, labels, value in found:
        shown = ", ".join(f"{key}={text}" for key, text in labels)
        echo(f"{name}  {value:.12g}  {shown}".rstrip())


def _has(word: str, name: str, labels: tuple[tuple[str, str], ...]) -> bool:
    return word in name or any(word in value for _, value in labels)
