"""TCP ports on loopback: which are free, and who has the one that is not."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

from triton_kit.errors import ServerError
from triton_kit.serving.access import LOOPBACK

_LOWEST = 10_000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def choose_ports(wanted: dict[str, int | None]) -> dict[str, int]:
    """Fill in a free port wherever none is wanted, all different.

    Chosen ports lie below the range that the system gives to outgoing connections:
    a server opens its ports only after its models are loaded, and until then every
    client on the machine could be handed one of them.

    Raises:
        ServerError: a wanted port is in use; says by whom where that can be seen.
    """
    chosen: dict[str, int] = {}
    with ExitStack() as held:
        for name, port in wanted.items():
            if port is not None and not _hold(port, held):
                raise port_in_use(name, port)
        for name, port in wanted.items():
            chosen[name] = _hold_any(held) if port is None else port
    return chosen


def are_opened_by(pid: int, ports: Iterable[int]) -> bool:
    """Whether that process itself listens on all of these ports.

    A response from a port proves less: another server may have taken it.
    """
    with suppress(psutil.NoSuchProcess):
        opened = {
            connection.laddr.port
            for connection in psutil.Process(pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        return opened.issuperset(ports)
    return False


def port_in_use(name: str, port: int) -> ServerError:
    """Return the error for a port that another process uses."""
    holder = _holder(port)
    by = f" by {holder}" if holder else ""
    return ServerError(
        f"--{name} {port}: the port is in use{by}",
        hint=f"stop that program, choose another --{name}, or leave it out "
        "for a free one",
    )


def _hold_any(held: ExitStack) -> int:
    highest = int(_EPHEMERAL.read_text().split()[0]) - 1
    if highest - _LOWEST < 1000:  # a widened range leaves no room below it
        highest = 60_000
    draw = random.SystemRandom()
    for _ in range(1000):
        port = draw.randint(_LOWEST, highest)
        if _hold(port, held):
            return port
    raise ServerError(f"no free port between {_LOWEST} and {highest} on {LOOPBACK}")


def _hold(port: int, held: ExitStack) -> bool:
    """Listen on the port until `held` closes; False if it is in use.

    To bind is not enough: another bind of the same kind would succeed as well.
    """
    probe = held.enter_context(socket.socket())
    # As servers do it: a connection in TIME_WAIT is no obstacle, a listener is.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((LOOPBACK, port))
        probe.listen()
    except PermissionError as error:
        raise ServerError(
            f"port {port} may not be used: {error.strerror}",
            hint="ports below 1024 need privileges; choose a higher one",
        ) from error
    except OSError:
        return False
    return True


def _holder(port: int) -> str:
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                name = psutil.Process(connection.pid).name()
                return f"{name} (process {connection.pid})"
    return ""
