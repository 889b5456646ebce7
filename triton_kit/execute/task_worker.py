"""A process that runs one task after another for its parent.

    python -P -m triton_kit.execute.task_worker DESCRIPTOR MODULE...

The modules are imported before the first task. A stage of a task is sent as text, its
answer as what `answer` returns. When the parent closes the connection,
or ends, this process ends.
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from triton_kit.conversion.workers.forked import preloaded_workers
from triton_kit.execute.tasks import answer


def main() -> None:
    """Run tasks until the parent closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what it means
    parent: Connection[Any, Any] = Connection(int(sys.argv[1]))
    for module in sys.argv[2:]:
        import_module(module)
    with preloaded_workers():
        while True:
            try:
                call, argument, attempt, reports = parent.recv()
            except (EOFError, OSError):
                return
            report = parent.send if reports else None
            parent.send(answer(call, argument, attempt, report))


if __name__ == "__main__":
    main()
