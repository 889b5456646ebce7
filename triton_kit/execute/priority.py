"""Ray starts its processes at niceness 15, which slows what they measure."""

from __future__ import annotations

import os
from contextlib import suppress

# With it, who starts a node chooses another niceness.
_CHOSEN = "RAY_worker_niceness"


def take_usual_priority() -> None:
    """Set the niceness of this process to 0, if the system lets it.

    A niceness that was chosen for the node stays.

    Processes that it starts inherit that. Without it, any other work on the node takes
    the core first, so that requests are sent late and a server seems slower.
    """
    if _CHOSEN not in os.environ:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, 0)
