"""Serves the pages on loopback until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable

from aiohttp import web

from triton_kit.serving.access import LOOPBACK
from triton_kit.serving.ports import choose_ports
from triton_kit.ui.access import Gate
from triton_kit.ui.app import application
from triton_kit.ui.views import Site

_END_WITHIN_S = 2.0


def serve(site: Site, *, port: int | None, started: Callable[[Gate], None]) -> None:
    """Serve a site until SIGINT or SIGTERM.

    Args:
        site: what to show.
        port: where to listen; None is a free port.
        started: called once the pages can be opened.

    Raises:
        ServerError: the port is in use.
    """
    chosen = choose_ports({"port": port})["port"]
    listener = socket.create_server((LOOPBACK, chosen))
    with listener:
        asyncio.run(_serve(site, Gate(chosen), listener, started))


async def _serve(
    site: Site,
    gate: Gate,
    listener: socket.socket,
    started: Callable[[Gate], None],
) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    runner = web.AppRunner(
        application(site, gate), access_log=None, shutdown_timeout=_END_WITHIN_S
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        started(gate)
        await ended.wait()
    finally:
        await runner.cleanup()
