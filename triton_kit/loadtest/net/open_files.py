"""How many connections this process may have."""

from __future__ import annotations

import resource

from triton_kit.errors import SpecError

# What a measurement opens beside its connections.
_OTHERS = 64


def raise_open_file_limit(connections: int) -> int:
    """Allow so many connections, or as many as the system does; returns how many.

    What a shell starts may open 1024 files, as a rule, and raise that by itself.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHERS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(allowed - _OTHERS, 1)


def require_open_files(connections: int) -> None:
    """Allow so many connections.

    Raises:
        SpecError: the system does not.
    """
    room = raise_open_file_limit(connections)
    if room < connections:
        raise SpecError(
            f"{connections} connections at once, but this process may have {room}",
            hint="raise the limit on open files (ulimit -n), or use -i grpc: "
            "one connection for all",
        )
