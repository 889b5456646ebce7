"""A process that holds something open for its parent, and makes calls with it.

    python -P -m triton_kit.execute.held_worker DESCRIPTOR CORES PACKAGE.MODULE:FUNCTION

The function is a context manager that takes one argument, and yields a greeting and a
function of one argument. The process runs on CORES (`0,2`; `all`) from its start, so
that libraries count no others. It closes the context when the parent closes the
connection, or ends for any reason.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from importlib import import_module
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import FrameType
from typing import Any

from triton_kit.errors import TritonKitError
from triton_kit.execute.tasks import failure_of


def main() -> None:
    """Hold the context, and make the parent's calls, until the parent is gone."""
    descriptor, cores, call = sys.argv[1:]
    if cores != "all":
        os.sched_setaffinity(0, set(map(int, cores.split(","))))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what it means
    signal.signal(signal.SIGTERM, _end)
    parent: Connection[Any, Any] = Connection(int(descriptor))
    inbox: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_read, args=(parent, inbox), daemon=True).start()
    module, _, name = call.partition(":")
    hold = getattr(import_module(module), name)
    try:
        with hold(inbox.get()) as (greeting, function):
            parent.send((greeting, None))
            while True:
                parent.send((function(inbox.get()), None))
    except TritonKitError as error:
        parent.send((None, failure_of(error)))


def _read(parent: Connection[Any, Any], inbox: SimpleQueue[Any]) -> None:
    """Pass on what arrives; the main thread may be busy when the parent ends."""
    try:
        while True:
            inbox.put(parent.recv())
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the context is closed once
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
