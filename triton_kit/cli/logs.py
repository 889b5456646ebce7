"""`triton-kit logs`."""

from __future__ import annotations

import subprocess
import sys

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.container_options import NAME, with_engine


@kit_command(examples=("triton-kit logs", "triton-kit logs -f my-server"))
@NAME
@with_engine
@kit_option("-f", "--follow", is_flag=True, help="Print new lines too, until Ctrl-C.")
def command(name: str, *, engine: str, follow: bool) -> None:
    """Show the log of a server in a container."""
    from triton_kit.serving.containers.detached import find_server, log_command
    from triton_kit.serving.containers.engine import find_engine

    found = find_engine(engine)
    argv = log_command(found, find_server(found, name), follow=follow)
    sys.exit(subprocess.run(argv, check=False).returncode)
