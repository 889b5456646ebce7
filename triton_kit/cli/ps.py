"""`triton-kit ps`."""

from __future__ import annotations

from dataclasses import asdict

from triton_kit.cli.command import kit_command
from triton_kit.cli.container_options import with_engine
from triton_kit.cli.options import json_option
from triton_kit.cli.output import echo, echo_json, notice

_HEAD = ("name", "state", "release", "http", "models")


@kit_command(examples=("triton-kit ps",))
@with_engine
@json_option()
def command(*, engine: str, as_json: bool) -> None:
    """List the servers that 'serve --launcher docker --detach' started."""
    from triton_kit.serving.containers.detached import list_servers
    from triton_kit.serving.containers.engine import find_engine

    servers = list_servers(find_engine(engine))
    if as_json:
        echo_json([asdict(server) for server in servers])
        return
    if not servers:
        notice("no server of the kit runs in a container")
        return
    rows = [
        (s.name, s.state, s.release, s.http_url, ", ".join(s.models)) for s in servers
    ]
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    for row in (_HEAD, *rows):
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        echo("  ".join(cells).rstrip())
