"""How many connections this process may have."""

from __future__ import annotations

import resource

from triton_kit.errors import SpecError

# What a measurement opens beside its connections.
_OTHERS = 64


def raise_open_file_limit(connections: int, *, servers: int = 1) -> int:
    """Allow so many connections to each server, or as many as the system does.

    What a shell starts may open 1024 files, as a rule, and raise that by itself.

    Returns:
        How many to each server, at least 1.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections * servers + _OTHERS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max((allowed - _OTHERS) // servers, 1)


def require_open_files(connections: int, *, servers: int = 1) -> None:
    """Allow so many connections to each server.

    Raises:
        SpecError: the system does not.
    """
    room = raise_open_file_limit(connections, servers=servers)
    if room < connections:
        each = "" if servers == 1 else f" to each of {servers} servers"
        raise SpecError(
            f"{connections} connections at once{each}, but this process may have "
            f"{room}",
            hint="raise the limit on open files (ulimit -n), or use -i grpc: "
            "one connection for all",
        )
