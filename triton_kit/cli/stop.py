"""`triton-kit stop`."""

from __future__ import annotations

from triton_kit.cli.command import kit_command
from triton_kit.cli.container_options import NAME, with_engine
from triton_kit.cli.output import notice


@kit_command(examples=("triton-kit stop", "triton-kit stop my-server"))
@NAME
@with_engine
def command(name: str, *, engine: str) -> None:
    """Stop a server in a container and remove the container.

    Requests in flight get the time that --stop-timeout gave at the start.
    """
    from triton_kit.serving.containers.detached import find_server, stop_server
    from triton_kit.serving.containers.engine import find_engine

    found = find_engine(engine)
    server = find_server(found, name)
    stop_server(found, server)
    notice(f"stopped {server.name}")
