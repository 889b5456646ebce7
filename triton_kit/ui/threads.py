"""A view reads files, and an inference waits for a server: neither holds up the pages.

Unlike those of an executor, these threads do not hold up the end either.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar, cast

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(
    function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """Call a function in a thread of its own, and return what it returns."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[_T] = loop.create_future()

    def finish(value: _T | None, error: Exception | None) -> None:
        if ended.done():
            return
        if error is not None:
            ended.set_exception(error)
        else:
            ended.set_result(cast(_T, value))

    def run() -> None:
        value, raised = None, None
        try:
            value = function(*args, **kwargs)
        except Exception as error:  # it is raised again, where it is awaited
            raised = error
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(finish, value, raised)

    threading.Thread(target=run, daemon=True).start()
    return await ended
